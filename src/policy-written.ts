/** Policy files as they were written, groups in full: for what is made from them. Only of a folder whose policies compile. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expanded, groupsOf } from "./call/authorize/groups.ts";
import { type EntitlementFile, type PolicyFile, policyFileSchema, type WhoFile } from "./call/authorize/policy-file.ts";
import { readDocument } from "./document.ts";
import { isPolicyFile } from "./policy-load.ts";

/** What holds calls back beside entitlements: budgets, and whatever else a file lists with who and tools. */
export type Holding = { readonly name: string; readonly who?: WhoFile | undefined; readonly tools?: readonly string[] | undefined };

export type Written = {
  readonly entitlements: ReadonlyMap<string, EntitlementFile>;
  readonly agents: PolicyFile["agents"];
  /** By the key of the policy file. */
  readonly holdings: ReadonlyMap<string, readonly Holding[]>;
};

const HOLDINGS = ["budgets", "limits"];

export function readWritten(folder: string): Written {
  const names = readdirSync(folder).filter(isPolicyFile).toSorted();
  const policies = names.map((name) => policyFileSchema.parse(readDocument(join(folder, name)).data ?? {}));
  const groups = groupsOf(policies.map((policy, index) => ({ file: names[index] ?? "", policy, lineOf: () => 1 })));
  const list = (kind: "agents" | "tools", written: readonly string[]): string[] =>
    written.flatMap((entry) => {
      const entries = expanded(groups[kind], entry);
      return "problem" in entries ? [] : entries;
    });
  const whole = <T extends { who?: WhoFile | undefined }>(item: T): T =>
    item.who?.agent === undefined ? item : { ...item, who: { ...item.who, agent: list("agents", [item.who.agent].flat()) } };
  const entitlements = policies
    .flatMap((policy) => policy.entitlements)
    .map((rule) => ({
      ...whole(rule),
      ...(rule.permit === undefined ? {} : { permit: list("tools", rule.permit) }),
      ...(rule.forbid === undefined ? {} : { forbid: list("tools", rule.forbid) }),
    }));
  const holdings = HOLDINGS.map((key): [string, Holding[]] => {
    const items = policies.flatMap((policy) => ((policy as Record<string, unknown>)[key] ?? []) as Holding[]);
    return [key, items.map((item) => ({ ...whole(item), ...(item.tools === undefined ? {} : { tools: list("tools", item.tools) }) }))];
  });
  return {
    entitlements: new Map(entitlements.map((rule) => [rule.name, rule])),
    agents: Object.assign({}, ...policies.map((policy) => policy.agents)),
    holdings: new Map(holdings),
  };
}
