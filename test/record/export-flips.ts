/** Flips bytes of an exported file, one at a time, and looks whether the verifier names the record that it is in. */
import { parentPort, workerData } from "node:worker_threads";
import { recordIn } from "../../src/call/record/check-record.ts";
import { type Checkpoint, checkpointIn, signatureProblem } from "../../src/call/record/checkpoint.ts";
import { createExportCheck, leavesOf } from "../../src/call/record/export-check.ts";
import { verifierIn } from "../../src/call/record/signed-note.ts";

export type Flips = {
  readonly records: Buffer;
  readonly leaves: string;
  readonly checkpoint: string;
  readonly key: string;
  /** Positions in `records`, then in the checkpoint behind it, and what each is changed by. */
  readonly flips: readonly (readonly [position: number, pattern: number])[];
  /** A verifier that looks at the form of each record and at no hash. */
  readonly blind: boolean;
};

export type FlipsFound = { readonly trials: number; readonly missed: readonly string[] };

export function tryFlips({ records, leaves, checkpoint, key, flips, blind }: Flips): FlipsFound {
  const bytes = Buffer.from(records);
  const lines = linesOf(bytes);
  const missed: string[] = [];
  const kept = trusted(Buffer.from(checkpoint), leaves, key);
  for (const [position, pattern] of flips) {
    if (position >= bytes.length) {
      const changed = flipped(Buffer.from(checkpoint), position - bytes.length, pattern);
      if (verdictOn(bytes, trusted(changed, leaves, key), blind) === null)
        missed.push(`byte ${position - bytes.length} of the checkpoint by ${pattern}`);
      continue;
    }
    const was = bytes[position] ?? 0;
    bytes[position] = was ^ pattern;
    const found = verdictOn(bytes, kept, blind);
    const expected = lines.findIndex(({ end }) => position <= end);
    if (found?.firstBad !== expected) missed.push(`byte ${position} by ${pattern}: record ${expected}, said ${JSON.stringify(found)}`);
    bytes[position] = was;
  }
  return { trials: flips.length, missed };
}

/** Null: nothing was found. */
function verdictOn(records: Buffer, kept: Kept | null, blind: boolean): { firstBad: number | null } | null {
  const verdict = { bad: false, firstBad: null as number | null };
  const complain = (sequence: number | null) => {
    verdict.bad = true;
    if (sequence !== null) verdict.firstBad = Math.min(verdict.firstBad ?? sequence, sequence);
  };
  if (blind) {
    for (const [i, { start, end }] of linesOf(records).entries()) recordIn(records.toString("utf8", start, end), i, () => complain(i));
  } else {
    if (kept === null) return { firstBad: null };
    const check = createExportCheck(kept.checkpoint, kept.leaves, complain);
    for (const { start, end } of linesOf(records)) check.add(records.subarray(start, end));
    check.end(records.at(-1) === 0x0a);
  }
  return verdict.bad ? { firstBad: verdict.firstBad } : null;
}

type Kept = { readonly checkpoint: Checkpoint; readonly leaves: readonly Buffer[] | null };

/** Null: the checkpoint is not one that the key has signed. */
function trusted(checkpointBytes: Buffer, leaves: string, key: string): Kept | null {
  const [checkpoint, verifier] = [checkpointIn(checkpointBytes.toString("utf8")), verifierIn(key)];
  if (checkpoint === null || verifier === null || signatureProblem(checkpoint, verifier) !== null) return null;
  return { checkpoint, leaves: leavesOf(leaves, checkpoint) };
}

function linesOf(bytes: Buffer): { readonly start: number; readonly end: number }[] {
  const lines: { start: number; end: number }[] = [];
  for (let start = 0; start < bytes.length; ) {
    const at = bytes.indexOf(0x0a, start);
    const end = at === -1 ? bytes.length : at;
    lines.push({ start, end });
    start = end + 1;
  }
  return lines;
}

function flipped(bytes: Buffer, position: number, pattern: number): Buffer {
  bytes[position] = (bytes[position] ?? 0) ^ pattern;
  return bytes;
}

if (parentPort !== null) {
  const job = workerData as Flips;
  parentPort.postMessage(tryFlips({ ...job, records: Buffer.from(job.records) }));
}
