/** Stored roots must be those of the hashes below them: proofs are computed from them. */
import { rootOf } from "./merkle.ts";
import type { Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";
import type { Complain } from "./verify.ts";

type Node = { readonly level: number; readonly number: number; readonly hash: Buffer };

/** `runs`: the root of every complete run of 256 leaves, recomputed from the bodies. */
export function checkNodes(store: Store, runs: readonly Buffer[], firstBad: () => number | undefined, complain: Complain): void {
  const levels = levelsOver(runs);
  const due = levels.reduce((count, level) => count + level.length, 0);
  let seen = 0;
  for (const node of store.prepare("SELECT level, number, hash FROM merkle_node ORDER BY level, number").iterate() as Iterable<Node>) {
    const computed = levels[node.level - 1]?.[node.number];
    if (computed !== undefined) seen += 1;
    if (computed?.equals(node.hash) === true) continue;
    const width = FAN_OUT ** node.level;
    const first = node.number * width;
    // A bad record below it says where more exactly than the run as a whole.
    const known = firstBad();
    const located = known !== undefined && known >= first && known < first + width;
    complain(located ? null : first, `the stored root of level ${node.level}, number ${node.number} is wrong`);
  }
  if (seen !== due) complain(null, `${seen} stored roots, ${due} are due`);
}

function levelsOver(runs: readonly Buffer[]): readonly (readonly Buffer[])[] {
  const levels: (readonly Buffer[])[] = [runs];
  for (let below = runs; below.length >= FAN_OUT; ) {
    const level: Buffer[] = [];
    for (let at = 0; at + FAN_OUT <= below.length; at += FAN_OUT) level.push(rootOf(below.slice(at, at + FAN_OUT)));
    levels.push(level);
    below = level;
  }
  return levels;
}
