import { renameSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createBacklog } from "../../src/call/record/backlog.ts";
import { blankRecord } from "../../src/call/record/compose.ts";
import type { JournalReply, Numbered } from "../../src/call/record/journal-protocol.ts";
import { keepJournal, type Open } from "../../src/call/record/keeper.ts";
import { permitRow, type Row, recordRow, settleRow } from "../../src/call/record/rows.ts";
import { fileIdentity, openStore, sourceOf } from "../../src/call/record/store.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { createWriter, type Writer } from "../../src/call/record/writer.ts";
import { auditOf, NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, query, SOURCE, tamper } from "./journal-fixture.ts";

type Wrap = (writer: Writer) => Writer;

function keep(wrap: Wrap = (writer) => writer) {
  const dir = newFolder();
  const store = openStore(dir, true);
  const source = sourceOf(store, SOURCE);
  const open: Open = { store, source, writer: wrap(createWriter(store)), identity: fileIdentity(dir) };
  const replies: JournalReply[] = [];
  const setup = { dataDir: dir, newSource: SOURCE, nowMs: NOW_MS, outageRecord: blankRecord("gateway.recovered") };
  const keeper = keepJournal(open, setup, (reply) => replies.push(reply));
  let last = 0;
  const write = (...rows: Row[]) => {
    replies.length = 0;
    keeper.write(rows.map((row): Numbered => ({ number: ++last, row })));
    return replies.map((reply) => reply.kind);
  };
  return { dir, store, keeper, replies, write };
}

const permit = (callId: ReturnType<typeof newCallId>) => permitRow(permitEntry(callId));
const settle = (callId: ReturnType<typeof newCallId>, tokens = 120) => settleRow(settlementEntry(callId, tokens), SOURCE);
const refusal = () => recordRow(auditOf(newCallId(), [], null, 0), SOURCE);
const full = (store: Open["store"]) => store.pragma(`max_page_count = ${Number(store.pragma("page_count", { simple: true }))}`);

function summaryOf(dir: string): unknown {
  const rows = query(journalFile(dir), "SELECT body FROM audit_record WHERE kind = 'gateway.recovered'") as { body: string }[];
  return rows.map(({ body }) => JSON.parse(body).details);
}

test("a full disk: nothing of the batch is on disk, later rows are refused at once, and settlements are written first when space returns", async () => {
  const { dir, store, keeper, replies, write } = keep();
  const calls = Array.from({ length: 30 }, newCallId);
  expect(write(...calls.map(permit))).toEqual(["written"]);
  full(store);
  // A settlement frees the pages of its permit: the refusals beside them find no room in any order of ids.
  const batch = [...calls.slice(0, 20).map((callId) => settle(callId)), ...Array.from({ length: 60 }, refusal)];
  expect(write(...batch)).toEqual(["down", "refused"]);
  expect(replies[0]).toMatchObject({ kind: "down", message: expect.stringContaining("SQLITE_FULL") });
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM audit_record")).toEqual([{ n: 0 }]);
  expect(write(settle(calls[20] ?? newCallId()), permit(newCallId()), refusal(), refusal())).toEqual(["refused"]);

  keeper.probe();
  expect(keeper.down).toBe(false);
  expect(replies.at(-1)?.kind).toBe("up");
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM usage_event")).toEqual([{ n: 21 }]);
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM open_call")).toEqual([{ n: 9 }]);
  expect(summaryOf(dir)).toEqual([{ missed_records: 63, late_settlements: 21, lost_settlements: 0 }]);
  expect(write(...calls.slice(21).map((callId) => settle(callId)))).toEqual(["written"]);
  keeper.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 31 });
});

const ioError = () => Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_FSYNC" });

/** The commit reaches the disk, and then the disk says that it failed. */
const lyingOnce: Wrap = (writer) => {
  let lied = false;
  return {
    ...writer,
    writeAll(rows) {
      writer.writeAll(rows);
      if (lied) return;
      lied = true;
      throw ioError();
    },
  };
};

test("a permit whose failed commit reached the disk all the same gives its hold back: its call was never sent", async () => {
  const { dir, keeper, write } = keep(lyingOnce);
  expect(write(permit(newCallId()), permit(newCallId()))).toEqual(["down", "refused"]);
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM open_call")).toEqual([{ n: 2 }]);
  keeper.probe();
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM open_call")).toEqual([{ n: 0 }]);
  expect(query(journalFile(dir), "SELECT sum(held) AS held, sum(committed) AS committed FROM balance")).toEqual([
    { held: 0, committed: 0 },
  ]);
  expect(summaryOf(dir)).toEqual([{ missed_records: 2, late_settlements: 0, lost_settlements: 0 }]);
  keeper.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 1 });
});

test("a settlement whose failed commit reached the disk all the same is not written twice", async () => {
  const callId = newCallId();
  const { dir, keeper, write } = keep((writer) => {
    writer.writeAll([permit(callId)]);
    return lyingOnce(writer);
  });
  expect(write(settle(callId))).toEqual(["down", "refused"]);
  keeper.probe();
  expect(summaryOf(dir)).toEqual([{ missed_records: 0, late_settlements: 0, lost_settlements: 0 }]);
  keeper.close();
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM usage_event")).toEqual([{ n: 1 }]);
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 2 });
});

test("a late settlement that breaks a rule does not keep the others, or the store, away", async () => {
  const calls = [newCallId(), newCallId()];
  const { dir, store, keeper, write } = keep();
  expect(write(...calls.map(permit))).toEqual(["written"]);
  store.pragma("query_only = ON");
  const broken = { ...settle(calls[0] ?? newCallId()), moves: JSON.stringify([["support-month", "team=support", 0, null, -5, -1, 0]]) };
  expect(write(broken, settle(calls[1] ?? newCallId()))).toEqual(["down", "refused"]);
  keeper.probe();
  expect(keeper.down).toBe(false);
  expect(summaryOf(dir)).toEqual([{ missed_records: 0, late_settlements: 1, lost_settlements: 1 }]);
  expect(query(journalFile(dir), "SELECT call_id FROM open_call")).toEqual([{ call_id: calls[0] }]);
  keeper.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 2 });
});

test("a journal that was removed, replaced or cut while it ran is noticed, and only the true one ends the outage", async () => {
  const { dir, keeper, write } = keep();
  expect(write(refusal(), refusal(), refusal())).toEqual(["written"]);
  keeper.probe();
  expect(keeper.down).toBe(false);
  const names = ["journal.db", "journal.db-wal", "journal.db-shm"];
  for (const name of names) renameSync(`${dir}/${name}`, `${dir}/aside-${name}`);
  keeper.probe();
  expect(keeper.down).toBe(true);
  expect(write(refusal())).toEqual(["refused"]);
  keeper.probe();
  expect([keeper.down, fileIdentity(dir)]).toEqual([true, "none"]);

  const stranger = openStore(dir, true);
  sourceOf(stranger, SOURCE);
  stranger.close();
  keeper.probe();
  expect(keeper.down).toBe(true);
  rmSync(`${dir}/journal.db`);
  writeFileSync(`${dir}/journal.db`, "");
  keeper.probe();
  expect(keeper.down).toBe(true);

  for (const name of names) rmSync(`${dir}/${name}`, { force: true });
  for (const name of names) renameSync(`${dir}/aside-${name}`, `${dir}/${name}`);
  keeper.probe();
  expect(keeper.down).toBe(false);
  keeper.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 4 });
});

test("a journal whose end was cut while the store was away stays refused", () => {
  const { dir, store, keeper, write } = keep();
  expect(write(refusal(), refusal(), refusal())).toEqual(["written"]);
  store.pragma("query_only = ON");
  expect(write(refusal())).toEqual(["down", "refused"]);
  tamper(journalFile(dir), (raw) => raw.exec("DELETE FROM audit_record WHERE sequence = 2"));
  keeper.probe();
  expect(keeper.down).toBe(true);
  keeper.close();
});

test("what is kept in memory is bounded; the settlements beyond it are counted", () => {
  const backlog = createBacklog(2);
  backlog.add([settle(newCallId()), settle(newCallId()), settle(newCallId()), permit(newCallId()), refusal()], false);
  expect([backlog.settlements.length, backlog.missed, backlog.doubtfulPermits.length]).toEqual([2, 3, 0]);
});
