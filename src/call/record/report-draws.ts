/** What reports and corrections change on budgets: debt, in windows that have not ended, and never more taken back than was reported there. */
import type { Adjustment, HoldLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { rfc3339 } from "./rfc3339.ts";
import type { Amount } from "./rows.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";

/** Counters that events of one batch draw on, each named once, and by event which of them. */
export type Drawing = { readonly places: readonly HoldLine[]; readonly byEvent: readonly (readonly number[])[] };

export const NO_DRAWING: Drawing = { places: [], byEvent: [] };

/** Beyond 2^53 - 1 a sum is no longer exact. A batch owes at most 2.5 * 10^14, so that none gets there: long before, nothing is left. */
const OWED_MAX = 2 ** 52;

/** Without what a counter cannot count. */
export function countable(store: Store, lines: readonly Adjustment[]): readonly Adjustment[] {
  if (lines.length === 0) return lines;
  const used = store.prepare("SELECT committed + debt FROM balance WHERE budget = ? AND scope = ? AND window_start = ?").pluck();
  return lines.filter(
    ({ line: { draw, windowStartMs }, debt }) => debt < 0 || Number(used.get(draw.budget, draw.scope, windowStartMs) ?? 0) < OWED_MAX,
  );
}

/** One line a counter, in the order of `places`; `events` are positions in the batch, with what each has counted. */
export function owedBy({ places, byEvent }: Drawing, events: Iterable<readonly [position: number, amount: number]>): Adjustment[] {
  const sums = new Map<number, number>();
  for (const [position, amount] of events) for (const place of byEvent[position] ?? []) sums.set(place, (sums.get(place) ?? 0) + amount);
  return places.flatMap((line, place) => {
    const debt = sums.get(place) ?? 0;
    return debt === 0 ? [] : [{ line, posted: 0, debt }];
  });
}

/** `record`: of the event that is corrected. What its counters owe is changed; what they owe to others stays. */
export function owedAnew(store: Store, places: readonly HoldLine[], record: number, deltas: readonly Amount[]): Adjustment[] {
  if (places.length === 0) return [];
  const debtOf = store.prepare("SELECT debt FROM balance WHERE budget = ? AND scope = ? AND window_start = ?").pluck();
  const body = String(store.prepare("SELECT body FROM audit_record WHERE sequence = ?").pluck().get(record));
  const reported = body === PURGED_BODY ? [] : (JSON.parse(body) as AuditRecord).budget;
  return deltas.flatMap(([meter, delta]) =>
    places.flatMap((line): Adjustment[] => {
      const { draw, windowStartMs } = line;
      if (draw.meter !== meter) return [];
      if (delta > 0) return [{ line, posted: 0, debt: delta }];
      const start = rfc3339(windowStartMs);
      const told = reported.find((each) => each.budget === draw.budget && each.scope === draw.scope && each.window_start === start);
      const owed = Number(debtOf.get(draw.budget, draw.scope, windowStartMs) ?? 0);
      const back = Math.min(-delta, told?.debt ?? 0, owed);
      return back <= 0 ? [] : [{ line, posted: 0, debt: -back }];
    }),
  );
}
