/** Pure. What is asked of usage, from the members of a query: dimensions, filters, and a time that may be a period of somebody's calendar. */
import { instantOf } from "../../call/authorize/written.ts";
import { isTimeZone, windowAt } from "../../call/budget/windows.ts";
import { USAGE_DIMENSIONS, USAGE_FILTERS, type UsageDimension, type UsageQuestion } from "../../call/record/queries.ts";

const PERIODS = ["hour", "day", "week", "month", "year"] as const;
const KNOWN = new Set<string>(["by", "since", "until", "period", "zone", ...USAGE_FILTERS]);

/** `period`: the one of the calendar of `zone` (default UTC) that holds `nowMs`; `last-month` is the one before it. */
export function usageQuestion(query: Readonly<Record<string, string>>, nowMs: number): UsageQuestion | { readonly fault: string } {
  const unknown = Object.keys(query).find((name) => !KNOWN.has(name));
  if (unknown !== undefined) return { fault: `${unknown}: there is ${[...KNOWN].join(", ")}` };
  const by = (query.by ?? "agent,server,tool")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  const wrong = by.find((name) => !USAGE_DIMENSIONS.includes(name as UsageDimension));
  if (wrong !== undefined) return { fault: `by: ${wrong}: there is ${USAGE_DIMENSIONS.join(", ")}` };
  const time = timeOf(query, nowMs);
  if ("fault" in time) return time;
  const only = Object.fromEntries(USAGE_FILTERS.flatMap((name) => (query[name] === undefined ? [] : [[name, query[name]]])));
  return { by: by as UsageDimension[], ...time, only };
}

function timeOf(
  { since, until, period, zone = "UTC" }: Readonly<Record<string, string>>,
  nowMs: number,
): Pick<UsageQuestion, "since" | "until"> | { readonly fault: string } {
  if (period === undefined) {
    const [from, to] = [since, until].map((written) => (written === undefined ? null : (instantOf(written) ?? undefined)));
    if (from === undefined || to === undefined) return { fault: "since and until are RFC 3339 times or dates" };
    return { since: from, until: to };
  }
  if (since !== undefined || until !== undefined) return { fault: "period says since and until already" };
  if (!isTimeZone(zone)) return { fault: `zone: ${zone} is not a time zone: an IANA name such as Europe/Berlin` };
  const last = period.startsWith("last-");
  const name = PERIODS.find((each) => each === (last ? period.slice("last-".length) : period));
  if (name === undefined) return { fault: `period: there is ${PERIODS.join(", ")}, and last- before each` };
  const current = windowAt(name, zone, nowMs);
  const { startMs, endMs } = last ? windowAt(name, zone, current.startMs - 1) : current;
  return { since: new Date(startMs).toISOString(), until: endMs === null ? null : new Date(endMs).toISOString() };
}
