/** The budgets that an agent is counted in, and what its own counters have left: nothing of anybody else's. */
import type { Agent } from "../../call/authenticate/agent.ts";
import { type PolicySet, viewOf } from "../../call/authorize/candidates.ts";
import { scopeOf } from "../../call/authorize/scope.ts";
import type { Ledger } from "../../call/budget/reservation.ts";
import { type Place, placesOf } from "./places.ts";
import { type RemainingRow, remainingRow } from "./verdict.ts";

/** `each`: who has a counter of its own; with `server` or `tool` among them there is one row for each that policies name. */
export type Share = RemainingRow & {
  readonly each: readonly string[];
  readonly scope: string;
  readonly period: string;
  readonly hard: boolean;
};

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
    const { left } = await ledger.weigh([...draws.values()], NONE, nowMs);
    for (const each of left) {
      const { scope, period, hard } = each.draw;
      rows.push({ ...remainingRow(each), each: budget.each, scope, period, hard });
    }
  }
  return rows;
}
