/** Pure. A permit with an idle time lapses for an agent that has not used it: when neither its beginning nor the last use lies within that time. */
import type { Rule } from "./policy-set.ts";

/** Milliseconds since the epoch by `useKey`: when an agent last made a call that a permit let through. */
export type LastUses = ReadonlyMap<string, number>;

/** A rule's name holds no space. */
export function useKey(rule: string, agentId: string): string {
  return `${rule} ${agentId}`;
}

type Lapsing = Pick<Rule, "ref" | "validity" | "idleMs">;

/** Where nobody knows of any use (null: policies that are only read, without a gateway) nothing lapses. */
export function isLapsed(rule: Lapsing, lastUses: LastUses | null, agentId: string, nowMs: number): boolean {
  return rule.idleMs !== null && lastUses !== null && nowMs - activeMs(rule, lastUses, agentId) >= rule.idleMs;
}

/** In words; null: it has not lapsed. */
export function lapseOf(rule: Lapsing, lastUses: LastUses | null, agentId: string, nowMs: number): string | null {
  if (!isLapsed(rule, lastUses, agentId, nowMs)) return null;
  const sinceMs = activeMs(rule, lastUses, agentId);
  const since = `${sinceMs === rule.validity?.fromMs ? "it began at " : ""}${new Date(sinceMs).toISOString()}`;
  return `it lapsed: not used since ${since}; write a newer from to renew it`;
}

function activeMs({ ref, validity }: Lapsing, lastUses: LastUses | null, agentId: string): number {
  return Math.max(validity?.fromMs ?? 0, lastUses?.get(useKey(ref.name, agentId)) ?? 0);
}
