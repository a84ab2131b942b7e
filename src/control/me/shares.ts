/** The budgets that an agent is counted in, and what its own counters have left: nothing of anybody else's. */
import type { Agent, SubBudget } from "../../call/authenticate/agent.ts";
import { type PolicySet, viewOf } from "../../call/authorize/candidates.ts";
import type { Draw } from "../../call/authorize/permit.ts";
import { scopeOf } from "../../call/authorize/scope.ts";
import { subBudgetDraw, subBudgetDraws } from "../../call/authorize/sub-budgets.ts";
import { ceilingOf } from "../../call/budget/counter.ts";
import type { Ledger } from "../../call/budget/reservation.ts";
import { type Place, placesOf } from "./places.ts";
import { type RemainingRow, remainingRow } from "./verdict.ts";

/** `each`: who has a counter of its own; with `server` or `tool` among them there is one row for each that policies name. */
export type Share = RemainingRow & {
  readonly each: readonly string[];
  readonly scope: string;
  readonly period: string;
  readonly hard: boolean;
  /** Where calls are refused: beyond the limit by what overage allows; null: nowhere. */
  readonly ceiling: number | null;
};

/** A part of a budget, and whose token may use it until when. */
export type Lent = SubBudget & { readonly row: { readonly agent_id: string; readonly expires_ms: number } };

const NONE = { calls: 0, tool_tokens: 0 };

export async function sharesOf(policySet: PolicySet, ledger: Pick<Ledger, "weigh">, agent: Agent, nowMs: number): Promise<Share[]> {
  const { facets } = viewOf(policySet, agent);
  const rows: Share[] = [];
  for (const budget of policySet.budgets.filter(({ who }) => who(facets))) {
    const drawAt = ({ server, target }: Place) => ({ ...budget.draw, scope: scopeOf(budget, facets, server, target) });
    const draws = new Map(
      placesOf(policySet, budget, agent, nowMs)
        .map(drawAt)
        .map((draw) => [draw.scope, draw]),
    );
    // What its token may use of others' is shown apart.
    const own = subBudgetDraws(agent, [...draws.values()], policySet.mode).filter((draw) => draw.budget === budget.draw.budget);
    rows.push(...(await rowsOf(ledger, own, budget.each, nowMs)));
  }
  return [...rows, ...(await rowsOf(ledger, subBudgetDraws(agent, [], policySet.mode), [], nowMs))];
}

async function rowsOf(ledger: Pick<Ledger, "weigh">, draws: readonly Draw[], each: readonly string[], nowMs: number): Promise<Share[]> {
  const { left } = await ledger.weigh(draws, NONE, nowMs);
  return left.map((one) => {
    const { scope, period, hard } = one.draw;
    return { ...remainingRow(one), each, scope, period, hard, ceiling: ceilingOf(one.draw) };
  });
}

export type LentRow = RemainingRow & { readonly agent_id: string; readonly expires_at: string };

/** What this agent's tokens have handed on, as long as it counts. */
export async function lentRowsOf(ledger: Pick<Ledger, "weigh">, lent: readonly Lent[], nowMs: number): Promise<LentRow[]> {
  const { left } = await ledger.weigh(lent.map(subBudgetDraw), NONE, nowMs);
  return left.flatMap((one, i) => {
    const row = lent[i]?.row;
    if (row === undefined) return [];
    return [{ ...remainingRow(one), agent_id: row.agent_id, expires_at: new Date(row.expires_ms).toISOString() }];
  });
}
