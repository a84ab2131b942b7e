/** `npm run bench:journal [-- --quick | --json]`: what the journal's own thread writes a second, beside SQLite alone, and how large a call is on disk. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import { blankRecord } from "../src/call/record/compose.ts";
import { openJournal } from "../src/call/record/journal-client.ts";
import { bodyOf, permitRow, type Row, recordRow, settleRow } from "../src/call/record/rows.ts";
import { PAGE_BYTES } from "../src/call/record/schema.ts";
import { openStore } from "../src/call/record/store.ts";
import { createWriter } from "../src/call/record/writer.ts";
import { auditOf, newCallId, permitEntry, settlementEntry } from "../test/record/entries.ts";
import { median, percentile } from "./percentile.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" } } });
const ROUNDS = values.quick === true ? 3 : 9;
const RECORDS = values.quick === true ? 5_000 : 20_000;
const GROUP = 500;
const PERMITS = 1_000;
const SOURCE = "gw_01k9x3v7m2q8r5t1w4y6z0abcd";

const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-journal-"));
const records = Array.from({ length: RECORDS }, () => recordRow(auditOf(newCallId(), [], null, 0), SOURCE));
const calls = Array.from({ length: RECORDS / 2 }, newCallId);
const permits = calls.map((callId) => permitRow(permitEntry(callId)));
const settlements = calls.map((callId) => settleRow(settlementEntry(callId), SOURCE));

/** What SQLite alone takes for rows as wide, in the same groups, with the same care: a number, an indexed text, a body. */
function bareRows(round: number): number {
  const store = new Database(join(folder, `bare-${round}.db`));
  store.pragma(`page_size = ${PAGE_BYTES}`);
  store.pragma("journal_mode = WAL");
  store.pragma("synchronous = FULL");
  store.exec(
    "CREATE TABLE bare (sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, call_id TEXT, body TEXT NOT NULL) STRICT; CREATE UNIQUE INDEX bare_call ON bare (call_id)",
  );
  const insert = store.prepare("INSERT INTO bare VALUES (?, ?, ?, ?)");
  const write = store.transaction((from: number) => {
    for (let i = from; i < from + GROUP; i++) {
      const row = records[i];
      if (row !== undefined) insert.run(i, row.recordKind, row.callId, bodyOf(row, i));
    }
  });
  const seconds = timed(() => {
    for (let from = 0; from < RECORDS; from += GROUP) write(from);
  });
  store.close();
  return RECORDS / seconds;
}

function written(name: string, ...sets: readonly (readonly Row[])[]): { perSecond: number; bytesEach: number } {
  const dir = join(folder, name);
  const store = openStore(dir, true);
  const writer = createWriter(store);
  const count = sets[0]?.length ?? 0;
  // Permits of one group and settlements of the one before it share a transaction, as they do under load.
  const seconds = timed(() => {
    for (let from = 0; from < count; from += GROUP) for (const rows of sets) writer.writeAll(rows.slice(from, from + GROUP));
  });
  store.pragma("wal_checkpoint(TRUNCATE)");
  store.close();
  return { perSecond: count / seconds, bytesEach: statSync(join(dir, "journal.db")).size / count };
}

function timed(work: () => void): number {
  const startedMs = performance.now();
  work();
  return (performance.now() - startedMs) / 1000;
}

/** What a call waits for before its first byte goes upstream: its permit, alone, over both threads and on disk. Milliseconds, sorted. */
async function permitWaits(): Promise<number[]> {
  const journal = await openJournal({
    ...{ dataDir: join(folder, "waits"), newSource: SOURCE, nowMs: Date.now() },
    outageRecord: blankRecord("gateway.recovered"),
    onState: () => {},
  });
  const waits: number[] = [];
  for (let i = 0; i < PERMITS; i++) {
    const callId = newCallId();
    const startedMs = performance.now();
    await journal.permit(permitEntry(callId));
    waits.push(performance.now() - startedMs);
    await journal.settle(settlementEntry(callId));
  }
  await journal.close();
  return waits.sort((a, b) => a - b);
}

const waits = await permitWaits();
const rounds = Array.from({ length: ROUNDS }, (_, round) => ({
  bare: bareRows(round),
  records: written(`records-${round}`, records),
  calls: written(`calls-${round}`, permits, settlements),
}));
rmSync(folder, { recursive: true, force: true });
const [bare, record, call] = [
  median(rounds.map((round) => round.bare)),
  median(rounds.map((round) => round.records.perSecond)),
  median(rounds.map((round) => round.calls.perSecond)),
];
const figures = {
  group: GROUP,
  bare_rows_per_s: Math.round(bare),
  records_per_s: Math.round(record),
  records_to_bare: Number(median(rounds.map((round) => round.records.perSecond / round.bare)).toFixed(2)),
  calls_per_s: Math.round(call),
  permit_ms_p50: Number(percentile(waits, 50).toFixed(2)),
  permit_ms_p99: Number(percentile(waits, 99).toFixed(2)),
  bytes_a_call: Math.round(median(rounds.map((round) => round.calls.bytesEach))),
};
process.stdout.write(
  values.json === true
    ? `${JSON.stringify(figures)}\n`
    : `rows alone   ${figures.bare_rows_per_s}/s in groups of ${GROUP}\nrecords      ${figures.records_per_s}/s: ${figures.records_to_bare} of rows alone (bars: 0.5, and 50000/s)\n` +
        `whole calls  ${figures.calls_per_s}/s (bar: 25000), ${figures.bytes_a_call} bytes on disk each (bar: 2500)\n` +
        `a permit     ${figures.permit_ms_p50} ms p50, ${figures.permit_ms_p99} p99, one at a time (bar: 1 ms p50)\n`,
);
