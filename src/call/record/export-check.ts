/** Pure. Whether an exported file holds the records of a log, every byte of them, as a signed checkpoint has them. */
import { recordIn } from "./check-record.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createFrontier } from "./frontier.ts";
import { leafHash } from "./merkle.ts";
import type { Complain } from "./verify.ts";

/** The leaf of every record as a line of 64 hex digits: with it the first bad record can be named, not only found to be among all. */
export function leavesIn(text: string): readonly Buffer[] | null {
  if (text !== "" && !text.endsWith("\n")) return null;
  const lines = text.slice(0, -1).split("\n");
  return lines.every((line) => /^[0-9a-f]{64}$/.test(line)) ? lines.map((line) => Buffer.from(line, "hex")) : null;
}

export function leafLine(body: Uint8Array): string {
  return `${leafHash(body).toString("hex")}\n`;
}

export type ExportCheck = {
  /** Without its line feed; in order. */
  add(line: Buffer): void;
  /** `isWhole`: the file ended with a line feed. */
  end(isWhole: boolean): { readonly size: number; readonly root: Buffer };
};

/** `leaves`: null where there is no such file; they count only where the checkpoint has their root. */
export function createExportCheck(checkpoint: Checkpoint, leaves: readonly Buffer[] | null, complain: Complain): ExportCheck {
  const frontier = createFrontier();
  const believed = leaves !== null && rootOver(leaves).equals(checkpoint.root) && leaves.length === checkpoint.size ? leaves : null;
  let size = 0;
  let isFound = false;
  const bad: Complain = (sequence, what) => {
    isFound = true;
    complain(sequence, what);
  };
  return {
    add(line) {
      const sequence = size;
      size += 1;
      const leaf = leafHash(line);
      frontier.add(leaf);
      const known = believed?.[sequence];
      if (known !== undefined && !known.equals(leaf)) bad(sequence, `record ${sequence} is not the one that was logged`);
      recordIn(line.toString("utf8"), sequence, (what) => bad(sequence, `record ${sequence}: ${what}`));
    },
    end(isWhole) {
      if (!isWhole) bad(Math.max(0, size - 1), `record ${size - 1}: its line does not end`);
      const root = frontier.root();
      if (size !== checkpoint.size)
        bad(Math.min(size, checkpoint.size), `there are ${size} records, the checkpoint covers ${checkpoint.size}`);
      else if (!root.equals(checkpoint.root) && !isFound)
        bad(0, `some of the records 0 to ${size - 1} are not the ones that were logged: which, the file of leaves would tell`);
      if (leaves !== null && believed === null) complain(null, "the file of leaves is not that of the checkpoint");
      return { size, root };
    },
  };
}

function rootOver(leaves: readonly Buffer[]): Buffer {
  const frontier = createFrontier();
  for (const leaf of leaves) frontier.add(leaf);
  return frontier.root();
}
