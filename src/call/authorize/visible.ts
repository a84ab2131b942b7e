/** Pure. What an agent sees: exactly what a call with the right arguments and scopes could reach. */
import type { Target } from "../accept/request.ts";
import type { Agent, AgentProfile } from "../authenticate/agent.ts";
import { candidatesOf, isInForce, type PolicySet, reachOf, viewOf } from "./candidates.ts";
import { circumstancesOf } from "./circumstances.ts";
import { openTo } from "./decide.ts";
import { isLapsed } from "./idle.ts";
import { rulesFor } from "./policy-set.ts";
import { facetsOfProfile } from "./who.ts";

/** `definition`: hex SHA-256 of what would be shown, where pins are to be held against that; otherwise what the server was last read to offer. */
export type IsPermitted = (target: Target, definition?: string) => boolean;

/** Conditions on arguments and scopes never hide: a refusal that names its demand does more for a caller than silence. */
export function visible(policySet: PolicySet, agent: Agent, server: string, nowMs: number): IsPermitted {
  if (policySet.mode === "observe") return () => true;
  const view = viewOf(policySet, agent);
  return (target, definition) => {
    const candidates = candidatesOf(policySet, view, server, target);
    const circumstances = circumstancesOf(policySet, agent, server, target, nowMs, null);
    const { offered } = circumstances;
    const shown =
      definition === undefined ? circumstances : { ...circumstances, offered: { version: offered?.version ?? null, definition } };
    return !("hiddenBy" in openTo(candidates, shown, [], nowMs));
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
  const required = rulesFor(policySet, facets)
    .filter((rule) => !rule.shadow && isInForce(rule, nowMs) && !isLapsed(rule, policySet.lastUses, profile.id, nowMs))
    .flatMap((rule) => rule.requires);
  return ["mcp", ...new Set(required.filter((scope) => scope !== "mcp").toSorted())];
}
