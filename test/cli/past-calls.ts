/** A data folder whose journal holds calls as the life of a call would have recorded them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { mintId } from "../../src/ids.ts";
import { auditOf } from "../record/entries.ts";
import { open } from "../record/journal-fixture.ts";
import { configText, folderOf } from "./terminal.ts";

export type PastCall = {
  readonly agent?: Partial<NonNullable<AuditRecord["agent"]>>;
  readonly at: string;
  readonly tool: string;
  /** Null: permitted, and sent unless `reason` says otherwise. */
  readonly refused?: string;
  readonly rule?: string | null;
  /** Of a call that was permitted: why it was not sent. */
  readonly reason?: string;
  readonly times?: number;
  readonly more?: Partial<AuditRecord>;
};

const WRITTEN_AT_ONCE = 2_000;

/** The config file; its server is named `up`, and nobody listens. */
export async function folderWithCalls(policies: string, calls: readonly PastCall[]): Promise<string> {
  const folder = folderOf({ "tollgate.yaml": configText(), "policies/a.yaml": policies });
  const journal = await open(join(folder, "data"));
  let waiting: Promise<void>[] = [];
  for (const call of calls) {
    for (let i = 0; i < (call.times ?? 1); i++) {
      waiting.push(journal.append(recordOf(call)));
      if (waiting.length < WRITTEN_AT_ONCE) continue;
      await Promise.all(waiting);
      waiting = [];
    }
  }
  await Promise.all(waiting);
  await journal.close();
  return join(folder, "tollgate.yaml");
}

export function recordOf({ agent, at, tool, refused, rule = null, reason, more }: PastCall): AuditRecord {
  const atMs = Date.parse(at);
  const record = auditOf(mintId("call", atMs), [], refused === undefined && reason === undefined ? "posted" : null, 3);
  if (record.agent === null) throw new Error("a call is somebody's");
  const time = new Date(atMs).toISOString();
  return {
    ...record,
    agent: { ...record.agent, id: "agt_bot", name: "bot", ...agent },
    ...{ time_start: time, time_end: time, server: "up", target: { kind: "tool", name: tool } },
    ...{ entitlement_result: refused === undefined ? "permitted" : "refused", decision: refused === undefined ? "permit" : "refuse" },
    ...{ reason: refused ?? reason ?? null, rule: rule === null ? null : { name: rule, file: "policies/a.yaml", line: 3 } },
    ...(refused === undefined && reason === undefined ? {} : { upstream: null, outcome: null }),
    ...more,
  };
}

export function policyFolder(rules: string): string {
  const folder = folderOf({});
  writeFileSync(join(folder, "a.yaml"), `apiVersion: tollgate/v1\nentitlements:\n${rules}\n`);
  return folder;
}
