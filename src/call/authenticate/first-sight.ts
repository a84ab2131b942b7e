/** An identity that nobody has registered: by the rule of its issuer it becomes an agent at its first token, and no faster than a fleet starts. */
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { AgentProfile } from "./agent.ts";
import { isCleanText } from "./claims.ts";
import type { JsonObject } from "./compact.ts";
import { claimAt } from "./profiles.ts";
import type { RegisterRule } from "./trusted-issuer.ts";

export type SightedAttributes = Readonly<Record<string, string>>;
/** The registry's part: the same agent for the same identity, however often and wherever it is seen. */
export type Register = (issuer: string, name: string, attributes: SightedAttributes) => Promise<AgentProfile | Refusal>;

export type FirstSight = (
  issuer: string,
  rule: RegisterRule,
  name: string,
  claims: JsonObject,
  nowMs: number,
) => Promise<AgentProfile | Refusal>;

/** A cluster that starts brings some dozens of accounts; more in a minute is somebody who invents names. */
const REGISTRATIONS_A_MINUTE = 60;
const MINUTE_MS = 60_000;

const UNKNOWN = refuse("agent_unknown", {}, "no rule registers this name");
const TOO_MANY = refuse("agent_unknown", {}, `more than ${REGISTRATIONS_A_MINUTE} agents of one issuer were new within a minute`);
const UNREADABLE = refuse("agent_unknown", {}, "a claim that the rule reads is absent or no clean string");

export function createFirstSight(register: Register): FirstSight {
  const begun = new Map<string, { sinceMs: number; count: number }>();
  const underWay = new Map<string, Promise<AgentProfile | Refusal>>();
  return async (issuer, rule, name, claims, nowMs) => {
    if (!rule.matches(name)) return UNKNOWN;
    const attributes = attributesOf(rule, claims);
    if (isRefusal(attributes)) return attributes;
    const key = JSON.stringify([issuer, name]);
    const before = underWay.get(key);
    if (before !== undefined) return before;
    const minute = begun.get(issuer);
    const current =
      minute !== undefined && nowMs >= minute.sinceMs && nowMs - minute.sinceMs < MINUTE_MS ? minute : { sinceMs: nowMs, count: 0 };
    if (current.count >= REGISTRATIONS_A_MINUTE) return TOO_MANY;
    current.count += 1;
    begun.set(issuer, current);
    const registering = register(issuer, name, attributes).finally(() => underWay.delete(key));
    underWay.set(key, registering);
    return registering;
  };
}

/** `claims.x.y` is read from the token; anything else is meant as it stands. */
function attributesOf({ attributes }: RegisterRule, claims: JsonObject): SightedAttributes | Refusal {
  const found: Record<string, string> = {};
  for (const [name, written] of Object.entries(attributes)) {
    const value = written.startsWith("claims.") ? claimAt(claims, written.split(".").slice(1)) : written;
    if (!isCleanText(value)) return UNREADABLE;
    found[name] = value;
  }
  return found;
}
