/** Sums of the usage events by any of their dimensions, on every meter, to the unit. */
import { QUANTITIES } from "./rows.ts";
import type { Store } from "./store.ts";

/** What an event is told apart by; `day` and `hour` are of UTC. */
export const USAGE_DIMENSIONS = [
  "agent",
  "agent_id",
  "instance",
  "team",
  "workflow",
  "customer",
  "server",
  "tool",
  "target_kind",
  "model",
  "outcome",
  "type",
  "environment",
  "region",
  "definition_version",
  "day",
  "hour",
] as const;
export type UsageDimension = (typeof USAGE_DIMENSIONS)[number];

const TIMES = { day: "%Y-%m-%d", hour: "%Y-%m-%dT%H:00:00Z" } as const;
/** Dimensions that a sum can be restricted to; `agent` takes a name or an id. */
export const USAGE_FILTERS = USAGE_DIMENSIONS.filter((name) => !(name in TIMES));

/** Times are RFC 3339, half-open; null is open-ended. */
export type UsageQuestion = {
  readonly by: readonly UsageDimension[];
  readonly since: string | null;
  readonly until: string | null;
  /** Of this customer alone; absent or null: of all. */
  readonly customer?: string | null;
  readonly only?: Readonly<Partial<Record<UsageDimension, string>>>;
};

type Value = string | number | null;
export type UsageAnswer = {
  /**
   * The dimensions asked for, then the meters of the columns, `events`, `provisional` (events whose fate is not known), and every
   * further meter that has an amount in the answer. A sum beyond 2^53 is a text of digits.
   */
  readonly rows: readonly Readonly<Record<string, Value>>[];
  readonly since: string | null;
  readonly until: string | null;
};

export function usageBy(store: Store, question: UsageQuestion): UsageAnswer {
  const { by, since, until } = question;
  // Only names of the closed lists become SQL.
  const names = [...new Set(by)].filter((name) => USAGE_DIMENSIONS.includes(name));
  const shape = shapeOf(names, question);
  const bounds = { since: bound(since, 0), until: bound(until, Number.MAX_SAFE_INTEGER), ...shape.values };
  const all = (sql: string) => store.prepare(sql).safeIntegers().all(bounds) as Readonly<Record<string, string | bigint | null>>[];
  // Of one moment: amounts must not be of events that the columns have not seen.
  const { columns, amounts } = store.transaction(() => ({ columns: all(columnsSql(shape)), amounts: all(amountsSql(shape)) }))();
  const meters = [...new Set(amounts.map(({ meter }) => String(meter)))].toSorted();
  const further = new Map<string, Map<string, Value>>();
  for (const row of amounts) {
    const key = keyOf(row, names);
    further.set(key, (further.get(key) ?? new Map()).set(String(row.meter), plainOf(row.amount)));
  }
  const rows = columns.map((row) => {
    const told = Object.entries(row).map(([name, value]) => [name, plainOf(value)] as const);
    const more = further.get(keyOf(row, names));
    return Object.fromEntries([...told, ...meters.map((meter) => [meter, more?.get(meter) ?? 0] as const)]);
  });
  return { rows, since, until };
}

type Shape = {
  readonly columns: readonly string[];
  readonly bucket: string;
  readonly where: string;
  readonly group: string;
  readonly values: Readonly<Record<string, string | null>>;
};

function shapeOf(names: readonly UsageDimension[], { only = {}, customer = null }: UsageQuestion): Shape {
  const filters = USAGE_FILTERS.filter((name) => only[name] !== undefined);
  const places = names.map((_, i) => i + 1).join(", ");
  const bucket = names.includes("hour") ? TIMES.hour : TIMES.day;
  return {
    // The bucket is of the finer of both; a day is how its text begins.
    columns: names.map((name) => `${columnOf(name)} AS "${name}"`),
    bucket: names.some((name) => name in TIMES) ? `strftime('${bucket}', at_ms / 1000, 'unixepoch')` : "NULL",
    where: ["(@customer IS NULL OR a.data ->> '$.customer' = @customer)", ...filters.map(conditionOf)].join(" AND "),
    group: places === "" ? "" : `GROUP BY ${places}`,
    values: { customer, ...Object.fromEntries(filters.map((name) => [`only_${name}`, only[name] ?? null])) },
  };
}

function columnOf(name: UsageDimension): string {
  if (name === "day") return "substr(e.bucket, 1, 10)";
  if (name === "hour") return "e.bucket";
  return name === "type" ? "coalesce(a.data ->> '$.type', 'io.tollgate.call.settled.v1')" : `a.data ->> '$.${name}'`;
}

function conditionOf(name: UsageDimension): string {
  const value = `@only_${name}`;
  return name === "agent" ? `${value} IN (${columnOf("agent")}, ${columnOf("agent_id")})` : `${columnOf(name)} = ${value}`;
}

const COLUMNS = [...QUANTITIES, "events"] as const;
const SINCE = "at_ms >= @since AND at_ms < @until";
const ATTRIBUTES = "JOIN usage_attributes AS a ON a.id = e.attributes";

/** Events are summed by their shared attributes first, so that JSON is read once a set and not once an event. */
function columnsSql({ columns, bucket, where, group }: Shape): string {
  const sums = COLUMNS.map((name) => `coalesce(sum(e.${name}), 0) AS ${name}`);
  const inner = [...QUANTITIES.map((name) => `sum(${name}) AS ${name}`), "count(*) AS events"].join(", ");
  return `SELECT ${[...columns, ...sums, "coalesce(sum(e.events * (a.data ->> '$.provisional')), 0) AS provisional"].join(", ")}
    FROM (SELECT attributes, ${bucket} AS bucket, ${inner} FROM usage_event WHERE ${SINCE} GROUP BY 1, 2) AS e ${ATTRIBUTES}
    WHERE ${where} ${group} ${group.replace("GROUP", "ORDER")}`;
}

function amountsSql({ columns, bucket, where, group }: Shape): string {
  return `SELECT ${[...columns, "e.meter AS meter", "sum(e.amount) AS amount"].join(", ")}
    FROM (SELECT attributes, ${bucket} AS bucket, meter, sum(amount) AS amount
          FROM usage_event JOIN usage_amount ON event = sequence WHERE ${SINCE} GROUP BY 1, 2, 3) AS e ${ATTRIBUTES}
    WHERE ${where} ${group === "" ? "GROUP BY meter" : `${group}, meter`}`;
}

function keyOf(row: Readonly<Record<string, string | bigint | null>>, names: readonly string[]): string {
  return JSON.stringify(names.map((name) => row[name]?.toString() ?? null));
}

function plainOf(value: string | bigint | null | undefined): Value {
  if (typeof value !== "bigint") return value ?? null;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
}

function bound(time: string | null, open: number): number {
  if (time === null) return open;
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw new RangeError("not a time");
  return ms;
}
