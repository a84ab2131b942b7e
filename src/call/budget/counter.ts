/** Pure. The arithmetic of one counter: what is left, what a hold needs, what is committed and what becomes debt. */
import type { Draw } from "../authorize/permit.ts";
import type { Balance } from "./reservation.ts";

/** One window of one share of a budget, while the ledger counts in it. `limit` is the latest that a draw named. */
export type Counter = {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  windowEndMs: number | null;
  limit: number;
  committed: number;
  held: number;
  debt: number;
};

/** Never negative: a limit lowered below what is already spent leaves nothing, not a debt of the caller's. */
export function remaining(draw: Pick<Draw, "limit">, balance: Pick<Balance, "committed" | "held" | "debt">): number {
  return Math.max(0, draw.limit - balance.committed - balance.held - balance.debt);
}

/** `exhausted`: not even one unit is left; `insufficient`: something is left, but less than the hold. Soft budgets only count. */
export function judgeHold(counter: Counter, draw: Draw, amount: number): "carried" | "exhausted" | "insufficient" {
  // Beyond 2^53 - 1 a sum is no longer exact, so it is not begun: a counter never wraps and never goes negative.
  if (counter.committed + counter.held + counter.debt > Number.MAX_SAFE_INTEGER - amount) return "exhausted";
  // Nothing is drawn by a further round of a call that has been counted.
  if (!draw.hard || amount === 0) return "carried";
  const left = remaining(draw, counter);
  if (left < 1) return "exhausted";
  return left < amount ? "insufficient" : "carried";
}

export type Posting = { readonly posted: number; readonly debt: number; readonly withheld: boolean };

/**
 * Ends a hold of `amount` with what was really used. Keeps committed + held <= limit on a hard budget: what was held is committed
 * (but for a limit lowered meanwhile), what exceeds the hold is committed as far as the limit carries it; the rest is debt, or the
 * result is withheld and only the hold is posted.
 */
export function settleHold(counter: Counter, draw: Draw, amount: number, used: number): Posting {
  counter.held -= amount;
  // Holds of others bind a hard budget; a soft one goes over its limit, so there only what is committed counts.
  const others = draw.hard ? counter.held : 0;
  const withinHold = Math.min(used, amount);
  const excess = used - withinHold;
  const carried = Math.min(withinHold, Math.max(0, counter.limit - counter.committed - others));
  const lost = withinHold - carried;
  counter.committed += carried;
  counter.debt += lost;
  const room = Math.max(0, counter.limit - counter.committed - others - counter.debt);
  if (excess > room && draw.hard && draw.overrun === "withhold") return { posted: carried, debt: lost, withheld: true };
  const extended = Math.min(excess, room);
  counter.committed += extended;
  const owed = Math.min(excess - extended, Number.MAX_SAFE_INTEGER - counter.committed - counter.held - counter.debt);
  counter.debt += owed;
  return { posted: carried + extended, debt: lost + owed, withheld: false };
}
