/** Pure. The root of a growing log from one hash per set bit of its size: only the right edge is kept. */
import { EMPTY_ROOT, nodeHash } from "./merkle.ts";

export function createFrontier() {
  const edge: { readonly hash: Buffer; readonly width: number }[] = [];
  return {
    /** A leaf, or the root of a complete run of `width` leaves, a power of two, where nothing narrower is open. */
    add(leaf: Buffer, leaves = 1): void {
      let hash = leaf;
      let width = leaves;
      for (let last = edge.at(-1); last !== undefined && last.width === width; last = edge.at(-1)) {
        edge.pop();
        hash = nodeHash(last.hash, hash);
        width *= 2;
      }
      edge.push({ hash, width });
    },
    root(): Buffer {
      let root: Buffer | null = null;
      for (const { hash } of edge.toReversed()) root = root === null ? hash : nodeHash(hash, root);
      return root ?? EMPTY_ROOT;
    },
  };
}
