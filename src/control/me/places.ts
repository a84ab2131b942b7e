/** Pure. Where calls of an agent draw on a budget or a limit, as far as that is known before there is a call. */
import type { Target } from "../../call/accept/request.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import { type PolicySet, reachOf, viewOf } from "../../call/authorize/candidates.ts";
import { globOf, isPattern } from "../../call/authorize/glob.ts";
import type { TargetPattern } from "../../call/authorize/pattern.ts";
import type { Budget } from "../../call/authorize/policy-set.ts";
import { visible } from "../../call/authorize/visible.ts";
import { permits } from "./permitted.ts";

/** One of the things that are called, where each thing of its kind has the same counter. */
export type Place = { readonly server: string; readonly target: Target };

/** Where calls of this agent draw on a budget or a limit, as far as it is known before there is a call. */
export function placesOf(policySet: PolicySet, budget: Pick<Budget, "targets" | "each">, agent: Agent, nowMs: number): Place[] {
  const view = viewOf(policySet, agent);
  const byTool = budget.each.includes("tool");
  return [...policySet.servers].flatMap((server) => {
    if (reachOf(policySet, view, server, nowMs) === null) return [];
    const isVisible = visible(policySet, agent, server, nowMs);
    const named = permits(policySet, view, server, nowMs)
      .map(({ target }) => target)
      .filter((target) => isPattern(target.name) || isVisible({ kind: target.kind, name: target.name }))
      .filter((target) => budget.targets === null || budget.targets.some((drawn) => mayMeet(drawn, target, server)));
    // A counter for each tool has no number before the tool is known: a pattern names none.
    const places = byTool ? named.filter((target) => !isPattern(target.name)) : named.slice(0, 1);
    return places.map(({ kind, name }) => ({ server, target: { kind, name } }));
  });
}

/** True unless the two patterns have no name in common: judged by their beginnings and ends. */
function mayMeet(drawn: TargetPattern, permitted: TargetPattern, server: string): boolean {
  if (drawn.kind !== permitted.kind || !globOf(drawn.server)(server)) return false;
  const [a, b] = [drawn.name, permitted.name];
  if (!isPattern(a)) return globOf(b)(a);
  if (!isPattern(b)) return globOf(a)(b);
  const [[aFirst = "", aLast = ""], [bFirst = "", bLast = ""]] = [endsOf(a), endsOf(b)];
  const begins = aFirst.startsWith(bFirst) || bFirst.startsWith(aFirst);
  return begins && (aLast.endsWith(bLast) || bLast.endsWith(aLast));
}

function endsOf(pattern: string): readonly string[] {
  return [pattern.slice(0, pattern.indexOf("*")), pattern.slice(pattern.lastIndexOf("*") + 1)];
}
