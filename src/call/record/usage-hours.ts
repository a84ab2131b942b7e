/** Usage events by the hour, and what a sink has acknowledged of them: one side of a comparison with what the sink itself says. */
import type { Store } from "./store.ts";

export const HOUR_MS = 3_600_000;

export type HourSums = {
  readonly events: number;
  readonly calls: number;
  readonly tool_tokens: number;
  readonly bytes: number;
  readonly duration_ms: number;
};

/** Of one hour, which begins at `hourMs`. */
export type UsageHour = { readonly hourMs: number; readonly local: HourSums; readonly acknowledged: HourSums };

type Row = { readonly hour: number } & Readonly<Record<`l_${keyof HourSums}` | `a_${keyof HourSums}`, number>>;

const AMOUNTS = {
  calls: "e.calls",
  tool_tokens: "e.tool_tokens",
  bytes: "e.bytes_in + e.bytes_out",
  duration_ms: "e.duration_ms",
} as const;

export function usageHoursReader(store: Store) {
  const sums = Object.entries(AMOUNTS).map(
    ([name, amount]) => `sum(${amount}) AS l_${name}, coalesce(sum(${amount}) FILTER (WHERE acknowledged), 0) AS a_${name}`,
  );
  const hours = store.prepare(
    `SELECT e.at_ms / ${HOUR_MS} AS hour, count(*) AS l_events, count(*) FILTER (WHERE acknowledged) AS a_events, ${sums.join(", ")}
     FROM (SELECT u.*, u.sequence <= coalesce((SELECT sequence FROM sink_position WHERE sink = @sink AND stream = 'usage'), 0)
             AND NOT EXISTS (SELECT 1 FROM sink_aside AS a WHERE a.sink = @sink AND a.stream = 'usage' AND a.sequence = u.sequence) AS acknowledged
           FROM usage_event AS u WHERE u.at_ms >= @since AND u.at_ms < @until) AS e
     GROUP BY 1 ORDER BY 1`,
  );
  const within = store
    .prepare("SELECT sequence FROM usage_event WHERE at_ms >= ? AND at_ms < ? AND sequence > ? ORDER BY sequence LIMIT ?")
    .pluck();
  const pick = (row: Row, side: "l" | "a"): HourSums => ({
    events: row[`${side}_events`],
    calls: row[`${side}_calls`],
    tool_tokens: row[`${side}_tool_tokens`],
    bytes: row[`${side}_bytes`],
    duration_ms: row[`${side}_duration_ms`],
  });
  return {
    hours: (sink: string, since: number, until: number): UsageHour[] =>
      (hours.all({ sink, since, until }) as Row[]).map((row) => ({
        hourMs: row.hour * HOUR_MS,
        local: pick(row, "l"),
        acknowledged: pick(row, "a"),
      })),
    /** Numbers of the events of a span of time, beyond `after`. */
    within: (since: number, until: number, after: number, limit: number) => within.all(since, until, after, limit) as number[],
  };
}
