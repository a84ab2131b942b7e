/** Corrects a counter by another entry: nothing is overwritten, and who did it and why stands in the record. */
import type { PolicySet } from "../../call/authorize/candidates.ts";
import type { Draw } from "../../call/authorize/permit.ts";
import type { Adjusting, Adjustment } from "../../call/budget/reservation.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import { budgetLines } from "../../call/record/budget-line.ts";
import type { RunTask } from "../../call/record/journal-client.ts";
import { movesOf } from "../../call/record/rows.ts";
import { isRefusal } from "../../refusal.ts";
import { counterScope, type Known } from "./counter-scope.ts";
import type { InTurn } from "./in-turn.ts";

export type Wanted = {
  readonly budget: string;
  /** Whose counter, as `budget list` shows it; an agent also by its name. */
  readonly scope: string;
  readonly change: "credit" | "debit";
  /** Whole units of the budget's meter. */
  readonly amount: number;
  readonly reason: string;
};

export type Adjusted =
  | { readonly state: "adjusted"; readonly meter: string; readonly lines: readonly Adjustment[] }
  /** `away`, `full`: the ledger, which says why; nothing is changed. */
  | { readonly state: "absent" | "refused" | "away" | "full"; readonly detail: string };

export type Adjust = (wanted: Wanted, by: string) => Promise<Adjusted>;

export type AdjustParts = {
  readonly policySet: () => Pick<PolicySet, "budgets">;
  readonly ledger: Adjusting;
  readonly known: Known;
  readonly run: RunTask;
  readonly now: () => number;
  /** Two credits at once must not give the same use back twice. */
  readonly inTurn: InTurn;
  readonly recordOf: (by: string, details: AuditRecord["details"]) => AuditRecord;
};

export function createAdjust({ policySet, ledger, known, run, now, inTurn, recordOf }: AdjustParts): Adjust {
  async function adjust({ budget: name, scope: written, change, amount, reason }: Wanted, by: string): Promise<Adjusted> {
    const budget = policySet().budgets.find(({ draw }) => draw.budget === name);
    if (budget === undefined) return { state: "absent", detail: `there is no budget ${name}` };
    const whose = counterScope(budget.each, written, known);
    if ("fault" in whose) return { state: "refused", detail: whose.fault };
    const { scope } = whose;
    const draw: Draw = { ...budget.draw, scope };
    const lines = await ledger.plan(draw, change, amount, now());
    if (isRefusal(lines))
      return { state: lines.refused === "store_unavailable" ? "away" : "full", detail: lines.note ?? "the ledger refuses" };
    if (lines === null)
      return {
        state: "refused",
        detail:
          change === "credit"
            ? `${name} has not used ${amount} ${draw.meter}: a credit gives back what was used; to give more, raise the limit`
            : `${name}: with ${amount} more the sum would pass what can be counted exactly (2^53 - 1)`,
      };
    const details = { budget: name, scope, meter: draw.meter, change, amount, reason };
    const record = { ...recordOf(by, details), budget: budgetLines(lines) };
    // What is taken away counts before it is written, what is given back once it is: whatever fails, nobody may use more.
    if (change === "debit") ledger.apply(lines);
    try {
      await run("adjustBalances", movesOf(lines), record);
    } catch (thrown) {
      if (change === "debit") ledger.apply(lines.map(({ line, posted, debt }) => ({ line, posted: -posted, debt: -debt })));
      throw thrown;
    }
    if (change === "credit") ledger.apply(lines);
    return { state: "adjusted", meter: draw.meter, lines };
  }
  return (wanted, by) => inTurn(() => adjust(wanted, by));
}
