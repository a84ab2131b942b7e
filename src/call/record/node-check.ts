/** Stored roots must be those of the hashes below them: proofs are computed from them. */
import { rootOf } from "./merkle.ts";
import type { Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";
import type { Complain } from "./verify.ts";

type Node = { readonly level: number; readonly number: number; readonly hash: Buffer };

/** The leaves have been held against their bodies before. */
export function checkNodes(store: Store, size: number, firstBad: () => number | undefined, complain: Complain): void {
  const leaves = store.prepare("SELECT leaf FROM audit_record WHERE sequence >= ? AND sequence < ? ORDER BY sequence").pluck();
  const below = store.prepare("SELECT hash FROM merkle_node WHERE level = ? AND number >= ? AND number < ? ORDER BY number").pluck();
  let due = 0;
  for (let unit = FAN_OUT; unit <= size; unit *= FAN_OUT) due += Math.floor(size / unit);
  let seen = 0;
  for (const node of store.prepare("SELECT level, number, hash FROM merkle_node ORDER BY level, number").iterate() as Iterable<Node>) {
    seen += 1;
    const start = node.number * FAN_OUT;
    const hashes = node.level === 1 ? leaves.all(start, start + FAN_OUT) : below.all(node.level - 1, start, start + FAN_OUT);
    if (hashes.length === FAN_OUT && Buffer.compare(rootOf(hashes as Buffer[]), node.hash) === 0) continue;
    const width = FAN_OUT ** node.level;
    const first = node.number * width;
    // A bad record below it says where more exactly than the run as a whole.
    const known = firstBad();
    const located = known !== undefined && known >= first && known < first + width;
    complain(located ? null : first, `the stored root of level ${node.level}, number ${node.number} is wrong`);
  }
  if (seen !== due) complain(null, `${seen} stored roots, ${due} are due`);
}
