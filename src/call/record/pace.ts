/** How fast each counter was drawn on lately: for a forecast, and never for a decision. */
import type { Store } from "./store.ts";

export type Pace = { readonly budget: string; readonly scope: string; readonly spent: number; readonly sinceMs: number };

/** Of the newest so many charged calls. */
const EVENTS_MAX = 10_000;

/** What was posted since then on counters whose windows have not ended, and since when they were drawn on. */
export function paceReader(store: Store): (sinceMs: number) => Pace[] {
  const first = store
    .prepare(`SELECT min(record) FROM (SELECT record, at_ms FROM usage_event ORDER BY sequence DESC LIMIT ${EVENTS_MAX}) WHERE at_ms >= ?`)
    .pluck();
  const posted = store.prepare(
    `SELECT budget, scope, spent, coalesce((SELECT at_ms FROM usage_event WHERE record = first), @sinceMs) AS sinceMs FROM (
       SELECT b.budget, b.scope, sum(p.posted + p.debt) AS spent, min(p.record) AS first
       FROM balance AS b JOIN posted_line AS p ON p.balance = b.id AND p.record >= @record
       WHERE b.window_end IS NULL OR b.window_end > @sinceMs GROUP BY b.budget, b.scope)`,
  );
  return (sinceMs) => {
    const record = first.get(sinceMs) as number | null;
    return record === null ? [] : (posted.all({ record, sinceMs }) as Pace[]);
  };
}
