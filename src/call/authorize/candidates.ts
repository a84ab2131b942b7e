/** Which rules and budgets can matter to an agent at a target: found once, kept while they are asked for. */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { RuleRef } from "../../refusal.ts";
import type { Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { type Ceiling, ceilingOf } from "./ceiling.ts";
import { globOf } from "./glob.ts";
import { isLapsed, type LastUses } from "./idle.ts";
import { writtenAs } from "./pattern.ts";
import type { Draw } from "./permit.ts";
import type { Budget, Each, Rule, Rules } from "./policy-set.ts";
import { asciiUri, isPlainUri } from "./resource-uri.ts";
import { type Facets, facetsOf } from "./who.ts";

/** The rules of one load with what has been looked up in them since. A reload makes a new one; nothing needs to be forgotten. */
export type PolicySet = Rules & {
  /** `observe`: judged and recorded, and nothing refused. */
  readonly mode: "enforce" | "observe";
  /** Of the permits that lapse; null: nobody knows, and none does. */
  readonly lastUses: LastUses | null;
  readonly views: LRUCache<string, View>;
  /** The same views by the caller itself, which lives as long as its verified token and never changes. */
  readonly viewOfAgent: WeakMap<Agent, View>;
  readonly candidates: LRUCache<string, Candidates>;
};

/** The rules as one caller meets them. */
export type View = {
  /** Short and unique within the policy set. */
  readonly key: string;
  readonly facets: Facets;
  readonly matched: ReadonlySet<Rule>;
  /** Scopes that some permit for this caller requires. */
  readonly scopes: ReadonlySet<string>;
  /** `agent` as conditions see it. */
  readonly agent: ReadonlyMap<string, unknown>;
  /** What the customer's account allows at most; null: no bound. */
  readonly ceiling: Ceiling | null;
  /** By server: the rules that permit anything there, by name. */
  readonly reach: Map<string, readonly Rule[]>;
};

export type Candidates = {
  readonly permits: readonly Rule[];
  readonly forbids: readonly Rule[];
  readonly draws: readonly Draw[];
  /** What it would be with the shadow rules among them; null: none of them is about this. */
  readonly withShadows: Candidates | null;
};

// A view of 200 rules is about 10 kB, a candidate about 300 bytes: 50 MB at the very most.
const VIEWS_MAX = 4096;
const CANDIDATES_MAX = 16_384;
// Longer keys (many roles, long URIs) are looked up anew: nobody fills the memory with them.
const KEY_LENGTH_MAX = 512;

export function policySetOf(rules: Rules & Partial<Pick<PolicySet, "lastUses">>, mode: PolicySet["mode"] = "enforce"): PolicySet {
  return {
    ...rules,
    mode,
    lastUses: rules.lastUses ?? null,
    views: new LRUCache({ max: VIEWS_MAX }),
    viewOfAgent: new WeakMap(),
    candidates: new LRUCache({ max: CANDIDATES_MAX }),
  };
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
  const matched = policySet.rules.filter((rule) => rule.who(facets));
  const { instance, roles } = agent;
  const view: View = {
    key: createHash("sha256").update(key).digest("base64url"),
    facets,
    matched: new Set(matched),
    scopes: new Set(matched.flatMap((rule) => rule.requires)),
    agent: new Map<string, unknown>(
      Object.entries({ id, name, kind, customer, team, workflow, owner, purpose, riskClass, instance, roles }),
    ),
    ceiling: ceilingOf(account.tools),
    reach: new Map(),
  };
  if (key.length <= KEY_LENGTH_MAX) policySet.views.set(key, view);
  return view;
}

// Model Context Protocol 2025-11-25, tools: names SHOULD be of these. Others are twins in waiting: hidden and refused.
const TOOL_NAME = /^[A-Za-z0-9_./-]{1,128}$/;
const NOTHING: Candidates = Object.freeze({ permits: [], forbids: [], draws: [], withShadows: null });

export function candidatesOf(policySet: PolicySet, view: View, server: string, asked: Target): Candidates {
  if (asked.kind === "resource" && !isPlainUri(asked.name)) return NOTHING;
  const target: Target = asked.kind === "resource" ? { kind: "resource", name: asciiUri(asked.name) } : asked;
  const key = `${view.key}${target.kind}:${server}/${target.name}`;
  const known = policySet.candidates.get(key);
  if (known !== undefined) return known;
  if ((target.kind === "tool" && !TOOL_NAME.test(target.name)) || !policySet.servers.has(server)) return NOTHING;
  const found = [...policySet.index.find(server, target)].filter((rule) => view.matched.has(rule)).toSorted(byName);
  // A name that no rule mentions is not kept: whoever invents names would push out those in use.
  if (found.length === 0) return NOTHING;
  const isCovered = view.ceiling?.covers(server, target) !== false;
  const draws = drawsOf(policySet, view, server, target);
  const among = (rules: readonly Rule[], withShadows: Candidates | null): Candidates => ({
    permits: isCovered ? rules.filter((rule) => rule.effect === "permit") : [],
    forbids: rules.filter((rule) => rule.effect === "forbid"),
    ...{ draws, withShadows },
  });
  const enforced = found.filter((rule) => !rule.shadow);
  const candidates = among(enforced, enforced.length === found.length ? null : among(found, null));
  if (key.length <= KEY_LENGTH_MAX) policySet.candidates.set(key, candidates);
  return candidates;
}

const byName = (a: Rule, b: Rule): number => (a.ref.name < b.ref.name ? -1 : 1);

/** The first permit by name that gives this caller anything at all on the server now, unless an unconditional forbid takes just that away. */
export function reachOf(policySet: PolicySet, view: View, server: string, nowMs: number): RuleRef | null {
  if (!policySet.servers.has(server)) return null;
  const known = view.reach.get(server) ?? givingOn(policySet, view, server);
  view.reach.set(server, known);
  const [id = ""] = view.facets.agent;
  return known.find((rule) => isInForce(rule, nowMs) && !isLapsed(rule, policySet.lastUses, id, nowMs))?.ref ?? null;
}

function givingOn(policySet: PolicySet, view: View, server: string): readonly Rule[] {
  const matched = policySet.rules.filter((rule) => view.matched.has(rule) && !rule.shadow);
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
  return policySet.budgets
    .filter((budget) => (budget.targets === null || named.has(budget)) && budget.who(view.facets))
    .map((budget) => ({ ...budget.draw, scope: scopeOf(budget, view.facets, server, target) }));
}

/** `team=support&server=tickets`: whose counter it is, in the order of `each`. */
export function scopeOf(budget: Budget, facets: Facets, server: string, target: Target): string {
  const value: Record<Each, () => string | null | undefined> = {
    agent: () => facets.agent[0],
    instance: () => facets.instance,
    team: () => facets.team,
    workflow: () => facets.workflow,
    customer: () => facets.customer,
    subject: () => (typeof facets.person === "string" ? pseudonym(facets.person) : null),
    server: () => server,
    tool: () => writtenAs(server, target),
  };
  // Callers without the attribute share one counter, so that leaving it out is no way around the budget.
  return budget.each.map((each) => `${each}=${(value[each]() ?? "").replace(/[%&=]/g, encodeURIComponent)}`).join("&");
}

/** A person's name does not enter the journal: the record holds it under a key of its own. */
function pseudonym(subject: string): string {
  return `sha256:${createHash("sha256").update(subject).digest("hex").slice(0, 16)}`;
}
