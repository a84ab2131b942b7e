/** Pure. Whether an exported file holds the records of a log, every byte of them, as a signed checkpoint has them. */
import { recordIn } from "./check-record.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createFrontier } from "./frontier.ts";
import { leafHash } from "./merkle.ts";
import { createPurgeCheck } from "./purge-check.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Complain } from "./verify.ts";

/** The leaf of every record as a line of 64 hex digits. Null: they are not those of the checkpoint, and say nothing. */
export function leavesOf(text: string, { size, root }: Checkpoint): readonly Buffer[] | null {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length !== size || !lines.every((line) => /^[0-9a-f]{64}$/.test(line))) return null;
  const leaves = lines.map((line) => Buffer.from(line, "hex"));
  return rootOver(leaves).equals(root) ? leaves : null;
}

export type ExportCheck = {
  /** Without its line feed; in order. */
  add(line: Buffer): void;
  /** `isWhole`: the file ended with a line feed. */
  end(isWhole: boolean): { readonly size: number; readonly root: () => Buffer };
};

/** With the leaves (those of the checkpoint) the first bad record is named; without them it is only found to be among all. */
export function createExportCheck(checkpoint: Checkpoint, leaves: readonly Buffer[] | null, complain: Complain): ExportCheck {
  const frontier = leaves === null ? createFrontier() : null;
  const differing = new Map<number, Buffer>();
  let size = 0;
  let isFound = false;
  const bad: Complain = (sequence, what) => {
    isFound = true;
    complain(sequence, what);
  };
  const purges = createPurgeCheck(bad);
  const rootOfAll = () => {
    if (frontier !== null) return frontier.root();
    return rootOver(Array.from({ length: size }, (_, i) => differing.get(i) ?? leaves?.[i] ?? NO_LEAF));
  };
  return {
    add(line) {
      const sequence = size;
      size += 1;
      const text = line.toString("utf8");
      // Its leaf is vouched for by the checkpoint, and its purge by a later record.
      if (text === PURGED_BODY && leaves !== null) return purges.purged(sequence, sequence);
      if (text.includes('"kind":"records.purged"')) purges.tombstone(sequence, sequencesIn(text));
      const leaf = leafHash(line);
      frontier?.add(leaf);
      // What the signed log has is what the gateway wrote: its form need not be looked at again.
      if (leaves?.[sequence]?.equals(leaf) === true) return;
      if (leaves !== null) {
        differing.set(sequence, leaf);
        bad(sequence, `record ${sequence} is not the one that was logged`);
      }
      recordIn(text, sequence, (what) => bad(sequence, `record ${sequence}: ${what}`));
    },
    end(isWhole) {
      purges.end();
      if (!isWhole) bad(Math.max(0, size - 1), `record ${size - 1}: its line does not end`);
      if (size !== checkpoint.size)
        bad(Math.min(size, checkpoint.size), `there are ${size} records, the checkpoint covers ${checkpoint.size}`);
      else if (frontier !== null && !frontier.root().equals(checkpoint.root) && !isFound)
        bad(0, `some of the records 0 to ${size - 1} are not the ones that were logged: which, the file of leaves would tell`);
      return { size, root: rootOfAll };
    },
  };
}

function sequencesIn(text: string): string {
  try {
    return String((JSON.parse(text) as { details?: { sequences?: unknown } }).details?.sequences);
  } catch {
    return "";
  }
}

const NO_LEAF = Buffer.alloc(32);

function rootOver(leaves: readonly Buffer[]): Buffer {
  const frontier = createFrontier();
  for (const leaf of leaves) frontier.add(leaf);
  return frontier.root();
}
