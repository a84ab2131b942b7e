/** Pure. The arithmetic of one counter: what is left, what a hold needs, what is committed and what becomes debt. */
import type { Draw } from "../authorize/permit.ts";

/** What stands against a limit. */
export type Standing = { committed: number; held: number; debt: number };

/** One window of one share of a budget, or one slot of a rolling one, while the ledger counts in it. */
export type Counter = Standing & {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  windowEndMs: number | null;
};

export type Limits = Pick<Draw, "limit" | "hard" | "overage">;

/** What is never exceeded; null: a soft budget without a bound only counts. Beyond 2^53 - 1 a sum is no longer exact: no ceiling is. */
export function ceilingOf({ limit, hard, overage }: Limits): number | null {
  if (hard) return limit;
  return overage === null ? null : Math.min(limit + overage, Number.MAX_SAFE_INTEGER);
}

export function usedOf({ committed, held, debt }: Readonly<Standing>): number {
  return committed + held + debt;
}

/** Of the limit, never negative: one lowered below what is already spent leaves nothing, not a debt of the caller's. */
export function remaining({ limit }: Pick<Draw, "limit">, standing: Readonly<Standing>): number {
  return Math.max(0, limit - usedOf(standing));
}

/** What may still be held: up to the ceiling. */
export function roomOf(limits: Limits, standing: Readonly<Standing>): number {
  const ceiling = ceilingOf(limits);
  // A counter never wraps.
  return Math.max(0, (ceiling ?? Number.MAX_SAFE_INTEGER) - usedOf(standing));
}

/**
 * `exhausted`: not even one unit is left; `insufficient`: something is left, but less than the hold. `amount` null: the call does not
 * say how much, since others report it; something must be left then. Nothing is drawn by 0: a further round of a counted call.
 */
export function judgeHold(standing: Readonly<Standing>, limits: Limits, amount: number | null): "carried" | "exhausted" | "insufficient" {
  if (amount === 0) return "carried";
  const room = roomOf(limits, standing);
  if (room < 1) return "exhausted";
  return room < (amount ?? 1) ? "insufficient" : "carried";
}

/** Whether a result can be larger than the budget carries, and is then not delivered. A call is one call whatever it brings. */
export function mayWithhold(draw: Limits & Pick<Draw, "meter" | "overrun">): boolean {
  return ceilingOf(draw) !== null && draw.meter !== "calls" && draw.overrun === "withhold";
}

/** What was used above the hold: as far as the ceiling carries it; the rest could not be prevented. */
export function extensionOf(
  limits: Limits,
  standing: Readonly<Standing>,
  excess: number,
): { readonly extended: number; readonly owed: number } {
  const extended = Math.min(excess, roomOf(limits, standing));
  const owed = Math.min(excess - extended, Number.MAX_SAFE_INTEGER - usedOf(standing) - extended);
  return { extended, owed: Math.max(0, owed) };
}

/** The thresholds, in percent of the limit, that this change has crossed. What is only held may still be given back. */
export function crossedBy({ limit, notify }: Pick<Draw, "limit" | "notify">, before: number, after: number): readonly number[] {
  if (notify.length === 0 || after <= before) return NONE;
  return notify.filter((percent) => before * 100 < limit * percent && after * 100 >= limit * percent);
}

const NONE: readonly number[] = Object.freeze([]);
