/** Pure. What an agent sees: exactly what a call with the right arguments and scopes could reach. */
import type { Target } from "../accept/request.ts";
import type { Agent, AgentProfile } from "../authenticate/agent.ts";
import { candidatesOf, isInForce, type PolicySet, reachOf, viewOf } from "./candidates.ts";
import { circumstancesOf } from "./circumstances.ts";
import { openTo } from "./decide.ts";
import { isLapsed } from "./idle.ts";
import { facetsOfProfile } from "./who.ts";

/** Conditions on arguments and scopes never hide: a refusal that names its demand does more for a caller than silence. */
export function visible(policySet: PolicySet, agent: Agent, server: string, nowMs: number): (target: Target) => boolean {
  if (policySet.mode === "observe") return () => true;
  const view = viewOf(policySet, agent);
  return (target) => {
    const candidates = candidatesOf(policySet, view, server, target);
    return !("hiddenBy" in openTo(candidates, circumstancesOf(policySet, agent, server, target, nowMs, null), []));
  };
}

/** False: for this agent the server does not exist. */
export function reaches(policySet: PolicySet, agent: Agent, server: string, nowMs: number): boolean {
  if (policySet.mode === "observe") return policySet.servers.has(server);
  return reachOf(policySet, viewOf(policySet, agent), server, nowMs) !== null;
}

/** The scopes that may be issued to an agent: `mcp`, and those that a permit for it requires (decisions.md 24). */
export function scopesFor(policySet: PolicySet, profile: AgentProfile, nowMs: number): string[] {
  const facets = facetsOfProfile(profile);
  const required = policySet.rules
    .filter((rule) => !rule.shadow && isInForce(rule, nowMs) && !isLapsed(rule, policySet.lastUses, profile.id, nowMs) && rule.who(facets))
    .flatMap((rule) => rule.requires);
  return ["mcp", ...new Set(required.filter((scope) => scope !== "mcp").toSorted())];
}
