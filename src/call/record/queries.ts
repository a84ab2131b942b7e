/** Sums of the usage events by any of their dimensions. */
import type { Store } from "./store.ts";

export const USAGE_DIMENSIONS = ["agent", "tool", "server", "team", "workflow", "customer", "outcome", "day"] as const;
export type UsageDimension = (typeof USAGE_DIMENSIONS)[number];

/** Times are RFC 3339, half-open; null is open-ended. */
export type UsageQuestion = {
  readonly by: readonly UsageDimension[];
  readonly since: string | null;
  readonly until: string | null;
  /** Of this customer alone; absent or null: of all. */
  readonly customer?: string | null;
};

export type UsageAnswer = {
  /** The dimensions asked for, then `calls`, `tool_tokens`, `events`, and `provisional`: events whose fate is not known. */
  readonly rows: readonly Readonly<Record<string, string | number | null>>[];
  readonly since: string | null;
  readonly until: string | null;
};

const PARTS = ["calls", "tool_tokens", "events"] as const;

export function usageBy(store: Store, { by, since, until, customer = null }: UsageQuestion): UsageAnswer {
  // Only names of the closed list become SQL.
  const names = USAGE_DIMENSIONS.filter((name) => by.includes(name)).sort((a, b) => by.indexOf(a) - by.indexOf(b));
  const columns = names.map((name) => `${name === "day" ? "day" : `a.data ->> '$.${name}'`} AS "${name}"`);
  const sums = PARTS.map((part) => `coalesce(sum(e.${part}), 0) AS ${part}`);
  const group = names.length === 0 ? "" : `GROUP BY ${places(names)} ORDER BY ${places(names)}`;
  // Events are summed by their shared attributes first, so that JSON is read once a set and not once an event.
  const statement = store.prepare(
    `SELECT ${[...columns, ...sums, "coalesce(sum(e.events * (a.data ->> '$.provisional')), 0) AS provisional"].join(", ")}
     FROM (SELECT attributes, ${names.includes("day") ? "date(at_ms / 1000, 'unixepoch')" : "NULL"} AS day,
                  sum(calls) AS calls, sum(tool_tokens) AS tool_tokens, count(*) AS events
           FROM usage_event WHERE at_ms >= @since AND at_ms < @until GROUP BY 1, 2) AS e
     JOIN usage_attributes AS a ON a.id = e.attributes AND (@customer IS NULL OR a.data ->> '$.customer' = @customer) ${group}`,
  );
  return {
    rows: statement.all({ since: bound(since, 0), until: bound(until, Number.MAX_SAFE_INTEGER), customer }) as UsageAnswer["rows"],
    since,
    until,
  };
}

function places(names: readonly string[]): string {
  return names.map((_, i) => i + 1).join(", ");
}

function bound(time: string | null, open: number): number {
  if (time === null) return open;
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw new RangeError("not a time");
  return ms;
}
