/** Holds a log against checkpoints: those that it keeps itself, and those that somebody has kept elsewhere. */
import { type Checkpoint, checkpointIn, isSignedBy, signatureProblem } from "./checkpoint.ts";
import type { Verifier } from "./signed-note.ts";
import type { Store } from "./store.ts";
import type { Complain } from "./verify.ts";

/** What a verifier brings along. */
export type Outside = {
  /** The key that it believes; null: none, so that signatures prove only that one key made them. */
  readonly verifier: Verifier | null;
  readonly checkpoints: readonly { readonly name: string; readonly checkpoint: Checkpoint }[];
};

export type CheckpointFindings = {
  readonly stored: number;
  /** Records that a checkpoint covers whose signature was verified with the key that was brought along; null: none does. */
  readonly signed: number | null;
  /** Records that a checkpoint from outside covers; null: none was brought along, or none is right. */
  readonly outside: number | null;
};

type Tree = { readonly size: number; readonly rootAt: (size: number) => Buffer };
type Row = { readonly size: number; readonly root: Buffer; readonly key: string; readonly note: string };

export function checkCheckpoints(store: Store, tree: Tree, { verifier, checkpoints }: Outside, complain: Complain): CheckpointFindings {
  const found = { stored: 0, signed: null as number | null, outside: null as number | null };
  // Up to here some checkpoint vouches for the records: the first bad one is not before it.
  let vouched = 0;
  const hold = (name: string, checkpoint: Checkpoint): boolean => {
    const { size, root } = checkpoint;
    if (size > tree.size)
      complain(vouched, `${name} covers ${size} records, and there are ${tree.size}: the log was cut off, or records were taken out`);
    else if (!tree.rootAt(size).equals(root))
      complain(vouched, `${name}: of the records ${vouched} to ${size - 1} some are not the ones that it covers`);
    else {
      vouched = Math.max(vouched, size);
      return true;
    }
    return false;
  };
  const believed = (size: number) => {
    found.signed = Math.max(found.signed ?? 0, size);
  };
  for (const row of store.prepare("SELECT size, root, key, note FROM checkpoint ORDER BY size").iterate() as Iterable<Row>) {
    found.stored += 1;
    const name = `the checkpoint over ${row.size} records`;
    const checkpoint = checkpointIn(row.note);
    if (checkpoint === null || checkpoint.size !== row.size || !checkpoint.root.equals(row.root)) complain(null, `${name} cannot be read`);
    else if (!isSignedBy(checkpoint, row.key)) complain(null, `${name} is not signed by ${row.key}`);
    else if (hold(name, checkpoint) && row.key === verifier?.vkey) believed(row.size);
  }
  for (const { name, checkpoint } of [...checkpoints].sort((a, b) => a.checkpoint.size - b.checkpoint.size)) {
    const problem = verifier === null ? null : signatureProblem(checkpoint, verifier);
    if (problem !== null) complain(null, `${name}: ${problem}`);
    else if (hold(name, checkpoint)) {
      found.outside = Math.max(found.outside ?? 0, checkpoint.size);
      if (verifier !== null) believed(checkpoint.size);
    }
  }
  if (verifier !== null && found.signed === null && tree.size > 0)
    complain(null, `no checkpoint of this log is signed by ${verifier.vkey}`);
  return found;
}
