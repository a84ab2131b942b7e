/** Pure. The window that holds an instant: of the calendar, half-open, in an IANA zone, without overlap or gap; or a slot of a rolling one. */
import type { Draw, Period } from "../authorize/permit.ts";
import { type Counter, roomOf, usedOf } from "./counter.ts";

/** Milliseconds since the epoch; `endMs` null: the window of `total` never ends. */
export type Window = { readonly startMs: number; readonly endMs: number | null };

export type Calendar = (draw: Pick<Draw, "period" | "timeZone" | "rollingMs" | "untilMs">, nowMs: number) => Window;

/** A calendar that remembers the window it last found for each period and zone: Intl costs 4 us, the memory 20 ns. */
export function createCalendar(): Calendar {
  const latest = new Map<string, Map<Period, Window>>();
  return ({ period, timeZone, rollingMs, untilMs }, nowMs) => {
    if (period === "rolling") return slotAt(rollingMs, nowMs);
    if (period === "total" && untilMs !== undefined) return { startMs: 0, endMs: untilMs };
    let ofZone = latest.get(timeZone);
    const known = ofZone?.get(period);
    if (known !== undefined && known.startMs <= nowMs && (known.endMs === null || nowMs < known.endMs)) return known;
    const found = windowAt(period, timeZone, nowMs);
    if (ofZone === undefined) {
      if (latest.size >= ZONES_MAX) latest.clear();
      ofZone = new Map();
      latest.set(timeZone, ofZone);
    }
    ofZone.set(period, found);
    return found;
  };
}

/** A rolling window is counted in as many slots: the oldest counts whole until all of it has gone by, so that no stretch of it ever holds more. */
export const SLOTS = 60;

/** What is used in a slot counts until the whole slot is older than the window. */
export function slotAt(rollingMs: number, nowMs: number): Window {
  const lengthMs = Math.ceil(rollingMs / SLOTS);
  const startMs = Math.floor(nowMs / lengthMs) * lengthMs;
  return { startMs, endMs: startMs + lengthMs + rollingMs };
}

/** When slots that count have gone by until `amount` fits; null: it never will, or nothing is used. `slots`: the oldest first. */
export function freedAt(slots: readonly Counter[], draw: Draw, amount: number): number | null {
  let used = slots.reduce((sum, slot) => sum + usedOf(slot), 0);
  if (roomOf(draw, { committed: used, held: 0, debt: 0 }) >= amount) return slots.find((slot) => usedOf(slot) > 0)?.windowEndMs ?? null;
  for (const slot of slots) {
    used -= usedOf(slot);
    if (roomOf(draw, { committed: used, held: 0, debt: 0 }) >= amount) return slot.windowEndMs;
  }
  return null;
}

/** Zones remembered: IANA has about 600 names, spelling them in odd case must not make more than a few. */
const ZONES_MAX = 1024;

/** Weeks begin on Monday (ISO 8601). Throws a RangeError for a zone that Intl does not know: policies are checked at load. */
export function windowAt(period: Exclude<Period, "rolling">, timeZone: string, nowMs: number): Window {
  if (period === "total") return TOTAL;
  const zone = zoneOf(timeZone);
  return period === "hour" ? hourAt(zone, nowMs) : daysAt(period, zone, nowMs);
}

export function isTimeZone(name: string): boolean {
  try {
    zoneOf(name);
    return true;
  } catch {
    return false;
  }
}

type DayPeriod = Exclude<Period, "hour" | "total" | "rolling">;

const TOTAL: Window = Object.freeze({ startMs: 0, endMs: null });
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Milliseconds that the zone's clocks are ahead of UTC at an instant. */
type Zone = (instantMs: number) => number;

function zoneOf(timeZone: string): Zone {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  return (instantMs) => {
    const text = format.formatToParts(instantMs).find((part) => part.type === "timeZoneName")?.value ?? "";
    const [, sign, hours, minutes, seconds] = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text) ?? [];
    const ahead = (Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0)) * 1000;
    return sign === "-" ? -ahead : ahead;
  };
}

/** A clock hour that a change of the zone's clocks cuts (Lord Howe moves by 30 minutes) becomes two windows. */
function hourAt(zone: Zone, nowMs: number): Window {
  const offset = zone(nowMs);
  const into = modulo(nowMs + offset, HOUR_MS);
  const startMs = nowMs - into;
  const endMs = startMs + HOUR_MS;
  return {
    startMs: zone(startMs) === offset ? startMs : changeBetween(zone, startMs, nowMs),
    endMs: zone(endMs - 1) === offset ? endMs : changeBetween(zone, nowMs, endMs - 1),
  };
}

function daysAt(period: DayPeriod, zone: Zone, nowMs: number): Window {
  const today = new Date(nowMs + zone(nowMs));
  let first = firstDay(period, today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate());
  let startMs = instantOf(zone, first);
  for (;;) {
    first = nextFirstDay(period, first);
    const endMs = instantOf(zone, first);
    // Clocks that go back over midnight show yesterday's date again; that minute already belongs to the new window.
    if (nowMs < endMs) return { startMs, endMs };
    startMs = endMs;
  }
}

/** Local midnight of the first day of the period, as milliseconds on a clock without zone. */
function firstDay(period: DayPeriod, year: number, month: number, day: number): number {
  if (period === "year") return Date.UTC(year, 0, 1);
  if (period === "month") return Date.UTC(year, month, 1);
  const midnight = Date.UTC(year, month, day);
  if (period === "day") return midnight;
  const sinceMonday = (new Date(midnight).getUTCDay() + 6) % 7;
  return midnight - sinceMonday * DAY_MS;
}

function nextFirstDay(period: DayPeriod, first: number): number {
  const date = new Date(first);
  if (period === "year") return Date.UTC(date.getUTCFullYear() + 1, 0, 1);
  if (period === "month") return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
  return first + (period === "week" ? 7 : 1) * DAY_MS;
}

/** The first instant at which the zone's clocks show `localMs` or later: where midnight does not exist, the end of the gap. */
function instantOf(zone: Zone, localMs: number): number {
  const before = zone(localMs - DAY_MS);
  const after = zone(localMs + DAY_MS);
  if (before === after) return localMs - before;
  const change = changeBetween(zone, localMs - DAY_MS, localMs + DAY_MS);
  if (localMs - before < change) return localMs - before;
  return Math.max(change, localMs - after);
}

/** The instant in (fromMs, toMs] at which the zone's offset becomes that of `toMs`. */
function changeBetween(zone: Zone, fromMs: number, toMs: number): number {
  const after = zone(toMs);
  let low = fromMs;
  let high = toMs;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (zone(middle) === after) high = middle;
    else low = middle;
  }
  return high;
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
