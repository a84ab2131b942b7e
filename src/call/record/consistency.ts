/** Pure. RFC 6962 consistency: that a log of one size is the beginning of the same log at a later size. */
import { nodeHash, type SubtreeHash, splitOf } from "./merkle.ts";

/** RFC 6962 2.1.2. Empty where one of them is empty or both are one. */
export function consistencyPath(from: number, to: number, hashOf: SubtreeHash): Buffer[] {
  if (from <= 0 || from >= to) return [];
  return subproof(from, 0, to, true, hashOf);
}

/** `whole`: the verifier knows the hash of the first `size` leaves of this range, since it is the old root. */
function subproof(size: number, start: number, end: number, whole: boolean, hashOf: SubtreeHash): Buffer[] {
  if (size === end - start) return whole ? [] : [hashOf(start, end)];
  const split = splitOf(end - start);
  const middle = start + split;
  if (size <= split) return [...subproof(size, start, middle, whole, hashOf), hashOf(middle, end)];
  return [...subproof(size - split, middle, end, false, hashOf), hashOf(start, middle)];
}

/** A log at one moment. */
export type TreeHead = { readonly size: number; readonly root: Uint8Array };

/** RFC 9162 2.1.4.2: whether `path` shows that the log of `old` is the beginning of the log of `now`. */
export function verifyConsistency(old: TreeHead, now: TreeHead, path: readonly Uint8Array[]): boolean {
  if (!Number.isSafeInteger(old.size) || !Number.isSafeInteger(now.size) || old.size < 0 || old.size > now.size) return false;
  if (old.size === 0) return path.length === 0;
  if (old.size === now.size) return path.length === 0 && Buffer.compare(old.root, now.root) === 0;
  const climbed = climb(old.size, now.size, true, old.root, path);
  return climbed !== null && Buffer.compare(climbed.old, old.root) === 0 && Buffer.compare(climbed.now, now.root) === 0;
}

type Climbed = { readonly old: Uint8Array; readonly now: Uint8Array };

/** The roots of the old and of the new range, from the hashes of `path`, the last of which belongs to the split at the top. */
function climb(size: number, width: number, whole: boolean, known: Uint8Array, path: readonly Uint8Array[]): Climbed | null {
  const last = path.at(-1);
  if (size === width) {
    if (whole) return path.length === 0 ? { old: known, now: known } : null;
    return last !== undefined && path.length === 1 ? { old: last, now: last } : null;
  }
  if (last === undefined) return null;
  const split = splitOf(width);
  const rest = path.slice(0, -1);
  if (size <= split) {
    const left = climb(size, split, whole, known, rest);
    return left === null ? null : { old: left.old, now: nodeHash(left.now, last) };
  }
  const right = climb(size - split, width - split, false, known, rest);
  return right === null ? null : { old: nodeHash(last, right.old), now: nodeHash(last, right.now) };
}
