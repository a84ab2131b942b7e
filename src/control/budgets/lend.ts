/** Sets a part of the budgets of one agent's calls aside for a token: all of them carry it in full, or nothing is taken. */
import type { Agent } from "../../call/authenticate/agent.ts";
import type { PolicySet } from "../../call/authorize/candidates.ts";
import { counterKey, drawsOfEveryCall, subBudgetDraw } from "../../call/authorize/sub-budgets.ts";
import type { Adjustment, Amounts, HoldLine, Ledger, PostedLine, Reservation } from "../../call/budget/reservation.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import { budgetLines } from "../../call/record/budget-line.ts";
import type { RunTask } from "../../call/record/journal-client.ts";
import { movesOf } from "../../call/record/rows.ts";
import { mintId } from "../../ids.ts";
import { isRefusal, type Refusal } from "../../refusal.ts";
import type { BudgetDetail } from "../oauth/budget-details.ts";
import { BUDGET_DETAIL } from "../oauth/budget-details.ts";
import { GrantRefused } from "../oauth/grant-refused.ts";
import type { LendWish } from "../oauth/grants.ts";
import type { SetAside } from "../oauth/issue.ts";
import type { SubBudgetRow } from "../tables.ts";
import { type Carrying, callerOf } from "./carrying.ts";
import { budgetNameOf, type SubBudgets } from "./sub-budgets.ts";

export type LendParts = {
  readonly policySet: () => PolicySet;
  readonly ledger: Pick<Ledger, "hold">;
  readonly run: RunTask;
  readonly subBudgets: SubBudgets;
  readonly carrying: Carrying;
  readonly gateway: string;
  readonly recordOf: (kind: "budget.delegated", by: string, details: AuditRecord["details"]) => AuditRecord;
  readonly onCrossed: (lines: readonly PostedLine[]) => void;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

/** What this process is doing just now, and what it counts although the journal may not have it. */
export type UnderWay = { readonly taking: Set<string>; readonly counted: Set<string> };

/** A part of a part of a part: as deep as a chain of actors. */
const DEPTH_MAX = 4;
/** Each is a counter of the ledger, which keeps 200,000. */
const OPEN_MAX = 50_000;
/** Nobody fills what all share. */
const OPEN_OF_ONE_MAX = 500;

export function createLend(parts: LendParts, underWay: UnderWay): (wish: LendWish) => Promise<SetAside> {
  const { policySet, ledger, run, subBudgets, recordOf, now, fault } = parts;

  async function hold(parent: Agent, amounts: Amounts): Promise<Reservation> {
    const policies = policySet();
    if (policies.mode === "enforce" && parent.subBudgets?.some(({ isOpen }) => !isOpen) === true)
      throw invalid("what the subject token may use has ended, or is counted by another gateway");
    const { id } = parent.profile;
    if (subBudgets.all().filter(({ row }) => row.parent_agent_id === id).length >= OPEN_OF_ONE_MAX)
      throw new GrantRefused(
        "temporarily_unavailable",
        `this agent has ${OPEN_OF_ONE_MAX} parts of budgets set aside: let some tokens end`,
      );
    if (subBudgets.all().length >= OPEN_MAX) throw new GrantRefused("temporarily_unavailable", "more parts of budgets than are kept");
    const draws = drawsOfEveryCall(policies, parent, new Set(Object.keys(amounts)));
    const held = await ledger.hold(mintId("call", now()), draws, amounts, now());
    if (isRefusal(held)) throw refusedBy(held);
    return held;
  }

  /** Each step leaves less to use than there is, whatever fails after it; what it leaves behind is given back by whoever settles parts. */
  async function write(rows: readonly SubBudgetRow[], held: Reservation, wish: LendWish): Promise<void> {
    try {
      await subBudgets.insert(rows);
    } catch (thrown) {
      held[Symbol.dispose]();
      throw thrown;
    }
    for (const { id } of rows) underWay.counted.add(id);
    held.sent();
    const { lines } = held.postUnknown();
    for (const row of rows) {
      const taken = takenBy(row);
      const record = { ...recordOf("budget.delegated", "agent", detailsOf(row, wish)), budget: budgetLines(taken) };
      await run("adjustBalances", movesOf(taken), record);
    }
    for (const { id } of rows) {
      await subBudgets.move(id, "taking", "open");
      underWay.counted.delete(id);
    }
    parts.onCrossed(lines);
  }

  return async (wish) => {
    const amounts = Object.fromEntries(wish.wanted.map(({ meter, limit }) => [meter, limit]));
    const parent = await parts.carrying(callerOf(wish.from));
    const depths = (parent.subBudgets ?? []).map(({ budget, meter }) => {
      const known = subBudgets.all().find((each) => each.budget === budget && meter in amounts);
      return known?.row.depth ?? 0;
    });
    const depth = 1 + Math.max(0, ...depths);
    if (depth > DEPTH_MAX) throw invalid(`a part of a budget is handed on ${DEPTH_MAX} times at most`);
    const held = await hold(parent, amounts);
    const rows = wish.wanted.map(({ meter, limit }): SubBudgetRow => {
      const lines = held.lines.filter(({ draw }) => draw.meter === meter);
      const before = (parent.subBudgets ?? []).filter((each) => each.meter === meter).flatMap(({ takenFrom }) => [...takenFrom]);
      return {
        ...{ id: mintId("sub", now()), jti: wish.jti, agent_id: wish.agentId, parent_agent_id: wish.from.profile.id },
        ...{ gateway: parts.gateway, meter, amount: limit, lines: JSON.stringify(lines), depth, state: "taking" },
        taken_from: JSON.stringify([...new Set([...lines.map(({ draw }) => counterKey(draw)), ...before])]),
        expires_ms: wish.expiresAtMs,
      };
    });
    for (const { id } of rows) underWay.taking.add(id);
    try {
      await write(rows, held, wish);
    } finally {
      for (const { id } of rows) underWay.taking.delete(id);
    }
    return {
      details: rows.map(({ id, meter, amount }): BudgetDetail => ({ type: BUDGET_DETAIL, identifier: id, meter, limit: amount })),
      async giveBack() {
        for (const { id } of rows) await subBudgets.move(id, "open", "closed").catch(fault);
      },
    };
  };
}

/** Its own counter is written with it, empty: the journal tells by that whether it has it. */
function takenBy(row: SubBudgetRow): readonly Adjustment[] {
  const lines = JSON.parse(row.lines) as HoldLine[];
  const own = ownLine(row, null);
  return [...lines.map((line) => ({ line: { ...line, amount: 0 }, posted: row.amount, debt: 0 })), { line: own, posted: 0, debt: 0 }];
}

export function ownLine({ id, meter, amount }: SubBudgetRow, windowEndMs: number | null): HoldLine {
  return { draw: subBudgetDraw({ budget: budgetNameOf(id), meter, limit: amount }), windowStartMs: 0, windowEndMs, amount: 0 };
}

function detailsOf(row: SubBudgetRow, { from }: LendWish): AuditRecord["details"] {
  const { id, meter, amount, agent_id, parent_agent_id, jti, expires_ms } = row;
  return {
    ...{ budget: budgetNameOf(id), meter, limit: amount, agent_id, parent_agent_id, customer: from.profile.customer, token_id: jti },
    ...{ parent_token_id: from.tokenId, expires_at: new Date(expires_ms).toISOString() },
  };
}

function refusedBy({ refused, facts, note }: Refusal): GrantRefused {
  if (refused !== "budget_exhausted" && refused !== "budget_insufficient")
    return new GrantRefused("temporarily_unavailable", "the budgets cannot be asked now");
  return invalid(note ?? `budget ${facts.budget}: ${facts.remaining} left, ${facts.required} needed`);
}

function invalid(description: string): GrantRefused {
  return new GrantRefused("invalid_authorization_details", description);
}
