/** Appends records to the Merkle log: numbered without a gap, hashed, and a root stored for every complete run of 256. */
import { leafHash, rootOf } from "./merkle.ts";
import { bodyOf, type RecordRow } from "./rows.ts";
import type { Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";

type Position = { readonly next: number; readonly run: readonly Buffer[]; readonly lastLeaf: Buffer | null };

export function logWriter(store: Store) {
  const insert = store.prepare("INSERT INTO audit_record (sequence, kind, call_id, leaf, body) VALUES (?, ?, ?, ?, ?)");
  const insertNode = store.prepare("INSERT INTO merkle_node (level, number, hash) VALUES (?, ?, ?)");
  const nodes = store.prepare("SELECT hash FROM merkle_node WHERE level = ? AND number >= ? ORDER BY number").pluck();
  const leaves = store.prepare("SELECT leaf FROM audit_record WHERE sequence >= ? ORDER BY sequence").pluck();
  let next = Number(store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck().get());
  let run = leaves.all(next - (next % FAN_OUT)) as Buffer[];
  let lastLeaf = (leaves.get(next - 1) as Buffer | undefined) ?? null;

  const closeRun = () => {
    insertNode.run(1, next / FAN_OUT - 1, rootOf(run));
    run = [];
    for (let level = 2, unit = FAN_OUT * FAN_OUT; next % unit === 0; level += 1, unit *= FAN_OUT) {
      const number = next / unit - 1;
      insertNode.run(level, number, rootOf(nodes.all(level - 1, number * FAN_OUT) as Buffer[]));
    }
  };
  return {
    /** The record's sequence number, which is the index of its leaf. */
    append(row: RecordRow): number {
      const sequence = next;
      const body = bodyOf(row, sequence);
      const leaf = leafHash(Buffer.from(body));
      insert.run(sequence, row.recordKind, row.callId, leaf, body);
      run.push(leaf);
      lastLeaf = leaf;
      next += 1;
      if (run.length === FAN_OUT) closeRun();
      return sequence;
    },
    position: (): Position => ({ next, run: run.slice(), lastLeaf }),
    returnTo(position: Position): void {
      next = position.next;
      run = position.run.slice();
      lastLeaf = position.lastLeaf;
    },
    mark: () => ({ size: next, lastLeaf }),
  };
}
