/** Checks the records of one range from their bodies, with the usage events that belong to them; ranges may be read side by side. */
import { addRecord, type BalanceSums } from "./balance-check.ts";
import type { StoredRecord } from "./books.ts";
import { checkRecord, type RecordColumns } from "./check-record.ts";
import { leafHash, rootOf } from "./merkle.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";
import { createUsageCheck, type EventSpan } from "./usage-check.ts";
import type { Complain } from "./verify.ts";

/** From `first` on, a multiple of 256, and before `end`. */
export type Range = { readonly first: number; readonly end: number };

/** What a range is found to be; everything in it can cross a thread's border. */
export type RangeFindings = {
  readonly problems: readonly { readonly sequence: number | null; readonly what: string }[];
  /** The lowest sequence number that anything is wrong at. */
  readonly firstBad: number | null;
  /** Roots of its complete runs of 256 leaves, then the leaves of the open one: 32 bytes each, recomputed from the bodies. */
  readonly runs: Uint8Array;
  readonly leaves: Uint8Array;
  readonly sums: BalanceSums;
  readonly events: EventSpan;
  /** Whose the records are: from which one on. */
  readonly sources: readonly Source[];
  /** Records whose words are gone, from and to; and what records of purges tell of such. */
  readonly purged: readonly (readonly [number, number])[];
  readonly tombstones: readonly Tombstone[];
};

/** `told`: the sequence numbers that are gone; `events` and `root`: what is left of their usage events. */
export type Tombstone = { readonly sequence: number; readonly told: string; readonly events: number; readonly root: string };

/** `restored`: the record that begins it says so, and what it continues. */
export type Source = { readonly first: number; readonly source: unknown; readonly restored: Readonly<Record<string, unknown>> | null };

type Row = RecordColumns & { readonly body: Buffer; readonly leaf: Buffer };

/** Beyond this the list would only repeat itself. */
export const PROBLEMS_MAX = 20;
/** Stands where a record is missing. */
const NO_WORDS = Buffer.from(PURGED_BODY);
const NO_LEAF = Buffer.alloc(32);

export function checkRange(store: Store, { first, end }: Range): RangeFindings {
  const problems: { sequence: number | null; what: string }[] = [];
  let firstBad: number | null = null;
  const complain: Complain = (sequence, what) => {
    if (sequence !== null) firstBad = Math.min(firstBad ?? sequence, sequence);
    if (problems.length < PROBLEMS_MAX) problems.push({ sequence, what });
  };
  const runs: Buffer[] = [];
  let leaves: Buffer[] = [];
  const sums: BalanceSums = new Map();
  const sources: Source[] = [];
  const purged: [number, number][] = [];
  const tombstones: Tombstone[] = [];
  const usage = createUsageCheck(store, complain, { first, end });
  let expected = first;
  const add = (leaf: Buffer) => {
    expected += 1;
    leaves.push(leaf);
    if (leaves.length < FAN_OUT) return;
    runs.push(rootOf(leaves));
    leaves = [];
  };
  try {
    for (const row of rowsOf(store, first, end)) {
      if (row.sequence !== expected) complain(expected, `record ${expected} is missing; the next one is ${row.sequence}`);
      while (expected < row.sequence) add(NO_LEAF);
      if (row.body.equals(NO_WORDS)) {
        add(row.leaf);
        usage.purged(row.sequence);
        const last = purged.at(-1);
        if (last !== undefined && last[1] + 1 === row.sequence) last[1] = row.sequence;
        else purged.push([row.sequence, row.sequence]);
        continue;
      }
      const leaf = leafHash(row.body);
      if (!leaf.equals(row.leaf)) complain(row.sequence, `record ${row.sequence} is not what its leaf says`);
      add(leaf);
      const record = checkRecord(row, row.body.toString("utf8"), complain);
      if (record === null) continue;
      const restored = record.kind === "log.restored" ? (record.details ?? {}) : null;
      if (restored !== null || sources.at(-1)?.source !== record.source)
        sources.push({ first: row.sequence, source: record.source, restored });
      if (record.kind === "records.purged") tombstones.push(tombstoneOf(row.sequence, record.details));
      usage.settled(record, row.sequence);
      addRecord(sums, record);
    }
    if (expected < end) complain(expected, `record ${expected} is missing`);
    while (expected < end) add(NO_LEAF);
  } catch (fault) {
    // A torn page can stop a query half-way: that is a finding, too.
    complain(expected, `reading stopped at record ${expected}: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
  return {
    problems,
    firstBad,
    runs: Buffer.concat(runs),
    leaves: Buffer.concat(leaves),
    sums,
    events: usage.end(),
    sources,
    purged,
    tombstones,
  };
}

function tombstoneOf(sequence: number, details: StoredRecord["details"]): Tombstone {
  return { sequence, told: String(details?.sequences), events: Number(details?.events), root: String(details?.events_root) };
}

/** As bytes: a text that is no UTF-8 would come back as another one. */
function rowsOf(store: Store, first: number, end: number): Iterable<Row> {
  return store
    .prepare(
      `SELECT sequence, kind, call_id, CAST(body AS BLOB) AS body, leaf FROM audit_record
       WHERE sequence >= ? AND sequence < ? ORDER BY sequence`,
    )
    .iterate(first, end) as Iterable<Row>;
}
