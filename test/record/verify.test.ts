import { copyFileSync, mkdirSync } from "node:fs";
import type Database from "better-sqlite3";
import { beforeAll, expect, test } from "vitest";
import { leafHash } from "../../src/call/record/merkle.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, tamper } from "./journal-fixture.ts";

const SIZE = 600;
const dir = newFolder();

beforeAll(async () => {
  const journal = await open(dir);
  for (let i = 0; i < SIZE; i++) {
    const callId = newCallId();
    void journal.permit(permitEntry(callId));
    void journal.settle(settlementEntry(callId, i, i % 10 === 0 ? "unknown" : "posted"));
  }
  await journal.close();
});

async function verdictAfter(act: (raw: Database.Database) => void) {
  const copy = newFolder();
  mkdirSync(copy);
  copyFileSync(journalFile(dir), journalFile(copy));
  tamper(journalFile(copy), act);
  return verifyLog(journalFile(copy));
}

const rehash = (raw: Database.Database, sequence: number) => {
  const body = raw.prepare("SELECT body FROM audit_record WHERE sequence = ?").pluck().get(sequence) as string;
  raw.prepare("UPDATE audit_record SET leaf = ? WHERE sequence = ?").run(leafHash(Buffer.from(body)), sequence);
};
const sql = (text: string) => (raw: Database.Database) => void raw.exec(text);

test("an untouched journal verifies, and says how far it is", async () => {
  const seen: number[] = [];
  const verdict = await verifyLog(journalFile(dir), { progress: (done) => seen.push(done) });
  expect(verdict).toMatchObject({ ok: true, size: SIZE, problems: [] });
  expect(verdict).not.toHaveProperty("first_bad");
});

const attacks: readonly [string, (raw: Database.Database) => void, number | undefined][] = [
  ["a changed body", sql("UPDATE audit_record SET body = replace(body, 'support-bot', 'support-bat') WHERE sequence IN (300, 400)"), 300],
  [
    "a changed body with its leaf made to fit",
    (raw) => {
      raw.exec("UPDATE audit_record SET body = replace(body, 'support-bot', 'support-bat') WHERE sequence = 300");
      rehash(raw, 300);
    },
    // The stored root of leaves 256 to 511 gives it away: somewhere in that run.
    256,
  ],
  ["a changed leaf", sql("UPDATE audit_record SET leaf = zeroblob(32) WHERE sequence = 77"), 77],
  ["a deleted record", sql("DELETE FROM audit_record WHERE sequence = 5"), 5],
  ["a deleted first record", sql("DELETE FROM audit_record WHERE sequence = 0"), 0],
  [
    "an inserted record",
    sql("INSERT INTO audit_record SELECT 600, 'stream.closed', call_id, leaf, body FROM audit_record WHERE sequence = 9"),
    600,
  ],
  [
    "two records that changed places",
    sql(
      "UPDATE audit_record SET sequence = -1 WHERE sequence = 40; UPDATE audit_record SET sequence = 40 WHERE sequence = 41; UPDATE audit_record SET sequence = 41 WHERE sequence = -1",
    ),
    40,
  ],
  [
    "a log cut at its end, its usage events too",
    sql(
      "DELETE FROM usage_event WHERE record > 500; DELETE FROM posted_line WHERE record > 500; DELETE FROM audit_record WHERE sequence > 500",
    ),
    undefined,
  ],
  ["a column that differs from its body", sql("UPDATE audit_record SET call_id = 'call_x' WHERE sequence = 12"), 12],
  [
    "white space in a body",
    sql("UPDATE audit_record SET body = replace(body, '{\"actor_chain\"', '{ \"actor_chain\"') WHERE sequence = 8"),
    8,
  ],
  ["a body that is no JSON", sql("UPDATE audit_record SET body = substr(body, 2) WHERE sequence = 8"), 8],
  ["another gateway's id", sql("UPDATE meta SET value = 'gw_other' WHERE name = 'source'"), 0],
  ["a changed stored root", sql("UPDATE merkle_node SET hash = zeroblob(32) WHERE number = 1"), 256],
  ["a missing stored root", sql("DELETE FROM merkle_node WHERE number = 1"), undefined],
  ["a smaller bill", sql("UPDATE usage_event SET tool_tokens = 1 WHERE record = 200"), 200],
  ["fewer tokens of one kind", sql("UPDATE usage_event SET output_tokens = 1 WHERE record = 201"), 201],
  ["a bill of another day", sql("UPDATE usage_event SET at_ms = at_ms - 86400000 WHERE record = 202"), 202],
  ["another team's bill", sql("UPDATE usage_attributes SET data = replace(data, 'support\"', 'finance\"')"), 0],
  ["a usage event that is gone", sql("DELETE FROM usage_event WHERE record = 33"), 33],
  ["a usage event of another call", sql("UPDATE usage_event SET record = 600 WHERE record = 33"), 33],
  ["another customer's bill", sql("UPDATE usage_attributes SET data = replace(data, 'acme', 'evil')"), 0],
  [
    "a held amount passed off as measured",
    sql("UPDATE usage_attributes SET data = replace(data, '\"provisional\":true', '\"provisional\":false')"),
    0,
  ],
  ["a balance that was made smaller", sql("UPDATE balance SET committed = committed - 1 WHERE budget = 'support-month'"), undefined],
  ["a posted line that is gone", sql("DELETE FROM posted_line WHERE record = 50"), undefined],
  ["a balance that is gone", sql("DELETE FROM balance WHERE budget = 'support-month'"), undefined],
];

test.each(attacks)("%s is found", async (_, act, firstBad) => {
  const verdict = await verdictAfter(act);
  expect(verdict.ok).toBe(false);
  expect(verdict.problems.length).toBeGreaterThan(0);
  if (firstBad !== undefined) expect(verdict.first_bad).toBe(firstBad);
});

test("a torn page is a finding, not an exception", async () => {
  const copy = newFolder();
  mkdirSync(copy);
  copyFileSync(journalFile(dir), journalFile(copy));
  const { openSync, writeSync, closeSync, statSync } = await import("node:fs");
  const file = openSync(journalFile(copy), "r+");
  const pages = statSync(journalFile(copy)).size / 16_384;
  for (let page = Math.floor(pages / 3); page < pages / 2; page++) writeSync(file, Buffer.alloc(4_096, 0x5a), 0, 4_096, page * 16_384);
  closeSync(file);
  expect(await verifyLog(journalFile(copy))).toMatchObject({ ok: false });
});

test("a growing journal verifies while it is written", async () => {
  const live = newFolder();
  const journal = await open(live);
  const writing = Promise.all(
    Array.from({ length: 400 }, async () => {
      const callId = newCallId();
      await journal.permit(permitEntry(callId));
      await journal.settle(settlementEntry(callId));
    }),
  );
  for (let i = 0; i < 5; i++) expect(await verifyLog(journalFile(live))).toMatchObject({ ok: true });
  await writing;
  expect(await verifyLog(journalFile(live))).toMatchObject({ ok: true, size: 400 });
  await journal.close();
});
