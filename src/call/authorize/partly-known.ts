/** Pure. A decision of which not everything is known: judged with the unknown either way, and known only where that makes no difference. */
import { isRefusal, type Reason, type Refusal, type RuleRef } from "../../refusal.ts";
import type { Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { isInForce, type PolicySet, policySetOf } from "./candidates.ts";
import type { Asked } from "./circumstances.ts";
import type { Condition } from "./condition.ts";
import { decide } from "./decide.ts";
import { globOf } from "./glob.ts";
import type { Permit } from "./permit.ts";
import type { Rule } from "./policy-set.ts";
import { asciiUri } from "./resource-uri.ts";
import { TargetIndex } from "./target-index.ts";
import { facetsOf } from "./who.ts";
import { WhoIndex } from "./who-index.ts";

/** What a record does not hold of a call: `use` is when the agent had last used a permit that lapses. */
export type Unknown = "arguments" | "claims" | "roles" | "scopes" | "subject" | "use";

/** `ask`: permitted once a person has approved it. */
export type Decided = { readonly decision: "permit" | "ask" | "refuse"; readonly reason: Reason | null; readonly rule: RuleRef | null };

/** Null within it: not the same whatever the unknown is. */
export type PartlyDecided = Decided | { readonly without: readonly Unknown[] };

/**
 * Of the agent its profile and instance count; of the call its server, course, method and target. Roles, scopes and claims are not known;
 * nor are the subject, unless there is none, and the arguments, unless `hasArguments` is false: then `asked` is as it was.
 */
export type PartlyAsked = {
  readonly agent: Agent;
  readonly hasSubject: boolean;
  readonly hasArguments: boolean;
  readonly asked: Asked;
  readonly nowMs: number;
};

/** What another set is known to have decided of the same call: it tells something of the unknown. */
export type Evidence = {
  readonly policySet: PolicySet;
  readonly decision: Decided["decision"];
  readonly reason: string | null;
  /** The rule's name. */
  readonly rule: string | null;
};

/** Ways to fill in the unknown: more are not tried, and the decision is then not known. A call to one tool seldom has a hundred. */
const WAYS_MAX = 4_096;

export function decidePartly(policySet: PolicySet, question: PartlyAsked, evidence: Evidence | null = null): PartlyDecided {
  const sets = evidence === null ? [policySet] : [policySet, evidence.policySet];
  const parts = sets.map((set) => partsOf(set, question));
  const outer = unknownsOf(parts.flatMap(({ rules }) => rules.flatMap((part) => part.structure)));
  const inner = unknownsOf(parts.flatMap(({ rules }) => rules.flatMap((part) => part.circumstance)));
  if (waysOf(outer) * waysOf(inner) > WAYS_MAX) return { without: kindsIn([...outer, ...inner]) };
  const answers: Answer[] = [];
  for (const structure of choices(outer)) {
    const askers = parts.map((part) => askerOf(part, question, structure));
    for (const circumstance of choices(inner)) {
      const [said, before] = askers.map((ask) => ask(circumstance));
      if (said === undefined) continue;
      const fits = evidence === null || before === undefined || isSame(before, evidence);
      answers.push({ said, fits, chosen: new Map([...structure, ...circumstance]) });
    }
  }
  // What fits nothing that was recorded is no evidence: the servers were others then, or the account was.
  const fitting = answers.filter(({ fits }) => fits);
  return agreed(fitting.length > 0 ? fitting : answers, [...outer, ...inner]);
}

type Answer = { readonly said: Decided; readonly fits: boolean; readonly chosen: Choice };

function isSame(said: Decided, { decision, reason, rule }: Evidence): boolean {
  return said.decision === decision && (decision !== "refuse" || said.reason === reason) && (said.rule?.name ?? null) === rule;
}

function agreed(answers: readonly Answer[], unknowns: readonly UnknownFact[]): PartlyDecided {
  const [first] = answers;
  if (first === undefined || answers.some(({ said }) => said.decision !== first.said.decision)) {
    return { without: kindsIn(unknowns).filter((kind) => matters(answers, unknowns, kind)) };
  }
  const { decision, reason, rule } = first.said;
  return {
    decision,
    reason: answers.every(({ said }) => said.reason === reason) ? reason : null,
    rule: answers.every(({ said }) => said.rule === rule) ? rule : null,
  };
}

/** Whether two answers differ that differ in this alone. */
function matters(answers: readonly Answer[], unknowns: readonly UnknownFact[], kind: Unknown): boolean {
  const others = unknowns.filter((each) => !each.kinds.includes(kind));
  const heard = new Map<string, string>();
  return answers.some(({ said, chosen }) => {
    const key = JSON.stringify(others.map(({ key: name }) => chosen.get(name)));
    const before = heard.get(key);
    heard.set(key, said.decision);
    return before !== undefined && before !== said.decision;
  });
}

/** One thing that is not known, by what decides it: two rules with the same condition are one. */
type UnknownFact = { readonly key: string; readonly kinds: readonly Unknown[]; readonly values: readonly (boolean | null)[] };
type Choice = ReadonlyMap<string, boolean | null>;

/** A rule that may matter. `structure` decides whether it is there at all, `circumstance` whether it is met. */
type RulePart = { readonly rule: Rule; readonly structure: readonly UnknownFact[]; readonly circumstance: readonly UnknownFact[] };
type SetPart = { readonly policySet: PolicySet; readonly rules: readonly RulePart[] };

const EITHER = [true, false] as const;

/** Only the rules that touch the server count: what is about another one can neither decide nor open this one. */
function partsOf(policySet: PolicySet, question: PartlyAsked): SetPart {
  const { agent, asked, hasSubject, nowMs } = question;
  const facets = { ...facetsOf(agent), role: undefined, subject: hasSubject ? undefined : null };
  const about = policySet.index.find(asked.server, targetOf(asked));
  const near = policySet.rules.filter(
    (rule) => !rule.shadow && rule.who(facets) && rule.targets.some(({ server }) => globOf(server)(asked.server)),
  );
  const rules = near.map((rule) => ({
    rule,
    structure: [...whoOf(rule, hasSubject), ...useOf(rule, nowMs)],
    circumstance: about.has(rule) ? [...conditionOf(rule, question), ...scopesOf(rule)] : [],
  }));
  return { policySet, rules };
}

function targetOf({ target, method }: Asked): Target {
  if (target?.kind === "resource") return { kind: "resource", name: asciiUri(target.name) };
  return target ?? { kind: "method", name: method ?? "" };
}

function whoOf({ written }: Rule, hasSubject: boolean): UnknownFact[] {
  const { role, subject } = written.who ?? {};
  const kinds: Unknown[] = [
    ...(role === undefined ? [] : ["roles" as const]),
    ...(subject === undefined || !hasSubject ? [] : ["subject" as const]),
  ];
  return kinds.length === 0 ? [] : [{ key: `who ${JSON.stringify([role, subject])}`, kinds, values: EITHER }];
}

/** A permit cannot have lapsed before its idle time has passed once. */
function useOf(rule: Rule, nowMs: number): UnknownFact[] {
  const fromMs = rule.validity?.fromMs ?? 0;
  if (rule.idleMs === null || !isInForce(rule, nowMs) || nowMs - fromMs < rule.idleMs) return [];
  return [{ key: `use ${rule.ref.name} ${fromMs} ${rule.idleMs}`, kinds: ["use"], values: EITHER }];
}

function conditionOf({ condition, written }: Rule, question: PartlyAsked): UnknownFact[] {
  const kinds = condition === null ? [] : unreadable(condition, question);
  return kinds.length === 0 ? [] : [{ key: `when ${written.when}`, kinds, values: [true, false, null] }];
}

function unreadable({ reads }: Condition, { hasSubject, hasArguments }: PartlyAsked): Unknown[] {
  return [
    ...(reads.has("args") && hasArguments ? ["arguments" as const] : []),
    ...(reads.has("claims") ? ["claims" as const] : []),
    ...(reads.has("agent.roles") || reads.has("agent") ? ["roles" as const] : []),
    ...(reads.has("subject") && hasSubject ? ["subject" as const] : []),
  ];
}

function scopesOf({ requires }: Rule): UnknownFact[] {
  return requires.filter((scope) => scope !== "mcp").map((scope) => ({ key: `scope ${scope}`, kinds: ["scopes"], values: EITHER }));
}

function unknownsOf(facts: readonly UnknownFact[]): UnknownFact[] {
  return [...new Map(facts.map((fact) => [fact.key, fact])).values()];
}

function kindsIn(facts: readonly UnknownFact[]): Unknown[] {
  return [...new Set(facts.flatMap(({ kinds }) => kinds))].toSorted();
}

function waysOf(facts: readonly UnknownFact[]): number {
  return facts.reduce((ways, { values }) => ways * values.length, 1);
}

function* choices([fact, ...rest]: readonly UnknownFact[]): Generator<Choice> {
  if (fact === undefined) return yield new Map();
  for (const others of choices(rest)) for (const value of fact.values) yield new Map([[fact.key, value], ...others]);
}

/** Asks the real `decide` of the rules that are there, with conditions that say what was chosen for them. */
function askerOf({ policySet, rules }: SetPart, { agent, asked, nowMs }: PartlyAsked, structure: Choice): (choice: Choice) => Decided {
  let current: Choice = structure;
  const there = rules
    .filter((part) => part.structure.every(({ key }) => structure.get(key) === true))
    .map(({ rule, circumstance }): Rule => {
      const unknown = circumstance.find(({ key }) => key.startsWith("when "));
      const { condition } = rule;
      const chosen =
        condition === null || unknown === undefined ? condition : { ...condition, holds: () => current.get(unknown.key) ?? null };
      return { ...rule, who: () => true, idleMs: null, condition: chosen };
    });
  const index = new TargetIndex<Rule>();
  for (const rule of there) for (const target of rule.targets) index.add(target, rule);
  // Whom a rule is about was chosen above: what it writes of that counts no more.
  const whoIndex = new WhoIndex<Rule>();
  for (const rule of there) whoIndex.add(null, rule);
  const rulesThere = { ...policySet, rules: there, index, whoIndex, budgets: [], lastUses: null };
  const reduced = policySetOf(rulesThere, "enforce", policySet.offered, { views: 1, candidates: 2 });
  return (choice) => {
    current = choice;
    const scopes = [...choice].flatMap(([key, held]) => (held === true && key.startsWith("scope ") ? [key.slice("scope ".length)] : []));
    return decidedBy(decide(reduced, { ...agent, scopes: new Set(["mcp", ...scopes]) }, asked, nowMs));
  };
}

export function decidedBy(verdict: Permit | Refusal): Decided {
  if (isRefusal(verdict)) return { decision: "refuse", reason: verdict.refused, rule: verdict.rule };
  return verdict.approval === null
    ? { decision: "permit", reason: null, rule: verdict.rule }
    : { decision: "ask", reason: "approval_required", rule: verdict.rule };
}
