import { copyFileSync, mkdirSync } from "node:fs";
import type Database from "better-sqlite3";
import { beforeAll, expect, test } from "vitest";
import { auditOfAct } from "../../src/call/record/compose.ts";
import { ADJUSTED, catalogueOf } from "../../src/call/record/event-types.ts";
import { openReaderThread } from "../../src/call/record/reader.ts";
import { entryOf } from "../../src/call/record/reported.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { NOW_MS, newCallId, permitEntry, settlementEntry } from "../record/entries.ts";
import { journalFile, newFolder, open, tamper } from "../record/journal-fixture.ts";

const dir = newFolder();
const CATALOGUE = catalogueOf([], [], []);
const definitionOf = (type: string) => {
  const found = CATALOGUE.find(type);
  if (found === null) throw new Error(type);
  return found;
};
const record = (kind: "usage.reported" | "usage.adjusted") =>
  auditOfAct(kind, "root", null, { now: () => NOW_MS, configVersion: () => "sha256:0" });
const entry = (id: string, amount: number) =>
  entryOf({
    ...{ agent: "bot", agent_id: "agt_1", customer: "acme", team: null, workflow: null, instance: null, server: null, tool: null },
    ...{ model: "m", region: null, definition: definitionOf("tokens.consumed"), as: { source: "urn:x", id }, by: "root" },
    ...{ atMs: NOW_MS, amounts: [["llm_tokens", amount]], metadata: { provider: "p" }, fingerprint: `sha256:${id}` },
  });

beforeAll(async () => {
  const journal = await open(dir);
  const call = newCallId();
  await journal.permit(permitEntry(call));
  await journal.settle(settlementEntry(call, 500));
  const entries = Array.from({ length: 9 }, (_, i) => entry(`e-${i}`, 10 + i));
  await journal.run("writeReports", { entries, bound: null, record: record("usage.reported") });
  await journal.run("writeCorrection", {
    ...{ eventId: `${call}.settled`, as: { source: "urn:c", id: "1" }, fingerprint: "sha256:c", deltas: [["tool_tokens", -100]] },
    ...{ reason: "why", by: "root", atMs: NOW_MS, definition: definitionOf(ADJUSTED), record: record("usage.adjusted") },
  });
  await journal.close();
});

async function verdictAfter(act: (raw: Database.Database) => void) {
  const copy = newFolder();
  mkdirSync(copy);
  copyFileSync(journalFile(dir), journalFile(copy));
  tamper(journalFile(copy), act);
  return verifyLog(journalFile(copy));
}

test("calls, reports and corrections in one journal verify, and come in one order without a gap", async () => {
  expect(await verdictAfter(() => {})).toMatchObject({ ok: true, size: 3, problems: [] });
  const reader = openReaderThread(dir);
  const events = await reader.ask("eventsAfter", 0, 100);
  expect(events.map(({ sequence, type }) => [sequence, type.split(".").at(-2)])).toEqual([
    [1, "settled"],
    ...Array.from({ length: 9 }, (_, i) => [i + 2, "tokens"]),
    [11, "adjusted"],
  ]);
  expect(events.at(-1)?.data).toMatchObject({ agent: "support-bot", tool: "search_tickets", quantity: { tool_tokens: -100 } });
  expect((await reader.ask("usage", { by: ["agent"], since: null, until: null })).rows).toMatchObject([
    { agent: "bot", llm_tokens: 126, tool_tokens: 0 },
    { agent: "support-bot", llm_tokens: 0, tool_tokens: 400 },
  ]);
  await reader.close();
});

const ATTACKS: readonly (readonly [string, string, number | null])[] = [
  ["a smaller amount", "UPDATE usage_amount SET amount = 1 WHERE event = 4", 1],
  ["an amount on another meter", "UPDATE usage_amount SET meter = 'reports' WHERE event = 4", 1],
  ["an amount that is gone", "DELETE FROM usage_amount WHERE event = 4", 1],
  ["one amount more", "INSERT INTO usage_amount VALUES (4, 'reports', 5)", 1],
  ["an amount beside a call", "INSERT INTO usage_amount VALUES (1, 'llm_tokens', 5)", 0],
  ["calls that nobody made", "UPDATE usage_event SET calls = 1 WHERE sequence = 4", 1],
  ["other words of the reporter", "UPDATE reported_event SET data = replace(data, '\"p\"', '\"q\"') WHERE event = 4", 1],
  ["another name of the reporter's", "UPDATE reported_event SET source_id = 'e-99' WHERE event = 4", 1],
  ["another source", "UPDATE reported_event SET source = 'urn:y' WHERE event = 4", 1],
  ["another fingerprint", "UPDATE reported_event SET fingerprint = 'sha256:0' WHERE event = 4", 1],
  ["another customer's name for it", "UPDATE reported_event SET customer = 'evil' WHERE event = 4", 1],
  ["another id", "UPDATE reported_event SET id = 'evt_0' WHERE event = 4", 1],
  ["a report that is gone", "DELETE FROM usage_event WHERE sequence = 10; DELETE FROM reported_event WHERE event = 10", 1],
  ["what tells a report from a call", "DELETE FROM reported_event WHERE event = 4", 1],
  [
    "two reports that changed places",
    "UPDATE usage_event SET position = 99 WHERE sequence = 4; UPDATE usage_event SET position = 2 WHERE sequence = 5; UPDATE usage_event SET position = 3 WHERE sequence = 4",
    1,
  ],
  ["a smaller correction", "UPDATE usage_event SET tool_tokens = -1 WHERE sequence = 11", 2],
  ["a correction of another event", "UPDATE reported_event SET adjusts = 3 WHERE event = 11", 2],
  ["a correction without its reason", "UPDATE reported_event SET data = replace(data, 'why', 'because') WHERE event = 11", 2],
  ["a correction that is gone", "DELETE FROM usage_event WHERE sequence = 11; DELETE FROM reported_event WHERE event = 11", 2],
  ["names of events that are not there", "INSERT INTO reported_event VALUES (99, 'evt_9', 'urn:x', 'e-77', 'acme', 'f', '{}', NULL)", null],
  [
    "another version of the definition",
    'UPDATE usage_attributes SET data = replace(data, \'"definition_version":"1"\', \'"definition_version":"2"\')',
    1,
  ],
];

test.each(ATTACKS)("%s is found", async (_, sql, firstBad) => {
  const verdict = await verdictAfter((raw) => void raw.exec(sql));
  expect(verdict.ok).toBe(false);
  expect(verdict.first_bad).toBe(firstBad ?? undefined);
});

test.each(["usage_amount", "reported_event"])("no statement changes or deletes a row of %s", async (table) => {
  const copy = newFolder();
  mkdirSync(copy);
  copyFileSync(journalFile(dir), journalFile(copy));
  const { default: Sqlite } = await import("better-sqlite3");
  const raw = new Sqlite(journalFile(copy));
  expect(() => raw.exec(`DELETE FROM ${table}`)).toThrow("never deleted");
  expect(() => raw.exec(`UPDATE ${table} SET event = event + 1`)).toThrow("never changed");
  raw.close();
});
