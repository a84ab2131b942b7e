/** Pure. Thresholds that are reached, by whatever: what a crash has left to be posted crosses them while nobody is there to tell. */
import type { Draw } from "../../call/authorize/permit.ts";
import type { Balance, HoldLine } from "../../call/budget/reservation.ts";
import type { BudgetFacts } from "../admin/budget-rows.ts";

export type Reached = { readonly line: Omit<HoldLine, "amount">; readonly percent: number; readonly spent: number };

export function reachedIn(budgets: readonly BudgetFacts[], balances: readonly Balance[], nowMs: number): Reached[] {
  const isCounting = ({ windowEndMs }: Balance) => windowEndMs === null || windowEndMs > nowMs;
  const byBudget = Map.groupBy(balances.filter(isCounting), ({ budget }) => budget);
  return budgets.flatMap(({ draw }) => {
    const mine = draw.notify.length === 0 ? [] : (byBudget.get(draw.budget) ?? []);
    const windows = draw.period === "rolling" ? [...Map.groupBy(mine, ({ scope }) => scope).values()] : mine.map((balance) => [balance]);
    return windows.flatMap((slots) => reachedBy(draw, slots));
  });
}

/** The slots of one rolling window, or the one balance of any other. */
function reachedBy(draw: Omit<Draw, "scope">, slots: readonly Balance[]): Reached[] {
  const last = slots.reduce((latest, slot) => (slot.windowStartMs > latest.windowStartMs ? slot : latest));
  const { scope, windowStartMs, windowEndMs } = last;
  const spent = slots.reduce((sum, { committed, debt }) => sum + committed + debt, 0);
  return draw.notify
    .filter((percent) => draw.limit > 0 && spent * 100 >= draw.limit * percent)
    .map((percent) => ({ line: { draw: { ...draw, scope }, windowStartMs, windowEndMs }, percent, spent }));
}
