/** Which rules and budgets can matter to an agent at a target: found once, kept while they are asked for. */
import { LRUCache } from "lru-cache";
import type { RuleRef } from "../../refusal.ts";
import type { Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { type Ceiling, ceilingOf } from "./ceiling.ts";
import { globOf } from "./glob.ts";
import { isLapsed, type LastUses } from "./idle.ts";
import { type CompiledLimit, limitsFor, pacesAt } from "./limits.ts";
import type { Draw, Pace } from "./permit.ts";
import { NOTHING_READ, type OfferedAt } from "./pins.ts";
import { byName, type Rule, type Rules, rulesFor } from "./policy-set.ts";
import { asciiUri, isPlainUri } from "./resource-uri.ts";
import { scopeOf } from "./scope.ts";
import { type Facets, facetsOf } from "./who.ts";

/** The rules of one load with what has been looked up in them since. A reload makes a new one; nothing needs to be forgotten. */
export type PolicySet = Rules & {
  /** `observe`: judged and recorded, and nothing refused. */
  readonly mode: "enforce" | "observe";
  /** What rules with pins are held against. */
  readonly offered: OfferedAt;
  /** Of the permits that lapse; null: nobody knows, and none does. */
  readonly lastUses: LastUses | null;
  readonly views: LRUCache<string, View>;
  /** The same views by the caller itself, which lives as long as its verified token and never changes. */
  readonly viewOfAgent: WeakMap<Agent, View>;
  /** Views that have looked something up since the last time they all forgot it, and how much at most. */
  readonly kept: { readonly views: Set<View>; count: number; readonly max: number };
};

/** The rules as one caller meets them. */
export type View = {
  readonly facets: Facets;
  /** In the order of their names. */
  readonly matched: ReadonlySet<Rule>;
  /** Scopes that some permit for this caller requires. */
  readonly scopes: ReadonlySet<string>;
  /** `agent` as conditions see it. */
  readonly agent: ReadonlyMap<string, unknown>;
  /** What the customer's account allows at most; null: no bound. */
  readonly ceiling: Ceiling | null;
  /** Limits that are about the caller, in the order of the files. */
  readonly limits: readonly CompiledLimit[];
  /** Of requests that need no permit, by server and method: a closed list. */
  readonly freePaces: Map<string, readonly Pace[]>;
  /** By server: the rules that permit anything there, by name. */
  readonly reach: Map<string, readonly Rule[]>;
  /** What was found before, by server, kind and name: text keys of all three took longer to make than the look-ups take. */
  readonly known: Map<string, Readonly<Record<Target["kind"], Map<string, Candidates>>>>;
};

/** The rule that hides a target, null where none permits it. `unmet`: a permit that would hold if the server were what it is pinned to. */
export type Hidden = { readonly hiddenBy: Rule | null; readonly unmet?: Rule };
/** The rules that the arguments decide among, or why there are none. */
export type Open = { readonly permits: readonly Rule[]; readonly forbids: readonly Rule[] } | Hidden;

export type Candidates = {
  readonly permits: readonly Rule[];
  readonly forbids: readonly Rule[];
  readonly draws: readonly Draw[];
  readonly paces: readonly Pace[];
  /** What is left of them at every call, where no time, no pin and no condition but on the arguments has a say; null: it differs. */
  readonly settled: Open | null;
  /** None of them has a condition, a pin or a lapse: nothing has to be looked at. */
  readonly unconditional: boolean;
  /** What it would be with the shadow rules among them; null: none of them is about this. */
  readonly withShadows: Candidates | null;
};

// A view of 200 rules is about 10 kB, a candidate about 400 bytes: 50 MB at the very most.
const VIEWS_MAX = 4096;
const CANDIDATES_MAX = 16_384;
// Longer keys (many roles, long URIs) are looked up anew: nobody fills the memory with them.
const KEY_LENGTH_MAX = 512;

export function policySetOf(
  rules: Rules & Partial<Pick<PolicySet, "lastUses">>,
  mode: PolicySet["mode"] = "enforce",
  offered: OfferedAt = NOTHING_READ,
  { views, candidates } = { views: VIEWS_MAX, candidates: CANDIDATES_MAX },
): PolicySet {
  const kept = { views: new Set<View>(), count: 0, max: candidates };
  const { lastUses = null } = rules;
  return { ...rules, mode, offered, lastUses, views: new LRUCache({ max: views }), viewOfAgent: new WeakMap(), kept };
}

export function viewOf(policySet: PolicySet, agent: Agent): View {
  const before = policySet.viewOfAgent.get(agent);
  if (before !== undefined) return before;
  const view = viewByKey(policySet, agent);
  policySet.viewOfAgent.set(agent, view);
  return view;
}

function viewByKey(policySet: PolicySet, agent: Agent): View {
  const { id, name, kind, customer, team, workflow, owner, purpose, riskClass, account } = agent.profile;
  const key = JSON.stringify([
    id,
    name,
    kind,
    customer,
    team,
    workflow,
    owner,
    purpose,
    riskClass,
    account.tools,
    agent.instance,
    agent.subject,
    agent.person,
    agent.roles,
  ]);
  const known = policySet.views.get(key);
  if (known !== undefined) return known;
  const facets = facetsOf(agent);
  const matched = rulesFor(policySet, facets);
  const { instance, roles } = agent;
  const view: View = {
    facets,
    matched: new Set(matched),
    scopes: new Set(matched.flatMap((rule) => rule.requires)),
    agent: new Map<string, unknown>(
      Object.entries({ id, name, kind, customer, team, workflow, owner, purpose, riskClass, instance, roles }),
    ),
    ceiling: ceilingOf(account.tools),
    limits: limitsFor(policySet.limits, facets),
    freePaces: new Map(),
    reach: new Map(),
    known: new Map(),
  };
  if (key.length <= KEY_LENGTH_MAX) policySet.views.set(key, view);
  return view;
}

// Model Context Protocol 2025-11-25, tools: names SHOULD be of these. Others are twins in waiting: hidden and refused.
const TOOL_NAME = /^[A-Za-z0-9_./-]{1,128}$/;
const NOTHING: Candidates = Object.freeze({
  ...{ permits: [], forbids: [], draws: [], paces: [], withShadows: null },
  ...{ settled: { hiddenBy: null }, unconditional: true },
});

export function candidatesOf(policySet: PolicySet, view: View, server: string, asked: Target): Candidates {
  if (asked.kind === "resource" && !isPlainUri(asked.name)) return NOTHING;
  const target: Target = asked.kind === "resource" ? { kind: "resource", name: asciiUri(asked.name) } : asked;
  const known = view.known.get(server)?.[target.kind].get(target.name);
  if (known !== undefined) return known;
  if ((target.kind === "tool" && !TOOL_NAME.test(target.name)) || !policySet.servers.has(server)) return NOTHING;
  const found = [...policySet.index.find(server, target)].filter((rule) => view.matched.has(rule)).sort(byName);
  // A name that no rule mentions is not kept: whoever invents names would push out those in use.
  if (found.length === 0) return NOTHING;
  const isCovered = view.ceiling?.covers(server, target) !== false;
  const draws = drawsOf(policySet, view, server, target);
  const paces = pacesAt(policySet.limits, view, server, target);
  const among = (rules: readonly Rule[], withShadows: Candidates | null): Candidates => {
    const permits = isCovered ? rules.filter((rule) => rule.effect === "permit") : [];
    const forbids = rules.filter((rule) => rule.effect === "forbid");
    const facts = { settled: settledBy(permits, forbids), unconditional: !rules.some(looksAtCall) };
    return { permits, forbids, draws, paces, withShadows, ...facts };
  };
  const enforced = found.filter((rule) => !rule.shadow);
  const candidates = among(enforced, enforced.length === found.length ? null : among(found, null));
  if (target.name.length <= KEY_LENGTH_MAX) keep(policySet, view, server, target, candidates);
  return candidates;
}

/** All is forgotten at once when it is too much: the next call of each looks it up anew. */
function keep({ kept }: PolicySet, view: View, server: string, { kind, name }: Target, candidates: Candidates): void {
  if (kept.count >= kept.max) {
    for (const each of kept.views) each.known.clear();
    kept.views.clear();
    kept.count = 0;
  }
  const ofServer = view.known.get(server) ?? { tool: new Map(), prompt: new Map(), resource: new Map(), method: new Map() };
  view.known.set(server, ofServer);
  ofServer[kind].set(name, candidates);
  kept.views.add(view);
  kept.count += 1;
}

const looksAtCall = ({ condition, pins, idleMs }: Rule): boolean => condition !== null || pins !== null || idleMs !== null;

function settledBy(permits: readonly Rule[], forbids: readonly Rule[]): Open | null {
  const isSettled = ({ validity, condition, pins, idleMs }: Rule) =>
    validity === null && pins === null && idleMs === null && condition?.readsArguments !== false;
  if (![...permits, ...forbids].every(isSettled)) return null;
  const hiding = forbids.find((rule) => rule.condition === null);
  return hiding !== undefined || permits.length === 0 ? { hiddenBy: hiding ?? null } : { permits, forbids };
}

/** The first permit by name that gives this caller anything at all on the server now, unless an unconditional forbid takes just that away. */
export function reachOf(policySet: PolicySet, view: View, server: string, nowMs: number): RuleRef | null {
  if (!policySet.servers.has(server)) return null;
  const known = view.reach.get(server) ?? givingOn(view, server);
  view.reach.set(server, known);
  const [id = ""] = view.facets.agent;
  return known.find((rule) => isInForce(rule, nowMs) && !isLapsed(rule, policySet.lastUses, id, nowMs))?.ref ?? null;
}

function givingOn(view: View, server: string): readonly Rule[] {
  const matched = [...view.matched].filter((rule) => !rule.shadow);
  const taken = matched
    .filter((rule) => rule.effect === "forbid" && rule.condition === null && rule.validity === null)
    .flatMap((rule) => rule.targets)
    .filter((target) => globOf(target.server)(server));
  const gives = (rule: Rule): boolean =>
    rule.targets.some(
      (target) =>
        globOf(target.server)(server) &&
        view.ceiling?.touches(server, target.kind) !== false &&
        !taken.some((away) => away.kind === target.kind && (away.name === target.name || globOf(away.name)(target.name))),
    );
  return matched.filter((rule) => rule.effect === "permit" && gives(rule));
}

/** Within its `from` and before its `until`. */
export function isInForce({ validity }: Rule, nowMs: number): boolean {
  if (validity === null) return true;
  return nowMs >= (validity.fromMs ?? Number.NEGATIVE_INFINITY) && nowMs < (validity.untilMs ?? Number.POSITIVE_INFINITY);
}

export function drawsOf(policySet: PolicySet, view: View, server: string, target: Target): Draw[] {
  const named = policySet.budgetIndex.find(server, target);
  const [owner] = view.facets.agent;
  const whose = owner === undefined ? {} : { owner };
  return policySet.budgets
    .filter((budget) => (budget.targets === null || named.has(budget)) && budget.who(view.facets))
    .map((budget) => ({ ...budget.draw, ...whose, scope: scopeOf(budget, view.facets, server, target) }));
}

/** Of a method that whoever may use the server may call: its name is one of few. */
export function freePaces(policySet: PolicySet, view: View, server: string, target: Target): readonly Pace[] {
  if (view.limits.length === 0) return [];
  const key = `${server} ${target.name}`;
  const paces = view.freePaces.get(key) ?? pacesAt(policySet.limits, view, server, target);
  view.freePaces.set(key, paces);
  return paces;
}
