import { copyFileSync } from "node:fs";
import { expect, test } from "vitest";
import { StoreUnavailable } from "../../src/call/record/journal.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { auditOf, holdLine, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, query, SOURCE } from "./journal-fixture.ts";

test("a permit is on disk, for any reader of the file, when its promise resolves", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  for (let i = 0; i < 50; i++) {
    const callId = newCallId();
    await journal.permit(permitEntry(callId));
    expect(query(journalFile(dir), `SELECT call_id FROM open_call WHERE call_id = '${callId}'`)).toHaveLength(1);
  }
  await journal.close();
});

test("a settled call leaves one record, one usage event, its posted lines and no open call; the log verifies", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  const calls = Array.from({ length: 600 }, newCallId);
  await Promise.all(
    calls.map(async (callId) => {
      await journal.permit(permitEntry(callId));
      await journal.settle(settlementEntry(callId, 120));
    }),
  );
  await journal.append(auditOf(null, [], null, 0));
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 601 });
  await journal.close();
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM open_call")).toEqual([{ n: 0 }]);
  expect(query(journalFile(dir), "SELECT min(sequence) AS low, max(sequence) AS high, count(*) AS n FROM usage_event")).toEqual([
    { low: 1, high: 600, n: 600 },
  ]);
  expect(query(journalFile(dir), "SELECT budget, committed, held, debt FROM balance ORDER BY budget")).toEqual([
    { budget: "support-month", committed: 600, held: 0, debt: 0 },
    { budget: "tokens-month", committed: 72_000, held: 0, debt: 0 },
  ]);
});

test("a voided call gives its hold back and is not billed", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  const callId = newCallId();
  await journal.permit(permitEntry(callId));
  expect(query(journalFile(dir), "SELECT sum(held) AS held FROM balance")).toEqual([{ held: 2001 }]);
  await journal.settle(settlementEntry(callId, 0, "voided"));
  expect(query(journalFile(dir), "SELECT sum(held) AS held, sum(committed) AS committed FROM balance")).toEqual([
    { held: 0, committed: 0 },
  ]);
  expect(query(journalFile(dir), "SELECT * FROM usage_event")).toEqual([]);
  await journal.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 1 });
});

test("a call settles once, and never without a permit; its neighbours in the same batch are written", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  const [settled, stranger, neighbour] = [newCallId(), newCallId(), newCallId()];
  await journal.permit(permitEntry(settled));
  await journal.permit(permitEntry(neighbour));
  await journal.settle(settlementEntry(settled));
  const results = await Promise.allSettled([
    journal.settle(settlementEntry(settled)),
    journal.settle(settlementEntry(stranger)),
    journal.settle(settlementEntry(neighbour)),
    journal.append(auditOf(null, [], null, 0)),
  ]);
  expect(results.map((each) => each.status)).toEqual(["rejected", "rejected", "fulfilled", "fulfilled"]);
  expect(results[0]).not.toMatchObject({ reason: expect.any(StoreUnavailable) });
  expect(journal.available).toBe(true);
  await journal.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 3 });
  expect(query(journalFile(dir), "SELECT committed FROM balance WHERE budget = 'support-month'")).toEqual([{ committed: 2 }]);
});

test("an amount that is not a whole number, and text that is no JSON, are faults of one entry and never reach the disk", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  await expect(journal.permit(permitEntry(newCallId(), [holdLine("b", "", "calls", 0.5)]))).rejects.toThrow(RangeError);
  await expect(journal.permit(permitEntry(newCallId(), [holdLine("b", "", "calls", 2 ** 53)]))).rejects.toThrow(RangeError);
  await expect(journal.append({ ...auditOf(null, [], null, 0), note: "\ud800" })).rejects.toThrow("lone surrogate");
  await journal.append(auditOf(null, [], null, 0));
  await journal.close();
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM audit_record")).toEqual([{ n: 1 }]);
});

test("no statement changes or deletes what was recorded", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  for (let i = 0; i < 260; i++) {
    const callId = newCallId();
    void journal.permit(permitEntry(callId));
    void journal.settle(settlementEntry(callId));
  }
  await journal.close();
  const { default: Database } = await import("better-sqlite3");
  const raw = new Database(journalFile(dir));
  for (const table of ["audit_record", "merkle_node", "usage_attributes", "usage_event", "posted_line"]) {
    const { column } = raw.prepare(`SELECT name AS column FROM pragma_table_info('${table}') LIMIT 1`).get() as { column: string };
    expect(() => raw.exec(`UPDATE ${table} SET ${column} = ${column}`)).toThrow(`rows of ${table} are never changed`);
    expect(() => raw.exec(`DELETE FROM ${table}`)).toThrow(`rows of ${table} are never deleted`);
  }
  raw.close();
});

test("what was handed over before close is written; afterwards the journal takes nothing, and nobody waits for ever", async () => {
  const dir = newFolder();
  const states: string[] = [];
  const journal = await open(dir, states);
  const callId = newCallId();
  const last = journal.permit(permitEntry(callId)).then(() => "written");
  await journal.close();
  expect(await last).toBe("written");
  await expect(journal.append(auditOf(null, [], null, 0))).rejects.toThrow(StoreUnavailable);
  await journal.close();
  expect(states).toEqual([]);
});

test("a copy of the file carries the whole log, and the gateway keeps its id over restarts", async () => {
  const dir = newFolder();
  const first = await open(dir);
  await first.append(auditOf(null, [], null, 0));
  await first.close();
  copyFileSync(journalFile(dir), `${dir}.copy`);
  expect(await verifyLog(`${dir}.copy`)).toMatchObject({ ok: true, size: 1 });
  const second = await open(dir);
  expect(second.source).toBe(SOURCE);
  await second.append(auditOf(null, [], null, 0));
  await second.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 2 });
});
