/** How far the journal was when it last answered, in a file of its own: a write-ahead log that is lost or another's cannot take records away unseen. */
import { closeSync, constants, lstatSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Store } from "./store.ts";
import type { Mark } from "./writer.ts";

export type HighWater = { note(mark: Mark): void; close(): void };

const FILE = "journal.mark";
const DIGITS = 16;

/** Written after each commit and never synced: after a power loss it may say less than the journal holds, and never more. */
export function openHighWater(dataDir: string): HighWater {
  const descriptor = openSync(join(dataDir, FILE), constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
  let last = -1;
  return {
    note({ size, lastLeaf }) {
      if (size === last || lastLeaf === null) return;
      last = size;
      try {
        writeSync(descriptor, `${String(size).padStart(DIGITS, "0")} ${lastLeaf.toString("hex")}\n`, 0);
      } catch {
        // A full disk: the journal itself says so.
      }
    },
    close: () => closeSync(descriptor),
  };
}

/** Throws where the journal holds less than it had answered for. No mark, or one that is torn, says nothing. */
export function checkHighWater(store: Store, dataDir: string): void {
  const file = join(dataDir, FILE);
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) return;
  const [, digits, leaf] = /^(\d{16}) ([0-9a-f]{64})\n$/.exec(readFileSync(file, "latin1")) ?? [];
  if (digits === undefined) return;
  const size = Number(digits);
  const found = store
    .prepare("SELECT lower(hex(leaf)) FROM audit_record WHERE sequence = ?")
    .pluck()
    .get(size - 1);
  if (found === leaf) return;
  throw new Error(
    `journal.db does not hold record ${size - 1}, which was on disk: its write-ahead log journal.db-wal is lost or another's, or the file is an older copy. ` +
      "Put the right files back, or restore a backup into an empty data folder: tollgate restore FILE",
  );
}
