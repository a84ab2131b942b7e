/** Pure. What `budget list` shows: every counter in use, and every budget nobody has drawn on yet. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { PolicySet } from "../../call/authorize/candidates.ts";
import { facetsOfProfile } from "../../call/authorize/who.ts";
import type { Balance } from "../../call/budget/reservation.ts";

/** What a policy set says of a budget. */
export type BudgetFacts = { readonly name: string; readonly meter: string; readonly limit: number; readonly each: readonly string[] };

export type BudgetRow = {
  readonly name: string;
  readonly scope: string;
  readonly meter: string;
  readonly limit: number;
  readonly committed: number;
  readonly held: number;
  readonly debt: number;
  readonly remaining: number;
  /** RFC 3339, UTC; end null for a budget without one, both null for one nobody has drawn on. */
  readonly window: { readonly start: string | null; readonly end: string | null };
};

export function budgetFacts(policySet: Pick<PolicySet, "budgets">): BudgetFacts[] {
  return policySet.budgets.map(({ draw, each }) => ({ name: draw.budget, meter: draw.meter, limit: draw.limit, each }));
}

/** Counters of windows that are over are history, not budget. */
export function budgetRows(budgets: readonly BudgetFacts[], balances: readonly Balance[], nowMs: number): BudgetRow[] {
  const current = balances.filter((balance) => balance.windowEndMs === null || balance.windowEndMs > nowMs);
  return budgets.flatMap((budget) => {
    const counters = current.filter((balance) => balance.budget === budget.name).toSorted((a, b) => (a.scope < b.scope ? -1 : 1));
    return counters.length === 0 ? [unused(budget)] : counters.map((balance) => row(budget, balance));
  });
}

/** Those that an agent's calls count against: where a counter is of each agent, team, workflow or customer, its own. */
export function budgetRowsOf(
  policySet: Pick<PolicySet, "budgets">,
  profile: AgentProfile,
  balances: readonly Balance[],
  nowMs: number,
): BudgetRow[] {
  const facets = facetsOfProfile(profile);
  const budgets = policySet.budgets.filter((budget) => budget.who(facets));
  const own: Readonly<Record<string, string | null>> = {
    agent: profile.id,
    team: profile.team,
    workflow: profile.workflow,
    customer: profile.customer,
  };
  const isOwn = ({ scope }: Balance) => {
    const parts = scope === "" ? [] : scope.split("&").map((part) => part.split("="));
    const keys = parts.map(([key = ""]) => key);
    // A person or an instance may be another customer's, unless the counter is this agent's or its customer's.
    if (keys.some((key) => key === "subject" || key === "instance") && !keys.some((key) => key === "agent" || key === "customer"))
      return false;
    return parts.every(([key = "", value]) => !(key in own) || value === encodedScope(own[key] ?? ""));
  };
  return budgetRows(budgetFacts({ budgets }), balances.filter(isOwn), nowMs);
}

/** A value as the scope of a counter writes it. */
export function encodedScope(value: string): string {
  return value.replace(/[%&=]/g, encodeURIComponent);
}

function row({ name, meter, limit }: BudgetFacts, { scope, committed, held, debt, windowStartMs, windowEndMs }: Balance): BudgetRow {
  const window = { start: new Date(windowStartMs).toISOString(), end: windowEndMs === null ? null : new Date(windowEndMs).toISOString() };
  return { name, scope, meter, limit, committed, held, debt, remaining: Math.max(0, limit - committed - held - debt), window };
}

function unused({ name, meter, limit, each }: BudgetFacts): BudgetRow {
  const scope = each.length === 0 ? "" : `each ${each.join(", ")}`;
  return { name, scope, meter, limit, committed: 0, held: 0, debt: 0, remaining: limit, window: { start: null, end: null } };
}
