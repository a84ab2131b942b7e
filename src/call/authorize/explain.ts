/** Pure. Why a decision is what it is: the rule that decides, every rule that nearly did, and what would have to differ. */
import { type Facts, isRefusal, type Reason, type RuleRef } from "../../refusal.ts";
import type { Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { isInForce, type PolicySet, viewOf } from "./candidates.ts";
import { type Asked, circumstancesOf, type Situation } from "./circumstances.ts";
import type { Circumstances } from "./condition.ts";
import { decide } from "./decide.ts";
import { globOf } from "./glob.ts";
import { guardText } from "./guards.ts";
import { limitText } from "./pace-text.ts";
import { writtenAs } from "./pattern.ts";
import { pinsDiffer } from "./pins.ts";
import type { Rule } from "./policy-set.ts";
import { compileWho, type Facets } from "./who.ts";

export type Considered = RuleRef & {
  readonly effect: "permit" | "forbid";
  /** It gives the decision; it holds as well; or it does not hold. */
  readonly outcome: "decides" | "holds" | "differs";
  /** What would have to differ for it to hold, in words; empty where it does. */
  readonly differs: readonly string[];
  /** Guards that would be asked if it decided: `pii (arguments, result)`. Nobody asks them for an explanation. */
  readonly guards: readonly string[];
};

export type Explanation = {
  readonly decision: "permit" | "refuse";
  /** Null: permitted. */
  readonly reason: Reason | null;
  /** As the caller would hear them: the scopes that are missing. */
  readonly facts: Facts;
  readonly rule: RuleRef | null;
  readonly note: string | null;
  readonly considered: readonly Considered[];
  /** That the call would be held against; what they have left is not looked at. */
  readonly limits: readonly { readonly name: string; readonly scope: string; readonly text: string }[];
  /** Rules about something else. */
  readonly others: number;
};

const NAMES_OTHERS = "it names ";
/** More of them nobody reads. */
const CONSIDERED_MAX = 50;

export function explainDecision(policySet: PolicySet, agent: Agent, asked: Asked, nowMs: number): Explanation {
  const verdict = decide(policySet, agent, asked, nowMs);
  const waits = !isRefusal(verdict) && verdict.approval !== null;
  const { rule } = verdict;
  const { facets } = viewOf(policySet, agent);
  const target = asked.target ?? { kind: "method" as const, name: asked.method ?? "" };
  const circumstances = circumstancesOf(policySet, agent, asked.server, target, nowMs, asked);
  const near = policySet.rules.flatMap((each) => {
    const differs = differencesOf(each, agent, facets, asked.server, target, circumstances, policySet);
    return differs === null ? [] : [considered(each, differs, rule, circumstances)];
  });
  // What is about this call at all comes before what is about another target of the server.
  const rank = ({ outcome, differs }: Considered) =>
    outcome === "decides" ? -1 : differs.length + (differs[0]?.startsWith(NAMES_OTHERS) ? 100 : 0);
  return {
    decision: isRefusal(verdict) || waits ? "refuse" : "permit",
    reason: isRefusal(verdict) ? verdict.refused : waits ? "approval_required" : null,
    facts: isRefusal(verdict) ? verdict.facts : {},
    rule,
    note: isRefusal(verdict) ? verdict.note : null,
    considered: near.toSorted((a, b) => rank(a) - rank(b)).slice(0, CONSIDERED_MAX),
    limits: isRefusal(verdict)
      ? []
      : verdict.limits.map((pace) => ({ name: pace.limit.name, scope: pace.scope, text: limitText(pace.limit) })),
    others: policySet.rules.length - Math.min(near.length, CONSIDERED_MAX),
  };
}

function considered(
  { ref, effect, guards, condition, written }: Rule,
  differs: readonly string[],
  decides: RuleRef | null,
  circumstances: Circumstances,
): Considered {
  const outcome = ref === decides ? "decides" : differs.length === 0 ? "holds" : "differs";
  // A forbid is met by a condition that fails: whoever reads it would look for what it says.
  const fails = outcome !== "differs" && effect === "forbid" && condition?.holds(circumstances) === null;
  const told = fails ? [`its condition cannot be evaluated, and a forbid then counts: ${written.when}`] : differs;
  return { ...ref, effect, outcome, differs: told, guards: guards.map(guardText) };
}

/** Null: it is about somebody else and something else. */
function differencesOf(
  rule: Rule,
  agent: Agent,
  facets: Facets,
  server: string,
  target: Target,
  circumstances: Situation,
  policySet: PolicySet,
): string[] | null {
  const isAbout = policySet.index.find(server, target).has(rule);
  const isFor = rule.who(facets);
  if (!isAbout && !(isFor && rule.targets.some((named) => named.kind === target.kind && globOf(named.server)(server)))) return null;
  return [
    ...(isAbout ? [] : [`${NAMES_OTHERS}${listed(rule.targets.map(({ kind, server: of, name }) => writtenAs(of, { kind, name })))}`]),
    ...(isFor ? [] : whoDiffers(rule, facets)),
    ...timeDiffers(rule, circumstances),
    ...(rule.shadow ? ["it is only tried (shadow: true)"] : []),
    ...(isAbout ? conditionDiffers(rule, circumstances) : []),
    ...(isAbout ? pinsDiffer(rule.pins, circumstances.offered) : []),
    ...lacking(rule, agent),
    ...(rule.effect === "permit" && viewOf(policySet, agent).ceiling?.covers(server, target) === false
      ? [`the account of the customer ${agent.profile.customer} does not cover it`]
      : []),
  ];
}

function whoDiffers({ written }: Rule, facets: Facets): string[] {
  return Object.entries(written.who ?? {}).flatMap(([key, value]) => {
    if (value === undefined || compileWho({ [key]: value })(facets)) return [];
    const has = facets[key as keyof Facets];
    const is =
      has === null || has === undefined || has.length === 0 ? "the caller has none" : `the caller's is ${[has].flat().join(" or ")}`;
    return [`${key} would have to be ${[value].flat().join(" or ")}: ${is}`];
  });
}

function timeDiffers(rule: Rule, { now, lapse }: Situation): string[] {
  if (rule.validity === null) return [];
  if (isInForce(rule, now.getTime())) return [lapse(rule)].filter((words) => words !== null);
  const { fromMs, untilMs } = rule.validity;
  const isEarly = fromMs !== null && now.getTime() < fromMs;
  return [isEarly ? `it counts from ${new Date(fromMs).toISOString()}` : `it ended at ${new Date(untilMs ?? 0).toISOString()}`];
}

function conditionDiffers({ condition, effect, written }: Rule, circumstances: Circumstances): string[] {
  const holds = condition === null ? true : condition.holds(circumstances);
  if (holds === true || (holds === null && effect === "forbid")) return [];
  const fails =
    holds === null
      ? "its condition cannot be evaluated (an argument is missing, or of another kind than it is compared or added with)"
      : "its condition is false";
  return [`${fails}: ${written.when}`];
}

function lacking({ requires, approval }: Rule, agent: Agent): string[] {
  const scopes = requires.filter((scope) => scope !== "mcp" && !agent.scopes.has(scope));
  return [
    ...(scopes.length === 0 ? [] : [`the token would need ${scopes.length === 1 ? "the scope" : "the scopes"} ${scopes.join(" ")}`]),
    ...(approval === null ? [] : [`a person would have to approve it (${approval.by.join(" or ")})`]),
  ];
}

function listed(patterns: readonly string[]): string {
  const shown = patterns.slice(0, 5).join(", ");
  return patterns.length > 5 ? `${shown} and ${patterns.length - 5} more` : shown;
}
