/** Usage events by the hour, and what a sink has acknowledged of them: one side of a comparison with what the sink itself says. */
import { type Amount, QUANTITIES } from "./rows.ts";
import type { Store } from "./store.ts";

export const HOUR_MS = 3_600_000;

export type HourSums = {
  readonly events: number;
  readonly calls: number;
  readonly tool_tokens: number;
  readonly bytes: number;
  readonly duration_ms: number;
  /** Every meter that does not come to zero, by its name. */
  readonly meters: Readonly<Record<string, number>>;
};

type Columns = Readonly<Record<(typeof QUANTITIES)[number], number>>;

export function hourSums(events: number, columns: Columns, further: readonly Amount[]): HourSums {
  const { calls, tool_tokens, bytes_in, bytes_out, duration_ms } = columns;
  const amounts = [...QUANTITIES.map((name): Amount => [name, columns[name]]), ...further].filter(([, amount]) => amount !== 0);
  const meters = Object.fromEntries(amounts.sort(([a], [b]) => (a < b ? -1 : 1)));
  return { events, calls, tool_tokens, bytes: bytes_in + bytes_out, duration_ms, meters };
}

/** Of one hour, which begins at `hourMs`. */
export type UsageHour = { readonly hourMs: number; readonly local: HourSums; readonly acknowledged: HourSums };

type Side = "l" | "a";
type Row = { readonly hour: number } & Readonly<Record<`${Side}_${"events" | (typeof QUANTITIES)[number]}`, number>>;
type MeterRow = { readonly hour: number; readonly meter: string } & Readonly<Record<Side, number>>;

export function usageHoursReader(store: Store) {
  const span = `SELECT u.*, u.sequence <= coalesce((SELECT sequence FROM sink_position WHERE sink = @sink AND stream = 'usage'), 0)
      AND NOT EXISTS (SELECT 1 FROM sink_aside AS a WHERE a.sink = @sink AND a.stream = 'usage' AND a.sequence = u.sequence) AS acknowledged
    FROM usage_event AS u WHERE u.at_ms >= @since AND u.at_ms < @until`;
  const sums = QUANTITIES.map(
    (name) => `sum(e.${name}) AS l_${name}, coalesce(sum(e.${name}) FILTER (WHERE acknowledged), 0) AS a_${name}`,
  );
  const hours = store.prepare(
    `SELECT e.at_ms / ${HOUR_MS} AS hour, count(*) AS l_events, count(*) FILTER (WHERE acknowledged) AS a_events, ${sums.join(", ")}
     FROM (${span}) AS e GROUP BY 1 ORDER BY 1`,
  );
  const further = store.prepare(
    `SELECT e.at_ms / ${HOUR_MS} AS hour, m.meter, sum(m.amount) AS l, coalesce(sum(m.amount) FILTER (WHERE acknowledged), 0) AS a
     FROM (${span}) AS e JOIN usage_amount AS m ON m.event = e.sequence GROUP BY 1, 2`,
  );
  const within = store
    .prepare("SELECT sequence FROM usage_event WHERE at_ms >= ? AND at_ms < ? AND sequence > ? ORDER BY sequence LIMIT ?")
    .pluck();
  const pick = (row: Row, meters: readonly MeterRow[], side: Side): HourSums => {
    const columns = Object.fromEntries(QUANTITIES.map((name) => [name, row[`${side}_${name}`]])) as Columns;
    return hourSums(
      row[`${side}_events`],
      columns,
      meters.map((each) => [each.meter, each[side]]),
    );
  };
  return {
    hours(sink: string, since: number, until: number): UsageHour[] {
      const meters = Map.groupBy(further.all({ sink, since, until }) as MeterRow[], ({ hour }) => hour);
      return (hours.all({ sink, since, until }) as Row[]).map((row) => ({
        hourMs: row.hour * HOUR_MS,
        local: pick(row, meters.get(row.hour) ?? [], "l"),
        acknowledged: pick(row, meters.get(row.hour) ?? [], "a"),
      }));
    },
    /** Numbers of the events of a span of time, beyond `after`. */
    within: (since: number, until: number, after: number, limit: number) => within.all(since, until, after, limit) as number[],
  };
}
