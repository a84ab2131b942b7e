/** Pure. The RFC 6962 Merkle tree: hashes, roots, inclusion proofs and their check. */
import { hash } from "node:crypto";

const LEAF_PREFIX = Buffer.from([0]);
const NODE_PREFIX = Buffer.from([1]);

export const EMPTY_ROOT = hash("sha256", "", "buffer");

export function leafHash(bytes: Uint8Array): Buffer {
  return hash("sha256", Buffer.concat([LEAF_PREFIX, bytes]), "buffer");
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash("sha256", Buffer.concat([NODE_PREFIX, left, right]), "buffer");
}

/** What a usage event is in the tree of its batch: its digest, the text `sha256:<hex>`. */
export function eventLeaf(digest: string): Buffer {
  return leafHash(Buffer.from(digest));
}

/** Root over hashes of equal, complete subtrees (or leaves), with the RFC's split at the largest power of two. */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  const [only] = hashes;
  if (only === undefined) return EMPTY_ROOT;
  if (hashes.length === 1) return only;
  const split = splitOf(hashes.length);
  return nodeHash(rootOf(hashes.slice(0, split)), rootOf(hashes.slice(split)));
}

/** The hash of the subtree over leaves [start, end), from whoever can read them. */
export type SubtreeHash = (start: number, end: number) => Buffer;

/** RFC 6962 2.1.1: the sibling hashes from the leaf up. At most 64 for any tree that fits an integer. */
export function inclusionPath(index: number, size: number, hashOf: SubtreeHash): Buffer[] {
  const path: Buffer[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    if (index < middle) {
      path.push(hashOf(middle, end));
      end = middle;
    } else {
      path.push(hashOf(start, middle));
      start = middle;
    }
  }
  return path.reverse();
}

/** RFC 9162 2.1.3.2: whether `path` leads from the leaf at `index` to `root` in a tree of `size`. */
export function verifyInclusion(leaf: Uint8Array, index: number, size: number, path: readonly Uint8Array[], root: Uint8Array): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  const computed = climb(leaf, index, size, path);
  return computed !== null && Buffer.compare(computed, root) === 0;
}

function climb(leaf: Uint8Array, index: number, size: number, path: readonly Uint8Array[]): Buffer | null {
  if (size === 1) return path.length === 0 ? Buffer.from(leaf) : null;
  const sibling = path.at(-1);
  if (sibling === undefined) return null;
  const split = splitOf(size);
  const rest = path.slice(0, -1);
  if (index < split) {
    const left = climb(leaf, index, split, rest);
    return left === null ? null : nodeHash(left, sibling);
  }
  const right = climb(leaf, index - split, size - split, rest);
  return right === null ? null : nodeHash(sibling, right);
}

/** The largest power of two smaller than `size`. */
export function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
