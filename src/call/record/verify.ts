/** Recomputes the whole journal from its bodies: every leaf, number, stored root, usage event and balance. Reads only, and row by row. */
import { createBalanceCheck } from "./balance-check.ts";
import { checkRecord } from "./check-record.ts";
import { createFrontier } from "./frontier.ts";
import { leafHash } from "./merkle.ts";
import { checkNodes } from "./node-check.ts";
import { createPurgeCheck } from "./purge-check.ts";
import { PURGED_BODY } from "./schema.ts";
import { openReader, type Store } from "./store.ts";
import { createUsageCheck } from "./usage-check.ts";

export type Verdict = {
  readonly ok: boolean;
  readonly size: number;
  /** Hex; recomputed from the bodies. */
  readonly root: string;
  /** The first sequence number at which something is wrong; absent where it cannot be told, or nothing is. */
  readonly first_bad?: number;
  /** What is wrong, in words; the first 20. */
  readonly problems: readonly string[];
};

/** `sequence` null: it cannot be told where. */
export type Complain = (sequence: number | null, what: string) => void;

export type RecordRow = {
  readonly sequence: number;
  readonly kind: string;
  readonly call_id: string | null;
  readonly body: string;
  readonly leaf: Buffer;
};

/** Beyond this the list would only repeat itself. */
const PROBLEMS_MAX = 20;
/** Rows between two turns of the event loop, so that progress shows and signals are heard. */
const TURN = 5_000;

/** A live journal or a copied file; rejects where the file cannot be opened at all. */
export async function verifyLog(file: string, progress: (done: number, size: number) => void = () => {}): Promise<Verdict> {
  const store = openReader(file);
  try {
    // One read transaction: a live journal grows meanwhile, and what is compared must be of one moment.
    store.exec("BEGIN");
    return await verify(store, progress);
  } finally {
    store.close();
  }
}

async function verify(store: Store, progress: (done: number, size: number) => void): Promise<Verdict> {
  const problems: string[] = [];
  let firstBad: number | undefined;
  const complain: Complain = (sequence, what) => {
    if (sequence !== null) firstBad = Math.min(firstBad ?? sequence, sequence);
    if (problems.length < PROBLEMS_MAX) problems.push(what);
  };
  const frontier = createFrontier();
  let expected = 0;
  try {
    const quick = store.pragma("quick_check(1)", { simple: true });
    if (quick !== "ok") complain(null, `the database file is damaged: ${String(quick)}`);
    const source = store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get();
    const size = Number(store.prepare("SELECT count(*) FROM audit_record").pluck().get());
    const usage = createUsageCheck(store, complain);
    const balances = createBalanceCheck(store, complain);
    const purges = createPurgeCheck(complain);
    for (const row of records(store)) {
      if (row.sequence !== expected) complain(expected, `record ${expected} is missing; the next one is ${row.sequence}`);
      expected = row.sequence + 1;
      if (row.body === PURGED_BODY) {
        frontier.add(row.leaf);
        usage.purged(row.sequence);
        purges.purged(row.sequence);
        continue;
      }
      const leaf = leafHash(Buffer.from(row.body));
      if (Buffer.compare(leaf, row.leaf) !== 0) complain(row.sequence, `record ${row.sequence} is not what its leaf says`);
      frontier.add(leaf);
      const record = checkRecord(row, source, complain);
      if (record !== null) {
        usage.settled(record, row.sequence);
        balances.settled(record);
        purges.record(record);
      }
      if (expected % TURN !== 0) continue;
      progress(expected, size);
      await new Promise((resolve) => setImmediate(resolve));
    }
    usage.end();
    balances.end();
    purges.end();
    checkNodes(store, expected, () => firstBad, complain);
  } catch (fault) {
    // A torn page can stop a query half-way: that is a finding, too.
    complain(expected, `reading stopped at record ${expected}: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
  const verdict = { ok: problems.length === 0, size: expected, root: frontier.root().toString("hex"), problems };
  return firstBad === undefined ? verdict : { ...verdict, first_bad: firstBad };
}

function records(store: Store): Iterable<RecordRow> {
  return store.prepare("SELECT sequence, kind, call_id, body, leaf FROM audit_record ORDER BY sequence").iterate() as Iterable<RecordRow>;
}
