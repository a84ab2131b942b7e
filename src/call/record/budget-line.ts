/** Pure. What a hold, a settlement or a correction did to a budget, as records tell it. */
import type { Adjustment, HoldLine } from "../budget/reservation.ts";
import type { BudgetLine } from "./audit-record.ts";
import { rfc3339 } from "./rfc3339.ts";

export function heldLine(line: HoldLine): BudgetLine {
  return { ...windowMembers(line), held: line.amount, posted: 0, debt: 0 };
}

/** Of a correction, which holds nothing. */
export function budgetLines(lines: readonly Adjustment[]): BudgetLine[] {
  return lines.map(settledLine);
}

export function settledLine({ line, posted, debt }: Adjustment): BudgetLine {
  return { ...windowMembers(line), held: line.amount, posted, debt };
}

/** Instants of budget windows as text: the same few stand in every record. */
const instants = new Map<number, string>();
const INSTANTS_MAX = 256;

export function instant(ms: number): string {
  const known = instants.get(ms);
  if (known !== undefined) return known;
  if (instants.size >= INSTANTS_MAX) instants.clear();
  const text = rfc3339(ms);
  instants.set(ms, text);
  return text;
}

function windowMembers(line: HoldLine) {
  return {
    budget: line.draw.budget,
    scope: line.draw.scope,
    meter: line.draw.meter,
    window_start: instant(line.windowStartMs),
    window_end: line.windowEndMs === null ? null : instant(line.windowEndMs),
  };
}
