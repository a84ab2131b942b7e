/** Pure. What was set aside for one token: its calls draw on that, and not again on the counters that it was taken from. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { Agent, SubBudget } from "../authenticate/agent.ts";
import { type PolicySet, viewOf } from "./candidates.ts";
import type { Draw, Permit } from "./permit.ts";
import { scopeOf } from "./scope.ts";

/** Of a call that may cost something; `permit` as any other token of the agent would have it. */
export function drawingOnSubBudgets(agent: Agent, permit: Permit, mode: PolicySet["mode"]): Permit | Refusal {
  const { subBudgets = NONE } = agent;
  if (subBudgets.length === 0) return permit;
  const closed = subBudgets.find(({ isOpen }) => !isOpen);
  // Where nothing is refused, what is no longer set aside counts as everything else does.
  if (closed === undefined || mode === "observe") return { ...permit, draws: subBudgetDraws(agent, permit.draws, mode) };
  const { budget, meter, limit } = closed;
  return refuse("budget_exhausted", { budget, meter, limit, remaining: 0 }, `${budget} has ended, or is counted by another gateway`);
}

/** `draws` as they would be without. */
export function subBudgetDraws({ subBudgets = NONE }: Agent, draws: readonly Draw[], mode: PolicySet["mode"]): readonly Draw[] {
  const open = subBudgets.filter(({ isOpen }) => isOpen);
  if (open.length === 0) return draws;
  const others = draws.filter((draw) => !open.some(({ meter, takenFrom }) => meter === draw.meter && takenFrom.has(counterKey(draw))));
  const own = open.map(subBudgetDraw);
  return [...others, ...(mode === "observe" ? own.map((draw) => ({ ...draw, hard: false })) : own)];
}

export function subBudgetDraw({ budget, meter, limit }: Pick<SubBudget, "budget" | "meter" | "limit">): Draw {
  return {
    ...{ budget, scope: "", meter, limit, period: "total", rollingMs: 0, timeZone: "UTC" },
    ...{ hard: true, overage: null, overrun: "withhold", notify: [], lease: 0 },
  };
}

/**
 * The counters of a meter that every call of this caller draws on, whichever server and tool it is of: a budget with `tools`, or with a
 * counter for each server or tool, is not among them, and counts the calls of whoever has a share of the others as it always does.
 */
export function drawsOfEveryCall(policySet: PolicySet, agent: Agent, meters: ReadonlySet<string>): readonly Draw[] {
  const { facets } = viewOf(policySet, agent);
  const draws = policySet.budgets
    .filter(({ draw, targets, each, who }) => meters.has(draw.meter) && targets === null && !each.some(isOfPlace) && who(facets))
    .map((budget) => ({ ...budget.draw, scope: scopeOf(budget, facets, "", NO_TARGET) }));
  const soft = policySet.mode === "observe" ? draws.map((draw) => ({ ...draw, hard: false, overage: null })) : draws;
  return subBudgetDraws(agent, soft, policySet.mode).filter(({ meter }) => meters.has(meter));
}

/** No name of a budget holds a NUL. */
export function counterKey({ budget, scope }: Pick<Draw, "budget" | "scope">): string {
  return `${budget}\0${scope}`;
}

const NONE: readonly SubBudget[] = Object.freeze([]);
const NO_TARGET = { kind: "tool", name: "" } as const;

function isOfPlace(each: string): boolean {
  return each === "server" || each === "tool";
}
