/** Recomputes the whole journal from its bodies: every leaf, number, stored root, usage event, balance and checkpoint. Reads only. */
import { addSums, type BalanceSums, checkBalances } from "./balance-check.ts";
import { type CheckpointFindings, checkCheckpoints, type Outside } from "./checkpoint-check.ts";
import { checkEpochs } from "./epoch-check.ts";
import { createFrontier } from "./frontier.ts";
import { checkNodes } from "./node-check.ts";
import { eventsLeft } from "./purge.ts";
import { createPurgeCheck } from "./purge-check.ts";
import { PROBLEMS_MAX, type RangeFindings, type Source } from "./range-check.ts";
import { checkRanges, type Progress } from "./range-threads.ts";
import { openReader, type Store } from "./store.ts";
import { FAN_OUT, treeReader } from "./tree.ts";

export type Verdict = {
  readonly ok: boolean;
  readonly size: number;
  /** Hex; recomputed from the bodies. */
  readonly root: string;
  readonly checkpoints: CheckpointFindings;
  /** The first sequence number at which something is wrong, or from which on nothing vouches for the records; absent where it cannot be told, or nothing is wrong. */
  readonly first_bad?: number;
  /** What is wrong, in words; the first 20. */
  readonly problems: readonly string[];
};

/** `sequence` null: it cannot be told where. */
export type Complain = (sequence: number | null, what: string) => void;

export const NOTHING_OUTSIDE: Outside = { verifier: null, checkpoints: [] };

/** A live journal or a copied file; rejects where the file cannot be opened at all. */
export type VerifyOptions = {
  readonly progress?: Progress;
  readonly outside?: Outside;
  /** At most so many; default: as there are cores. */
  readonly threads?: number;
};

export async function verifyLog(file: string, options: VerifyOptions = {}): Promise<Verdict> {
  const store = openReader(file);
  try {
    // One read transaction: a live journal grows meanwhile, and what is compared must be of one moment. Records are never changed but
    // by a purge, so that threads with transactions of their own see the same ones, or such as a later record tells of.
    store.exec("BEGIN");
    return await verify(store, file, options);
  } finally {
    store.close();
  }
}

async function verify(
  store: Store,
  file: string,
  { progress = () => {}, outside = NOTHING_OUTSIDE, threads }: VerifyOptions,
): Promise<Verdict> {
  const problems: string[] = [];
  let firstBad: number | undefined;
  const complain: Complain = (sequence, what) => {
    if (sequence !== null) firstBad = Math.min(firstBad ?? sequence, sequence);
    if (problems.length < PROBLEMS_MAX) problems.push(what);
  };
  let size = 0;
  let root = createFrontier().root();
  let checkpoints: CheckpointFindings = { stored: 0, signed: null, outside: null };
  try {
    const counted = countRecords(store, complain);
    size = counted.size;
    const checking = checkRanges(store, file, counted.gapless, { progress, threads });
    // While other threads read the records.
    checkFile(store, complain);
    const found = await checking;
    const { runs, leaves, sums } = merge(found, complain);
    checkStrays(store, size, found, complain);
    checkBalances(store, sums, complain);
    checkNodes(store, runs, () => firstBad, complain);
    root = rootOver(runs, leaves);
    const { rootAt } = treeReader(store);
    checkEpochs(store, sourcesIn(found), rootAt, complain);
    checkPurges(store, file, size, found, complain);
    checkpoints = checkCheckpoints(store, { size, rootAt: (at) => (at === size ? root : rootAt(at)) }, outside, complain);
    // Anybody who can write to the file can add a record that speaks of a purge; only the gateway can sign it.
    const unsigned =
      outside.verifier === null
        ? undefined
        : found.flatMap((each) => each.tombstones).find((each) => each.sequence >= (checkpoints.signed ?? 0));
    if (unsigned !== undefined)
      complain(unsigned.sequence, `record ${unsigned.sequence}: it tells of a purge, and no signed checkpoint covers it`);
  } catch (fault) {
    complain(null, `reading stopped: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
  const verdict = { ok: problems.length === 0, size, root: root.toString("hex"), checkpoints, problems };
  return firstBad === undefined ? verdict : { ...verdict, first_bad: firstBad };
}

/** With the indexes: what a look-up by the id of a call finds hangs on them. */
function checkFile(store: Store, complain: Complain): void {
  try {
    const said = store.pragma("integrity_check(1)", { simple: true });
    if (said !== "ok") complain(null, `the database file is damaged: ${String(said)}`);
  } catch (fault) {
    complain(null, `the database file is damaged: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

/** `gapless`: where one is missing, it is among so many. */
function countRecords(store: Store, complain: Complain): { readonly size: number; readonly gapless: number } {
  const { count, first, last } = store
    .prepare("SELECT count(*) AS count, min(sequence) AS first, max(sequence) AS last FROM audit_record")
    .get() as {
    count: number;
    first: number | null;
    last: number | null;
  };
  if (first === null || last === null) return { size: 0, gapless: 0 };
  if (first < 0) complain(0, `there is a record ${first}`);
  return { size: last + 1, gapless: Math.min(last + 1, count) };
}

function merge(found: readonly RangeFindings[], complain: Complain) {
  const runs: Buffer[] = [];
  let leaves: Buffer[] = [];
  const sums: BalanceSums = new Map();
  let nextEvent = 1;
  for (const range of found) {
    for (const { sequence, what } of range.problems) complain(sequence, what);
    runs.push(...hashesIn(range.runs));
    leaves = hashesIn(range.leaves);
    addSums(sums, range.sums);
    const { events } = range;
    if (events === null) continue;
    if (events.first !== nextEvent) complain(null, `usage event ${nextEvent} is missing; the next one is ${events.first}`);
    nextEvent = events.next;
  }
  return { runs, leaves, sums };
}

/** What belongs to no record that was looked at. */
function checkStrays(store: Store, size: number, found: readonly RangeFindings[], complain: Complain): void {
  const stray = store.prepare("SELECT record FROM usage_event WHERE record < 0 OR record >= ? ORDER BY record LIMIT 1").pluck().get(size);
  if (stray !== undefined) complain(null, `there are usage events of a record ${String(stray)}, which does not exist`);
  if (found.length === 0 && stray === undefined && store.prepare("SELECT 1 FROM merkle_node LIMIT 1").get() !== undefined)
    complain(null, "there are stored roots, and no records");
  for (const table of ["usage_amount", "reported_event"]) {
    const event = store.prepare(`SELECT event FROM ${table} WHERE event NOT IN (SELECT sequence FROM usage_event) LIMIT 1`).pluck().get();
    if (event !== undefined) complain(null, `${table} tells of usage event ${String(event)}, which is not there`);
  }
}

/** Whose purged records are is no longer told: those at the beginning are the same gateway's as the first that is whole. */
function sourcesIn(found: readonly RangeFindings[]): readonly Source[] {
  const [first, ...rest] = found.flatMap((each) => each.sources);
  if (first === undefined) return [];
  let purged = 0;
  for (const [from, to] of found.flatMap((each) => each.purged)) if (from === purged) purged = to + 1;
  return first.restored === null && first.first === purged ? [{ ...first, first: 0 }, ...rest] : [first, ...rest];
}

function checkPurges(store: Store, file: string, size: number, found: readonly RangeFindings[], complain: Complain): void {
  const purges = createPurgeCheck(complain);
  // What was purged since the beginning is told of by records that are younger than it.
  for (const { sequence, told } of tombstonesFrom(file, size)) purges.tombstone(sequence, told, true);
  for (const { purged } of found) for (const [from, to] of purged) purges.purged(from, to);
  for (const { sequence, told, events, root } of found.flatMap((each) => each.tombstones)) {
    purges.tombstone(sequence, told);
    const left = eventsLeft(store, told);
    if (left.events !== events || left.events_root !== root)
      complain(sequence, `record ${sequence}: the usage events of what it purged are not what it left of them`);
  }
  purges.end();
}

function rootOver(runs: readonly Buffer[], leaves: readonly Buffer[]): Buffer {
  const frontier = createFrontier();
  for (const run of runs) frontier.add(run, FAN_OUT);
  for (const leaf of leaves) frontier.add(leaf);
  return frontier.root();
}

function hashesIn(bytes: Uint8Array): Buffer[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 32 }, (_, i) => all.subarray(i * 32, (i + 1) * 32));
}

function tombstonesFrom(file: string, first: number): { readonly sequence: number; readonly told: string }[] {
  const store = openReader(file);
  try {
    return store
      .prepare("SELECT sequence, body ->> '$.details.sequences' AS told FROM audit_record WHERE sequence >= ? AND kind = 'records.purged'")
      .all(first) as { sequence: number; told: string }[];
  } finally {
    store.close();
  }
}
