/** Pure. A limit in words, and whether one holds back at least as much as another. */
import type { Limit, Loop, Pace, Rate } from "./permit.ts";
import { durationText } from "./written.ts";

/** `polite for agent=agt_1: 10/s, burst 20, and 1000/h; 8 at once; waits up to 2 s`. */
export function paceText({ limit, scope }: Pace): string {
  return `${limit.name}${scope === "" ? "" : ` for ${scope}`}: ${limitText(limit)}`;
}

export function limitText({ rates, concurrent, waitMs, loop }: Limit): string {
  const rate = rates.map(({ text, burst, count }) => (burst === count ? text : `${text}, burst ${burst}`)).join(", and ");
  return [
    rate,
    concurrent === null ? "" : `${concurrent} at once`,
    waitMs === 0 ? "" : `waits up to ${durationText(waitMs)}`,
    loop === null ? "" : `the same call ${loop.calls} times in ${durationText(loop.withinMs)}, then ${loop.action}`,
  ]
    .filter((part) => part !== "")
    .join("; ");
}

/** True where each of `before` has one among `after` that lets no more pass. How long a call may wait is left out: it lets nothing more pass. */
export function holdBackNoLess(before: readonly Pace[], after: readonly Pace[]): boolean {
  return before.every((was) => after.some((is) => is.scope === was.scope && isNoWider(is.limit, was.limit)));
}

function isNoWider(is: Limit, was: Limit): boolean {
  const rates = was.rates.every((rate) => is.rates.some((other) => isNoFaster(other, rate)));
  const places = was.concurrent === null || (is.concurrent !== null && is.concurrent <= was.concurrent);
  return rates && places && (was.loop === null || (is.loop !== null && isNoLater(is.loop, was.loop)));
}

function isNoFaster(is: Rate, was: Rate): boolean {
  return is.burst <= was.burst && is.count * was.perMs <= was.count * is.perMs;
}

function isNoLater(is: Loop, was: Loop): boolean {
  return is.calls <= was.calls && is.withinMs >= was.withinMs && (is.action === "suspend" || was.action === "refuse");
}
