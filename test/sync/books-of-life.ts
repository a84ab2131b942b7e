/** What happens to books over the years: others report into them, amounts are corrected, a backup is restored, old records are purged. */

import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { writeBackup } from "../../src/call/record/backup.ts";
import { auditOfAct } from "../../src/call/record/compose.ts";
import { ADJUSTED, catalogueOf } from "../../src/call/record/event-types.ts";
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import { entryOf } from "../../src/call/record/reported.ts";
import { restoreBackup } from "../../src/call/record/restore.ts";
import { NOW_MS } from "../record/entries.ts";
import { newFolder } from "../record/journal-fixture.ts";

const LATER_MS = NOW_MS + 3_600_000;
const act = (kind: AuditRecord["kind"], atMs = NOW_MS) =>
  auditOfAct(kind, "root", kind === "records.purged" ? { cause: "retention" } : null, { now: () => atMs, configVersion: () => "c" });

const definitionOf = (type: string) => {
  const found = catalogueOf([], [], []).find(type);
  if (found === null) throw new Error(type);
  return found;
};

const entry = (id: string, amount: number) =>
  entryOf({
    ...{ agent: "bot", agent_id: "agt_1", customer: "acme", team: null, workflow: null, instance: null, server: null, tool: null },
    ...{ model: "m", region: null, definition: definitionOf("tokens.consumed"), as: { source: "urn:x", id }, by: "root" },
    ...{ atMs: NOW_MS, amounts: [["llm_tokens", amount]], metadata: { provider: "p" }, fingerprint: `sha256:${id}` },
  });

/** One record for all of these amounts of `llm_tokens`. Returns the ids of the events. */
export async function report(journal: OpenJournal, name: string, ...amounts: readonly number[]): Promise<string[]> {
  const entries = amounts.map((amount, i) => entry(`${name}-${i}`, amount));
  await journal.run("writeReports", { entries, bound: null, record: act("usage.reported") });
  return entries.map(({ id }) => id);
}

export async function correct(journal: OpenJournal, eventId: string, meter: string, delta: number): Promise<void> {
  const done = await journal.run("writeCorrection", {
    ...{ eventId, as: { source: "urn:c", id: eventId }, fingerprint: "sha256:c", deltas: [[meter, delta]] },
    ...{ reason: "why", by: "root", atMs: NOW_MS, definition: definitionOf(ADJUSTED), record: act("usage.adjusted") },
  });
  if (done.state !== "accepted") throw new Error(JSON.stringify(done));
}

export function backUp(dir: string): string {
  const file = `${newFolder()}.backup`;
  writeBackup(dir, file);
  return file;
}

/** The new data folder. */
export function restore(file: string): string {
  const dir = newFolder();
  restoreBackup(file, dir, act("log.restored"));
  return dir;
}

export async function purgeAll(journal: OpenJournal, sequences: readonly number[]): Promise<void> {
  const gone = await journal.run("purge", { sequences, beforeMs: LATER_MS, record: act("records.purged", LATER_MS) });
  if (gone !== sequences.length) throw new Error(`${gone} are purged`);
}
