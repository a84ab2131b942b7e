/** Pure. Forbid wins; silence refuses; order never matters. */
import { isRefusal, type Refusal, type RuleRef, refuse } from "../../refusal.ts";
import type { Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import {
  type Candidates,
  candidatesOf,
  drawsOf,
  freePaces,
  type Hidden,
  isInForce,
  type Open,
  type PolicySet,
  reachOf,
  type View,
  viewOf,
} from "./candidates.ts";
import { type Asked, circumstancesOf, type Situation } from "./circumstances.ts";
import type { Circumstances } from "./condition.ts";
import { NO_GUARDS } from "./guards.ts";
import { writtenAs } from "./pattern.ts";
import type { Draw, Pace, Permit, ShadowVerdict } from "./permit.ts";
import { meets } from "./pins.ts";
import type { Rule } from "./policy-set.ts";
import { drawingOnSubBudgets } from "./sub-budgets.ts";
import { subscribed } from "./subscriptions.ts";

export function decide(policySet: PolicySet, agent: Agent, asked: Asked, nowMs: number): Permit | Refusal {
  const view = viewOf(policySet, agent);
  const enforced = decideFor(policySet, view, agent, asked, nowMs);
  const verdict = policySet.mode === "enforce" ? enforced : observing(policySet, view, asked, enforced);
  return asked.course !== "metered" || isRefusal(verdict) ? verdict : drawingOnSubBudgets(agent, verdict, policySet.mode);
}

function decideFor(policySet: PolicySet, view: View, agent: Agent, asked: Asked, nowMs: number): Permit | Refusal {
  const reach = reachOf(policySet, view, asked.server, nowMs);
  if (reach === null) return refuse("server_unknown", {}, `no rule permits ${agent.profile.name} anything on ${asked.server}`);
  const target = targetOf(asked);
  if (target === null) return permitBy(policySet, reach, NO_DRAWS, NO_FAULTS);
  const candidates = candidatesOf(policySet, view, asked.server, target);
  return isFree(target)
    ? passFree(policySet, view, agent, asked, target, candidates, reach, nowMs)
    : decideTarget(policySet, view, agent, asked, target, candidates, nowMs);
}

/** What rules would do that are only tried: with all of them, shadows included. Null: none of them is about this call. */
export function shadowOf(policySet: PolicySet, agent: Agent, asked: Asked, nowMs: number): ShadowVerdict | null {
  const target = targetOf(asked);
  if (target === null) return null;
  const view = viewOf(policySet, agent);
  const { withShadows } = candidatesOf(policySet, view, asked.server, target);
  if (withShadows === null) return null;
  const verdict = isFree(target)
    ? passFree(policySet, view, agent, asked, target, withShadows, null, nowMs)
    : decideTarget(policySet, view, agent, asked, target, withShadows, nowMs);
  return shadowVerdict("shadow", verdict);
}

/** What was judged, and has no effect. */
export function shadowVerdict(mode: ShadowVerdict["mode"], verdict: Permit | Refusal): ShadowVerdict {
  if (isRefusal(verdict)) return { mode, decision: "refuse", reason: verdict.refused, rule: verdict.rule, note: verdict.note };
  if (verdict.approval !== null) return { mode, decision: "refuse", reason: "approval_required", rule: verdict.rule, note: null };
  return { mode, decision: "permit", reason: null, rule: verdict.rule, note: null };
}

/** Nothing that is only observed refuses: what would have been said stands beside, and a hard budget counts on. */
function observing(policySet: PolicySet, view: View, asked: Asked, verdict: Permit | Refusal): Permit | Refusal {
  const { server } = asked;
  if (!policySet.servers.has(server)) return verdict;
  const target = targetOf(asked);
  const draws = target === null || asked.course !== "metered" ? NO_DRAWS : drawsOf(policySet, view, server, target);
  const soft = draws.map((draw) => ({ ...draw, hard: false, overage: null }));
  if (isRefusal(verdict)) return { ...permitBy(policySet, null, soft, NO_FAULTS), enforced: draws, observed: verdict };
  const observed = verdict.approval === null ? null : refuse("approval_required", {}, noteOfRef(verdict.rule), verdict.rule);
  return { ...verdict, draws: soft, enforced: draws, approval: null, observed };
}

/** Requests of the protocol itself, open to whoever may use anything on the server. Any other method needs a `method:` permit. */
const FREE_METHODS = new Set([
  "initialize",
  "server/discover",
  "ping",
  "logging/setLevel",
  "subscriptions/listen",
  "tools/list",
  "prompts/list",
  "resources/list",
  "resources/templates/list",
  "tasks/list",
]);

/** Null: nothing to name, since it is a handshake, a stream, its end, a notification or the answer to a request of the server. */
function targetOf({ course, target, method }: Asked): Target | null {
  if (course !== "metered" && course !== "other" && course !== "list") return null;
  return target ?? { kind: "method", name: method ?? "" };
}

function isFree(target: Target): boolean {
  return target.kind === "method" && FREE_METHODS.has(target.name);
}

/** A free method can be forbidden, and need not be permitted. */
function passFree(
  policySet: PolicySet,
  view: View,
  agent: Agent,
  asked: Asked,
  target: Target,
  { forbids }: Candidates,
  reach: RuleRef | null,
  nowMs: number,
): Permit | Refusal {
  const faults: string[] = [];
  const circumstances = circumstancesOf(policySet, agent, asked.server, target, nowMs, asked);
  const forbid = forbids.find((rule) => isInForce(rule, nowMs) && holds(rule, circumstances, faults) !== false);
  if (forbid !== undefined) return refuse("method_unknown", {}, noteOf(forbid, asked.server, target, faults), forbid.ref);
  const closed = target.name === "subscriptions/listen" ? closedSubscription(policySet, view, agent, asked, nowMs) : null;
  return closed ?? { ...permitBy(policySet, reach, NO_DRAWS, faults), limits: freePaces(policySet, view, asked.server, target) };
}

/** To hear that a resource changes is to learn of it: what may not be read may not be listened to. */
function closedSubscription(policySet: PolicySet, view: View, agent: Agent, asked: Asked, nowMs: number): Refusal | null {
  const uris = subscribed(asked.body, "resourceSubscriptions");
  if (uris === null) return refuse("tool_unknown", {}, "resourceSubscriptions is no list of strings");
  for (const name of uris) {
    const target: Target = { kind: "resource", name };
    const circumstances = circumstancesOf(policySet, agent, asked.server, target, nowMs, null);
    const open = openTo(candidatesOf(policySet, view, asked.server, target), circumstances, [], nowMs);
    if ("hiddenBy" in open) return refuse("tool_unknown", {}, noteOf(open.hiddenBy, asked.server, target, []), refOf(open.hiddenBy));
  }
  return null;
}

function decideTarget(
  policySet: PolicySet,
  view: View,
  agent: Agent,
  asked: Asked,
  target: Target,
  candidates: Candidates,
  nowMs: number,
): Permit | Refusal {
  const { server } = asked;
  const circumstances = candidates.unconditional ? NOT_LOOKED_AT : circumstancesOf(policySet, agent, server, target, nowMs, asked);
  const faults: string[] = [];
  const open = candidates.settled ?? openTo(candidates, circumstances, faults, nowMs);
  if ("hiddenBy" in open) return hide(candidates, open, server, target, faults, nowMs, circumstances);
  const forbid = open.forbids.find((rule) => holds(rule, circumstances, faults) !== false);
  if (forbid !== undefined) return refuse("arguments_denied", {}, noteOf(forbid, server, target, faults), forbid.ref);
  const isMet = (permit: Rule) => holds(permit, circumstances, faults) === true;
  const rule = nearest(open.permits, agent, isMet);
  if (rule === null)
    return refuse("arguments_denied", {}, noteOf(open.permits[0] ?? null, server, target, faults), refOf(open.permits[0] ?? null));
  if (lackedBy(rule, agent) > 0) return stepUp(view, agent, rule, noteOf(rule, server, target, faults));
  const draws = asked.course === "metered" ? candidates.draws : NO_DRAWS;
  const limits = asked.course === "metered" || target.kind === "method" ? candidates.paces : NO_LIMITS;
  return {
    ...permitBy(policySet, rule.ref, draws, faults),
    limits,
    approval: rule.approval,
    guards: rule.guards,
    ...furtherOf(rule, open.permits, agent, isMet),
  };
}

/** In the order of their names: the first that asks for nothing; else for a guard only; else for scopes, the fewest; else for an approval; else for both. */
function nearest(permits: readonly Rule[], agent: Agent, isMet: (rule: Rule) => boolean): Rule | null {
  let best: Rule | null = null;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const rule of permits) {
    const cost = costOf(rule, agent);
    if (cost >= bestCost || !isMet(rule)) continue;
    if (cost === 0) return rule;
    [best, bestCost] = [rule, cost];
  }
  return best;
}

/** What asks for nothing and says how the call is dealt with: of all permits that ask for as little, the first by name that says it. */
function furtherOf(
  rule: Rule,
  permits: readonly Rule[],
  agent: Agent,
  isMet: (rule: Rule) => boolean,
): Pick<Permit, "replayMs" | "reserve"> {
  let { replayMs, reserve } = rule;
  for (const other of permits) {
    const says = (replayMs === null && other.replayMs !== null) || (reserve === null && other.reserve !== null);
    if (!says || other === rule || costOf(other, agent) !== costOf(rule, agent) || !isMet(other)) continue;
    replayMs ??= other.replayMs;
    reserve ??= other.reserve;
  }
  return { replayMs, reserve };
}

function costOf(rule: Rule, agent: Agent): number {
  return lackedBy(rule, agent) + (rule.approval === null ? 0 : APPROVAL_COST) + (rule.guards.length === 0 ? 0 : GUARD_COST);
}

/** More than any rule can lack scopes. */
const APPROVAL_COST = 1_000_000;
/** Less than a scope: nobody has to do anything for a guard's word. */
const GUARD_COST = 0.5;

function lackedBy({ requires }: Rule, agent: Agent): number {
  return requires.filter((scope) => scope !== "mcp" && !agent.scopes.has(scope)).length;
}

/**
 * What is left when everything but the arguments is judged: this alone decides what is listed, and a call goes on from here,
 * so that what is not listed can never be called.
 */
export function openTo(candidates: Candidates, circumstances: Situation, faults: string[], nowMs: number): Open {
  const now = (rule: Rule): boolean => rule.condition === null || !rule.condition.readsArguments;
  const forbids = candidates.forbids.filter((rule) => isInForce(rule, nowMs));
  for (const rule of forbids) if (now(rule) && holds(rule, circumstances, faults) !== false) return { hiddenBy: rule };
  const applying = candidates.permits.filter(
    (rule) => isInForce(rule, nowMs) && circumstances.lapse(rule) === null && (!now(rule) || holds(rule, circumstances, faults) === true),
  );
  const permits = applying.filter(({ pins }) => meets(pins, circumstances.offered));
  if (permits.length === 0) return applying[0] === undefined ? { hiddenBy: null } : { hiddenBy: null, unmet: applying[0] };
  return { permits, forbids: forbids.filter((rule) => !now(rule)) };
}

/** Null where the condition cannot be evaluated: the rule's name is then recorded, once. */
export function holds(rule: Rule, circumstances: Circumstances, faults: string[]): boolean | null {
  if (rule.condition === null) return true;
  const result = rule.condition.holds(circumstances);
  if (result === null && !faults.includes(rule.ref.name)) faults.push(rule.ref.name);
  return result;
}

/** For rules without conditions: making the real one costs more than the decision. */
const NOT_LOOKED_AT = Object.freeze({ lapse: () => null }) as unknown as Situation;
const NO_DRAWS: readonly Draw[] = Object.freeze([]);
const NO_LIMITS: readonly Pace[] = Object.freeze([]);
const NO_FAULTS: readonly string[] = Object.freeze([]);

export function permitBy(
  { policyVersion }: PolicySet,
  rule: RuleRef | null,
  draws: readonly Draw[],
  conditionFaults: readonly string[],
): Permit {
  return {
    rule,
    policyVersion,
    draws,
    limits: NO_LIMITS,
    conditionFaults,
    approval: null,
    guards: NO_GUARDS,
    replayMs: null,
    observed: null,
    enforced: null,
    reserve: null,
  };
}

/** The same words for what does not exist and for what is not permitted, unless a rule for this caller says that it may be named. */
function hide(
  candidates: Candidates,
  { hiddenBy: by, unmet }: Hidden,
  server: string,
  target: Target,
  faults: readonly string[],
  nowMs: number,
  { lapse }: Situation,
): Refusal {
  if (unmet !== undefined) return refuse("tool_changed", {}, `its pins are not met: ${noteOf(unmet, server, target, faults)}`, unmet.ref);
  const note = noteOf(by, server, target, faults);
  if ([...candidates.permits, ...candidates.forbids].some((rule) => rule.named && isInForce(rule, nowMs) && lapse(rule) === null))
    return refuse("entitlement_denied", {}, note, refOf(by));
  return refuse(target.kind === "method" ? "method_unknown" : "tool_unknown", {}, note, refOf(by));
}

/** MCP, step-up authorization: all scopes that the call needs, with those held that would be lost in a new token. */
export function stepUp(view: View, agent: Agent, rule: Rule, note: string): Refusal {
  const held = [...agent.scopes].filter((scope) => view.scopes.has(scope));
  const needed = new Set([...rule.requires, ...held].toSorted());
  needed.delete("mcp");
  return refuse("scope_insufficient", { scope: ["mcp", ...needed].join(" ") }, note, rule.ref);
}

/** For our own record: the rule that refuses, or that there is none. */
export function noteOf(rule: Rule | null, server: string, target: Target, faults: readonly string[]): string {
  const what = writtenAs(server, target);
  const by = rule === null ? `no rule permits ${what}` : `${noteOfRef(rule.ref)} decides ${what}`;
  return faults.length === 0 ? by : `${by}; conditions that could not be evaluated: ${faults.join(", ")}`;
}

export function noteOfRef(ref: RuleRef | null): string {
  return ref === null ? "no rule" : `${ref.name} (${ref.file}:${ref.line})`;
}

function refOf(rule: Rule | null): RuleRef | null {
  return rule === null ? null : rule.ref;
}
