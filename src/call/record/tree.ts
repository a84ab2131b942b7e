/** The Merkle log as it lies in the database: leaves in rows, and a root for every complete 256 of them. */
import { inclusionPath, rootOf, type SubtreeHash, splitOf } from "./merkle.ts";
import type { Statement, Store } from "./store.ts";

/** 256 hashes of 32 bytes: what one proof step reads at most. */
export const FAN_OUT = 256;

export type Proof = {
  readonly leaf_index: number;
  readonly tree_size: number;
  /** Hex, from the leaf's sibling up. */
  readonly hashes: readonly string[];
  /** Hex. */
  readonly leaf: string;
  readonly root: string;
};

export type TreeReader = {
  size(): number;
  root(): Buffer;
  /** The root when there were so many records. */
  rootAt(size: number): Buffer;
  hashOf: SubtreeHash;
  proof(sequence: number): Proof;
};

export function treeReader(store: Store): TreeReader {
  const count = store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck();
  const leaves = store.prepare("SELECT leaf FROM audit_record WHERE sequence >= ? AND sequence < ? ORDER BY sequence").pluck();
  const nodes = store.prepare("SELECT hash FROM merkle_node WHERE level = ? AND number >= ? AND number < ? ORDER BY number").pluck();
  const hashOf = (start: number, end: number): Buffer => subtree(start, end, leaves, nodes);
  const size = () => Number(count.get());
  return {
    size,
    root: () => hashOf(0, size()),
    rootAt: (at) => hashOf(0, at),
    hashOf,
    proof(sequence) {
      const treeSize = size();
      const path = inclusionPath(sequence, treeSize, hashOf);
      return {
        leaf_index: sequence,
        tree_size: treeSize,
        hashes: path.map((hash) => hash.toString("hex")),
        leaf: hashOf(sequence, sequence + 1).toString("hex"),
        root: hashOf(0, treeSize).toString("hex"),
      };
    },
  };
}

/**
 * The hash over leaves [start, end). `start` is a multiple of the largest power of two below the width, as in every
 * RFC 6962 split, so aligned runs of 256^level leaves are answered from stored nodes.
 */
function subtree(start: number, end: number, leaves: Statement, nodes: Statement): Buffer {
  const width = end - start;
  if (width <= FAN_OUT) return rootOf(leaves.all(start, end) as Buffer[]);
  let unit = FAN_OUT;
  let level = 1;
  while (unit * FAN_OUT < width) {
    unit *= FAN_OUT;
    level += 1;
  }
  if (width % unit === 0) return rootOf(nodes.all(level, start / unit, end / unit) as Buffer[]);
  const middle = start + splitOf(width);
  return rootOf([subtree(start, middle, leaves, nodes), subtree(middle, end, leaves, nodes)]);
}
