/** Pure. Forbid wins; silence refuses; order never matters. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { McpRequest, Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { type CallArguments, readArguments } from "./call-arguments.ts";
import { type Candidates, candidatesOf, type PolicySet, reachOf, type View, viewOf } from "./candidates.ts";
import type { Circumstances } from "./condition.ts";
import { writtenAs } from "./pattern.ts";
import type { Draw, Permit, RuleRef } from "./permit.ts";
import type { Rule } from "./policy-set.ts";
import { subscribed } from "./subscriptions.ts";

/** What a decision looks at. `target` is the reference's for a completion. */
export type Asked = Pick<McpRequest, "server" | "course" | "method" | "target" | "body" | "argumentsSpan">;

export function decide(policySet: PolicySet, agent: Agent, asked: Asked, nowMs: number): Permit | Refusal {
  const view = viewOf(policySet, agent);
  const reach = reachOf(policySet, view, asked.server);
  if (reach === null) return refuse("server_unknown", {}, `no rule permits ${agent.profile.name} anything on ${asked.server}`);
  const target = targetOf(asked);
  if (target === null) return permitBy(policySet, reach, NO_DRAWS, NO_FAULTS);
  const isFree = target.kind === "method" && FREE_METHODS.has(target.name);
  return isFree
    ? passFree(policySet, view, agent, asked, target, reach, nowMs)
    : decideTarget(policySet, view, agent, asked, target, nowMs);
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

/** A free method can be forbidden, and need not be permitted. */
function passFree(
  policySet: PolicySet,
  view: View,
  agent: Agent,
  asked: Asked,
  target: Target,
  reach: RuleRef,
  nowMs: number,
): Permit | Refusal {
  const faults: string[] = [];
  const { forbids } = candidatesOf(policySet, view, asked.server, target);
  const circumstances = circumstancesOf(view, agent, asked.server, target, nowMs, asked);
  const forbid = forbids.find((rule) => holds(rule, circumstances, faults) !== false);
  if (forbid !== undefined) return refuse("method_unknown", {}, noteOf(forbid, asked.server, target, faults));
  const closed = target.name === "subscriptions/listen" ? closedSubscription(policySet, view, agent, asked, nowMs) : null;
  return closed ?? permitBy(policySet, reach, NO_DRAWS, faults);
}

/** To hear that a resource changes is to learn of it: what may not be read may not be listened to. */
function closedSubscription(policySet: PolicySet, view: View, agent: Agent, asked: Asked, nowMs: number): Refusal | null {
  const uris = subscribed(asked.body, "resourceSubscriptions");
  if (uris === null) return refuse("tool_unknown", {}, "resourceSubscriptions is no list of strings");
  for (const name of uris) {
    const target: Target = { kind: "resource", name };
    const circumstances = circumstancesOf(view, agent, asked.server, target, nowMs, null);
    const open = openTo(candidatesOf(policySet, view, asked.server, target), circumstances, []);
    if ("hiddenBy" in open) return refuse("tool_unknown", {}, noteOf(open.hiddenBy, asked.server, target, []));
  }
  return null;
}

function decideTarget(policySet: PolicySet, view: View, agent: Agent, asked: Asked, target: Target, nowMs: number): Permit | Refusal {
  const { server } = asked;
  const candidates = candidatesOf(policySet, view, server, target);
  const circumstances = circumstancesOf(view, agent, server, target, nowMs, asked);
  const faults: string[] = [];
  const open = openTo(candidates, circumstances, faults);
  if ("hiddenBy" in open) return hide(candidates, open.hiddenBy, server, target, faults);
  const forbid = open.forbids.find((rule) => holds(rule, circumstances, faults) !== false);
  if (forbid !== undefined) return refuse("arguments_denied", {}, noteOf(forbid, server, target, faults));
  let nearest: { rule: Rule; lacking: number } | null = null;
  for (const rule of open.permits) {
    if (holds(rule, circumstances, faults) !== true) continue;
    const lacking = rule.requires.filter((scope) => scope !== "mcp" && !agent.scopes.has(scope)).length;
    if (lacking === 0) return permitBy(policySet, rule.ref, asked.course === "metered" ? candidates.draws : NO_DRAWS, faults);
    if (nearest === null || lacking < nearest.lacking) nearest = { rule, lacking };
  }
  if (nearest !== null) return stepUp(view, agent, nearest.rule, noteOf(nearest.rule, server, target, faults));
  return refuse("arguments_denied", {}, noteOf(open.permits[0] ?? null, server, target, faults));
}

type Open = { readonly permits: readonly Rule[]; readonly forbids: readonly Rule[] } | { readonly hiddenBy: Rule | null };

/**
 * What is left when everything but the arguments is judged: this alone decides what is listed, and a call goes on from here,
 * so that what is not listed can never be called.
 */
export function openTo(candidates: Candidates, circumstances: Circumstances, faults: string[]): Open {
  const now = (rule: Rule): boolean => rule.condition === null || !rule.condition.readsArguments;
  for (const rule of candidates.forbids) if (now(rule) && holds(rule, circumstances, faults) !== false) return { hiddenBy: rule };
  const permits = candidates.permits.filter((rule) => !now(rule) || holds(rule, circumstances, faults) === true);
  if (permits.length === 0) return { hiddenBy: null };
  return { permits, forbids: candidates.forbids.filter((rule) => !now(rule)) };
}

/** Null where the condition cannot be evaluated: the rule's name is then recorded, once. */
export function holds(rule: Rule, circumstances: Circumstances, faults: string[]): boolean | null {
  if (rule.condition === null) return true;
  const result = rule.condition.holds(circumstances);
  if (result === null && !faults.includes(rule.ref.name)) faults.push(rule.ref.name);
  return result;
}

export function circumstancesOf(
  view: View,
  agent: Agent,
  server: string,
  target: Target,
  nowMs: number,
  asked: Asked | null,
): Circumstances {
  let args: CallArguments | null | undefined;
  return {
    agent: view.agent,
    subject: agent.subject,
    customer: agent.profile.customer,
    server,
    tool: target.name,
    now: new Date(nowMs),
    args() {
      if (args === undefined) args = asked === null ? null : readOrNull(asked);
      return args;
    },
  };
}

const EMPTY_OBJECT = Buffer.from("{}");

/** What is judged is what the upstream gets: the received bytes. */
function readOrNull({ body, argumentsSpan }: Asked): CallArguments | null {
  try {
    return readArguments(argumentsSpan === null ? EMPTY_OBJECT : body.subarray(argumentsSpan.start, argumentsSpan.end));
  } catch {
    return null;
  }
}

const NO_DRAWS: readonly Draw[] = Object.freeze([]);
const NO_FAULTS: readonly string[] = Object.freeze([]);

export function permitBy({ policyVersion }: PolicySet, rule: RuleRef, draws: readonly Draw[], conditionFaults: readonly string[]): Permit {
  return { rule, policyVersion, draws, conditionFaults };
}

/** The same words for what does not exist and for what is not permitted, unless a rule for this caller says that it may be named. */
function hide(candidates: Candidates, by: Rule | null, server: string, target: Target, faults: readonly string[]): Refusal {
  const note = noteOf(by, server, target, faults);
  if ([...candidates.permits, ...candidates.forbids].some((rule) => rule.named)) return refuse("entitlement_denied", {}, note);
  return refuse(target.kind === "method" ? "method_unknown" : "tool_unknown", {}, note);
}

/** MCP, step-up authorization: all scopes that the call needs, with those held that would be lost in a new token. */
export function stepUp(view: View, agent: Agent, rule: Rule, note: string): Refusal {
  const held = [...agent.scopes].filter((scope) => view.scopes.has(scope));
  const needed = new Set([...rule.requires, ...held].toSorted());
  needed.delete("mcp");
  return refuse("scope_insufficient", { scope: ["mcp", ...needed].join(" ") }, note);
}

/** For our own record: the rule that refuses, or that there is none. */
export function noteOf(rule: Rule | null, server: string, target: Target, faults: readonly string[]): string {
  const what = writtenAs(server, target);
  const by = rule === null ? `no rule permits ${what}` : `${rule.ref.name} (${rule.ref.file}:${rule.ref.line}) decides ${what}`;
  return faults.length === 0 ? by : `${by}; conditions that could not be evaluated: ${faults.join(", ")}`;
}
