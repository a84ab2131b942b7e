/** Checkpoints as they were signed, newest first, with what witnesses have signed below them. */
import type { Store } from "./store.ts";

export type StoredCheckpoint = {
  readonly size: number;
  readonly time: string;
  /** Hex. */
  readonly root: string;
  /** The verifier key that it was signed with. */
  readonly key: string;
  /** The checkpoint with every cosignature. */
  readonly note: string;
  /** Keys of the witnesses that have signed it. */
  readonly witnesses: readonly string[];
};

type CheckpointRow = { readonly size: number; readonly at_ms: number; readonly root: Buffer; readonly key: string; readonly note: string };
type CosignatureRow = { readonly witness: string; readonly line: string };

export function checkpointReader(store: Store) {
  const below = store.prepare("SELECT size, at_ms, root, key, note FROM checkpoint WHERE size < ? ORDER BY size DESC LIMIT ?");
  const covering = store.prepare("SELECT size, at_ms, root, key, note FROM checkpoint WHERE size > ? ORDER BY size DESC LIMIT 1");
  const cosigned = store.prepare("SELECT witness, line FROM cosignature WHERE size = ? ORDER BY witness");
  const lastOf = store.prepare("SELECT coalesce(max(size), 0) FROM cosignature WHERE witness = ?").pluck();
  const read = ({ size, at_ms, root, key, note }: CheckpointRow): StoredCheckpoint => {
    const cosignatures = cosigned.all(size) as CosignatureRow[];
    return {
      size,
      time: new Date(at_ms).toISOString(),
      root: root.toString("hex"),
      key,
      note: note + cosignatures.map(({ line }) => `${line}\n`).join(""),
      witnesses: cosignatures.map(({ witness }) => witness),
    };
  };
  return {
    /** The newest ones of fewer than `size` records; null: of any. */
    newest: (limit: number, size: number | null) => (below.all(size ?? Number.MAX_SAFE_INTEGER, limit) as CheckpointRow[]).map(read),
    /** The newest one, if it covers the record; null otherwise. */
    covering(sequence: number): StoredCheckpoint | null {
      const row = covering.get(sequence) as CheckpointRow | undefined;
      return row === undefined ? null : read(row);
    },
    /** The size up to which this witness has signed; 0: nothing yet. */
    witnessed: (witness: string) => Number(lastOf.get(witness)),
  };
}
