/** Looks at the end of the log before anything is added to it: a start must not build on rows that do not hold together. */
import { leafHash, rootOf } from "./merkle.ts";
import { PURGED_BODY } from "./schema.ts";
import { JOURNAL_FILE, type Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";

/** The last complete run of 256 and the open one; the whole log is `verifyLog`'s work, which runs behind. */
export function checkTail(store: Store): void {
  const size = Number(store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck().get());
  const runs = Math.floor(size / FAN_OUT);
  const from = Math.max(0, runs - 1) * FAN_OUT;
  const rows = store.prepare("SELECT leaf, body FROM audit_record WHERE sequence >= ? ORDER BY sequence").all(from) as Tail[];
  if (rows.length !== size - from) refuse(`records are missing after ${from}`);
  for (const [i, { leaf, body }] of rows.entries()) {
    if (body !== PURGED_BODY && Buffer.compare(leafHash(Buffer.from(body)), leaf) !== 0)
      refuse(`record ${from + i} is not what its leaf says`);
  }
  const stored = store.prepare("SELECT count(*) AS count, max(number) AS last FROM merkle_node WHERE level = 1").get() as Stored;
  if (stored.count !== runs || (runs > 0 && stored.last !== runs - 1)) refuse(`${stored.count} stored roots, ${runs} are due`);
  if (runs === 0) return;
  const root = store
    .prepare("SELECT hash FROM merkle_node WHERE level = 1 AND number = ?")
    .pluck()
    .get(runs - 1) as Buffer;
  if (Buffer.compare(rootOf(rows.slice(0, FAN_OUT).map((row) => row.leaf)), root) !== 0)
    refuse(`the stored root of run ${runs - 1} is wrong`);
}

type Tail = { readonly leaf: Buffer; readonly body: string };
type Stored = { readonly count: number; readonly last: number | null };

function refuse(what: string): never {
  throw new Error(`${JOURNAL_FILE} is damaged: ${what}. Keep the file, restore a backup, and look with: tollgate audit verify`);
}
