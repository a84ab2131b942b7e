/** Pure. What a question about a decision most likely has wrong: a server, tool or agent of a name that nobody has. */
import type { Known } from "../call/authorize/known.ts";
import { didYouMean, nearestOf } from "../call/authorize/nearest.ts";
import { parsePattern } from "../call/authorize/pattern.ts";
import { reviewPattern } from "../call/authorize/target-review.ts";

/** Sentences; none where nothing is odd. */
export function hintsFor(target: string, servers: ReadonlySet<string>, known: Known): string[] {
  const pattern = parsePattern(target);
  if ("problem" in pattern) return [];
  const { server, kind } = pattern;
  if (!servers.has(server)) {
    const there = nearestOf(server, servers).length > 0 ? didYouMean(server, servers) : `; it has ${[...servers].slice(0, 10).join(", ")}`;
    return [`the config has no server ${server}${there}`];
  }
  if (kind !== "tool" || !known.tools.has(server)) return [];
  const unknown = reviewPattern(pattern, known);
  return unknown === null ? [] : [unknown];
}
