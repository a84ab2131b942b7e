/** Pure. What policies permit an agent, in their own patterns: at most this, and never what is hidden from it by name. */
import type { Agent } from "../../call/authenticate/agent.ts";
import { isInForce, type PolicySet, reachOf, type View, viewOf } from "../../call/authorize/candidates.ts";
import { globOf, isPattern } from "../../call/authorize/glob.ts";
import { isLapsed } from "../../call/authorize/idle.ts";
import type { TargetPattern } from "../../call/authorize/pattern.ts";
import { writtenAs } from "../../call/authorize/pattern.ts";
import type { Rule } from "../../call/authorize/policy-set.ts";
import { visible } from "../../call/authorize/visible.ts";

export type PermittedTool = {
  /** `server/tool`, or a pattern in which `*` stands for anything. */
  readonly pattern: string;
  /** Scopes that a token needs for it. */
  readonly requires: readonly string[];
  /** True where a condition decides call by call. */
  readonly conditional: boolean;
};
export type PermittedServer = { readonly server: string; readonly tools: readonly PermittedTool[] };

export function permittedTo(policySet: PolicySet, agent: Agent, servers: Iterable<string>, nowMs: number): PermittedServer[] {
  const view = viewOf(policySet, agent);
  const reached = [...servers].filter((server) => reachOf(policySet, view, server, nowMs) !== null);
  return reached.map((server) => ({ server, tools: toolsOn(policySet, agent, view, server, nowMs) }));
}

function toolsOn(policySet: PolicySet, agent: Agent, view: View, server: string, nowMs: number): PermittedTool[] {
  const isVisible = visible(policySet, agent, server, nowMs);
  const tools = new Map<string, PermittedTool>();
  for (const { rule, target } of permits(policySet, view, server, nowMs)) {
    if (target.kind !== "tool") continue;
    const shown = isPattern(target.name)
      ? !isTaken(policySet, view, server, target, nowMs)
      : isVisible({ kind: "tool", name: target.name });
    if (!shown) continue;
    const requires = rule.requires.filter((scope) => scope !== "mcp");
    const tool = { pattern: writtenAs(server, target), requires, conditional: rule.condition !== null };
    tools.set(JSON.stringify(tool), tool);
  }
  return [...tools.values()];
}

/** What any permit for the caller names on the server, as far as its account goes. */
export function permits(
  { rules, lastUses }: PolicySet,
  view: View,
  server: string,
  nowMs: number,
): { rule: Rule; target: TargetPattern }[] {
  const [id = ""] = view.facets.agent;
  return rules
    .filter((rule) => rule.effect === "permit" && !rule.shadow && isInForce(rule, nowMs) && view.matched.has(rule))
    .filter((rule) => !isLapsed(rule, lastUses, id, nowMs))
    .flatMap((rule) => rule.targets.map((target) => ({ rule, target })))
    .filter(({ target }) => globOf(target.server)(server) && view.ceiling?.touches(server, target.kind) !== false);
}

/** Forbidden whole, whatever else is so. */
function isTaken({ rules }: PolicySet, view: View, server: string, { kind, name }: TargetPattern, nowMs: number): boolean {
  return rules
    .filter(
      (rule) => rule.effect === "forbid" && rule.condition === null && !rule.shadow && isInForce(rule, nowMs) && view.matched.has(rule),
    )
    .flatMap((rule) => rule.targets)
    .some((away) => away.kind === kind && globOf(away.server)(server) && (away.name === name || globOf(away.name)(name)));
}
