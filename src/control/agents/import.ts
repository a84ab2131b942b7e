/** Many agents at once: every one of them is registered, or none is and each problem is told. */
import { setImmediate } from "node:timers/promises";
import type { AgentKind, AgentProfile, RiskClass } from "../../call/authenticate/agent.ts";
import { mintId } from "../../ids.ts";
import type { AgentRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import { type AgentAttributes, detailsOf, faultOf, faultOfName, newRow } from "./agent-row.ts";
import { issueDetails, mintCredential } from "./credentials.ts";
import { ensureCustomer, faultOfCustomer } from "./customers.ts";
import type { Parts } from "./registry.ts";

/** A row as it was written: what is wrong with it is told together with all the others. */
export type WrittenAgent = Omit<AgentAttributes, "kind" | "riskClass"> & {
  readonly name: string;
  readonly kind?: string | undefined;
  readonly riskClass?: string | undefined;
};
/** `index` counts from 0. */
export type RowProblem = { readonly index: number; readonly detail: string };
export type ImportedAgent = { readonly profile: AgentProfile; readonly secret: string | null };

export type Imports = {
  /** With `dryRun` nothing is written, and nobody is returned. With `secrets` each gets a client secret; otherwise no credential at all. */
  importAgents(
    agents: readonly WrittenAgent[],
    how: { readonly dryRun: boolean; readonly secrets: boolean },
    by: string,
  ): Promise<{ readonly agents: readonly ImportedAgent[] } | { readonly problems: readonly RowProblem[] }>;
};

export const KINDS: readonly AgentKind[] = ["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"];
export const RISK_CLASSES: readonly RiskClass[] = ["minimal", "limited", "high", "unclassified"];

/** Records wait for the same commit, so some under way cost little more than one; more of them would keep calls waiting. */
const AT_ONCE = 20;

export function importsOf(parts: Parts): Imports {
  const { store, directory } = parts;
  return {
    async importAgents(agents, { dryRun, secrets }, by) {
      const answer = await store.write(async (writing) => {
        const problems = await problemsOf(writing, agents);
        if (problems.length > 0) return { problems };
        return { made: dryRun ? [] : await insertAll(parts, writing, agents, secrets, by) };
      });
      if (answer.problems !== undefined) return { problems: answer.problems };
      await directory.catchUp();
      return {
        agents: answer.made.flatMap(({ id, secret }) => {
          const profile = directory.byId(id);
          return profile === undefined ? [] : [{ profile, secret }];
        }),
      };
    },
  };
}

async function problemsOf(writing: Writing, agents: readonly WrittenAgent[]): Promise<RowProblem[]> {
  const names = await writing.db.selectFrom("agent").select("name").execute();
  const former = await writing.db.selectFrom("former_name").select("name").execute();
  const taken = new Map<string, string>([
    ...former.map(({ name }) => [name, "an agent was named so once, and no other is ever named so"] as const),
    ...names.map(({ name }) => [name, "an agent is named so already"] as const),
  ]);
  const problems: RowProblem[] = [];
  for (const [index, agent] of agents.entries()) {
    const say = (detail: string | null | undefined) => detail != null && problems.push({ index, detail });
    say(faultOfName(agent.name));
    say(faultOf({ ...agent, kind: undefined, riskClass: undefined }));
    if (agent.kind !== undefined && !KINDS.some((kind) => kind === agent.kind)) say(`kind: there is ${KINDS.join(", ")}`);
    if (agent.riskClass !== undefined && !RISK_CLASSES.some((risk) => risk === agent.riskClass))
      say(`risk_class: there is ${RISK_CLASSES.join(", ")}`);
    const before = taken.get(agent.name);
    if (before !== undefined) say(`name: ${before}`);
    taken.set(agent.name, "another row has the same name");
  }
  for (const [customer, indexes] of byCustomer(agents)) {
    const fault = await faultOfCustomer(writing, customer, indexes.length);
    if (fault !== null) problems.push({ index: indexes[0] ?? 0, detail: fault.detail });
  }
  return problems.toSorted((a, b) => a.index - b.index);
}

function byCustomer(agents: readonly WrittenAgent[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const [index, { customer = "default" }] of agents.entries()) found.set(customer, [...(found.get(customer) ?? []), index]);
  return found;
}

async function insertAll(parts: Parts, writing: Writing, agents: readonly WrittenAgent[], secrets: boolean, by: string) {
  const { directory, audit, now } = parts;
  for (const customer of byCustomer(agents).keys()) await ensureCustomer(parts, writing, customer, by);
  const made: { id: string; secret: string | null }[] = [];
  for (let start = 0; start < agents.length; start += AT_ONCE) {
    const rows = agents.slice(start, start + AT_ONCE).map((agent): AgentRow => {
      const owner = directory.customer(agent.customer ?? "default")?.owner ?? null;
      // Both words are of their lists: the rows have been looked through.
      return newRow(agent as AgentAttributes & { name: string }, mintId("agt", now()), owner, by, now());
    });
    const minted = secrets ? rows.map((row) => ({ row, ...mintCredential(row, { kind: "secret" }, by, now()) })) : [];
    await Promise.all(rows.map((row) => audit("agent.created", by, detailsOf(row))));
    await Promise.all(minted.map(({ row, credential }) => audit("credential.issued", by, issueDetails(row, credential))));
    await writing.db.insertInto("agent").values(rows).execute();
    if (secrets)
      await writing.db
        .insertInto("credential")
        .values(minted.map(({ credential }) => credential))
        .execute();
    for (const { id } of rows) await writing.changed("agent", id);
    made.push(...rows.map(({ id }, i) => ({ id, secret: minted[i]?.secret ?? null })));
    await setImmediate();
  }
  return made;
}
