/** Pure. Which windows of a counter a credit gives back: the newest first, of each the debt before what was committed. */
import type { Draw } from "../authorize/permit.ts";
import type { Adjustment, Balance } from "./reservation.ts";

type Window = Pick<Balance, "windowStartMs" | "windowEndMs" | "committed" | "debt">;

/** `windows`: the oldest first. Null: so much is not used. */
export function creditOver(draw: Draw, windows: readonly Window[], amount: number): readonly Adjustment[] | null {
  const planned: Adjustment[] = [];
  let left = amount;
  for (const { windowStartMs, windowEndMs, ...window } of windows.toReversed()) {
    const debt = Math.min(left, window.debt);
    const posted = Math.min(left - debt, window.committed);
    left -= debt + posted;
    if (debt + posted > 0) planned.push({ line: { draw, windowStartMs, windowEndMs, amount: 0 }, posted: -posted, debt: -debt });
  }
  return left === 0 ? planned : null;
}
