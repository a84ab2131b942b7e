/** Pure. What `budget list` shows: every counter in use, and every budget nobody has drawn on yet. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { PolicySet } from "../../call/authorize/candidates.ts";
import type { Draw } from "../../call/authorize/permit.ts";
import { facetsOfProfile } from "../../call/authorize/who.ts";
import { ceilingOf, usedOf } from "../../call/budget/counter.ts";
import type { Balance } from "../../call/budget/reservation.ts";
import type { Pace } from "../../call/record/pace.ts";

/** What a policy set says of a budget. */
export type BudgetFacts = { readonly each: readonly string[]; readonly draw: Omit<Draw, "scope"> };

export type BudgetRow = {
  readonly name: string;
  readonly scope: string;
  readonly meter: string;
  readonly limit: number;
  /** Never exceeded; null: a soft budget without a bound. */
  readonly ceiling: number | null;
  readonly committed: number;
  readonly held: number;
  readonly debt: number;
  /** Of the limit. */
  readonly remaining: number;
  /** How far committed and debt are beyond the limit. */
  readonly overage: number;
  /** RFC 3339, UTC; end null for a budget without one, both null for one nobody has drawn on. Of a rolling one: from its oldest use that counts. */
  readonly window: { readonly start: string | null; readonly end: string | null };
  /** When nothing is left at the pace of the last 24 hours; null: not before the window ends, or nobody knows. */
  readonly forecast: string | null;
};

/** Counters of windows that are over are history, not budget. */
export function budgetRows(
  budgets: readonly BudgetFacts[],
  balances: readonly Balance[],
  nowMs: number,
  paces: readonly Pace[] = [],
): BudgetRow[] {
  const current = balances.filter((balance) => balance.windowEndMs === null || balance.windowEndMs > nowMs);
  return budgets.flatMap((budget) => {
    const { draw } = budget;
    const mine = current.filter((balance) => balance.budget === draw.budget);
    const counters = draw.period === "rolling" ? rolledUp(mine) : mine;
    const paceOf = ({ scope }: Balance) => paces.find((pace) => pace.budget === draw.budget && pace.scope === scope) ?? null;
    if (counters.length === 0) return [unused(budget)];
    return counters.toSorted((a, b) => (a.scope < b.scope ? -1 : 1)).map((balance) => row(budget, balance, paceOf(balance), nowMs));
  });
}

/** All slots of one share as one. */
function rolledUp(slots: readonly Balance[]): Balance[] {
  return [...Map.groupBy(slots, ({ scope }) => scope).values()].map((share) =>
    share.reduce(({ budget, scope, ...sum }, slot) => ({
      ...{ budget, scope },
      committed: sum.committed + slot.committed,
      held: sum.held + slot.held,
      debt: sum.debt + slot.debt,
      windowStartMs: Math.min(sum.windowStartMs, slot.windowStartMs),
      windowEndMs: Math.min(sum.windowEndMs ?? 0, slot.windowEndMs ?? 0),
    })),
  );
}

/** Those that an agent's calls count against: where a counter is of each agent, team, workflow or customer, its own. */
export function budgetRowsOf(
  policySet: Pick<PolicySet, "budgets">,
  profile: AgentProfile,
  balances: readonly Balance[],
  nowMs: number,
  paces: readonly Pace[],
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
  return budgetRows(budgets, balances.filter(isOwn), nowMs, paces);
}

/** A value as the scope of a counter writes it. */
export function encodedScope(value: string): string {
  return value.replace(/[%&=]/g, encodeURIComponent);
}

function row({ draw }: BudgetFacts, balance: Balance, pace: Pace | null, nowMs: number): BudgetRow {
  const { scope, committed, held, debt, windowStartMs, windowEndMs } = balance;
  const remaining = Math.max(0, draw.limit - usedOf(balance));
  return {
    ...{ name: draw.budget, scope, meter: draw.meter, limit: draw.limit, ceiling: ceilingOf(draw) },
    ...{ committed, held, debt, remaining, overage: Math.max(0, committed + debt - draw.limit) },
    window: { start: new Date(windowStartMs).toISOString(), end: windowEndMs === null ? null : new Date(windowEndMs).toISOString() },
    forecast: pace === null ? null : forecastOf(remaining, pace, draw.period === "rolling" ? draw : { windowEndMs }, nowMs),
  };
}

/** A counter that began a moment ago tells little: it is taken to be as old as this. */
const PACE_MS_MIN = 600_000;
/** What is a hundred years away is not foretold. */
const FORECAST_MS_MAX = 100 * 366 * 86_400_000;

/** Until when it counts: a calendar's window ends, a rolling one only ever holds what its length has seen. */
type Span = { readonly windowEndMs: number | null } | Pick<Draw, "rollingMs" | "limit">;

function forecastOf(remaining: number, { spent, sinceMs }: Pace, span: Span, nowMs: number): string | null {
  if (remaining === 0) return new Date(nowMs).toISOString();
  if (spent <= 0) return null;
  const perMs = spent / Math.max(PACE_MS_MIN, nowMs - sinceMs);
  if ("rollingMs" in span && perMs * span.rollingMs <= span.limit) return null;
  const leftMs = remaining / perMs;
  const endMs = "rollingMs" in span ? null : span.windowEndMs;
  if (leftMs > FORECAST_MS_MAX || (endMs !== null && nowMs + leftMs >= endMs)) return null;
  return new Date(Math.round(nowMs + leftMs)).toISOString();
}

function unused({ draw, each }: BudgetFacts): BudgetRow {
  const scope = each.length === 0 ? "" : `each ${each.join(", ")}`;
  return {
    ...{ name: draw.budget, scope, meter: draw.meter, limit: draw.limit, ceiling: ceilingOf(draw) },
    ...{ committed: 0, held: 0, debt: 0, remaining: draw.limit, overage: 0 },
    ...{ window: { start: null, end: null }, forecast: null },
  };
}
