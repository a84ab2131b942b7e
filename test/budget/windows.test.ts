import fc from "fast-check";
import { expect, test } from "vitest";
import type { Period as AnyPeriod } from "../../src/call/authorize/permit.ts";
import { createCalendar, freedAt, isTimeZone, slotAt, windowAt } from "../../src/call/budget/windows.ts";
import { drawOf } from "./draws.ts";

type Period = Exclude<AnyPeriod, "rolling">;

/** period, zone, now, start, end: all in UTC. */
const CASES: [Period, string, string, string, string][] = [
  ["hour", "UTC", "2026-03-10T12:34:56.789Z", "2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z"],
  ["hour", "UTC", "2026-03-10T12:00:00.000Z", "2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z"],
  ["hour", "Asia/Kolkata", "2026-03-10T12:34:56Z", "2026-03-10T12:30:00Z", "2026-03-10T13:30:00Z"],
  // Lord Howe puts its clocks back by 30 minutes at 02:00: that half hour is a window of its own.
  ["hour", "Australia/Lord_Howe", "2026-04-04T14:59:59Z", "2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"],
  ["hour", "Australia/Lord_Howe", "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"],
  ["day", "UTC", "2026-03-10T23:59:59.999Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"],
  ["day", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"],
  ["day", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"],
  ["day", "America/New_York", "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"],
  ["day", "America/Los_Angeles", "2026-11-01T07:30:00Z", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"],
  ["day", "Asia/Kathmandu", "2026-03-10T18:20:00Z", "2026-03-10T18:15:00Z", "2026-03-11T18:15:00Z"],
  // Midnight does not exist: Cairo's day begins at 01:00.
  ["day", "Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"],
  // Midnight comes twice: Havana's day begins at the first.
  ["day", "America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"],
  ["day", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"],
  // Clocks went back over midnight at 00:01: the second 23:30 is in the new day already.
  ["day", "America/St_Johns", "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"],
  // Samoa left out 30 December 2011.
  ["day", "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"],
  ["day", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"],
  ["week", "UTC", "2026-03-08T23:59:59Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"],
  ["week", "UTC", "2026-03-09T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"],
  ["week", "UTC", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"],
  ["week", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"],
  ["month", "UTC", "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"],
  ["month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
  ["month", "Europe/Berlin", "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"],
  ["month", "Pacific/Kiritimati", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z"],
  ["year", "UTC", "2026-07-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"],
  ["year", "Asia/Tokyo", "2026-12-31T15:00:00Z", "2026-12-31T15:00:00Z", "2027-12-31T15:00:00Z"],
];

test.each(CASES)("the %s in %s that holds %s begins at %s and ends before %s", (period, timeZone, now, start, end) => {
  const window = windowAt(period, timeZone, Date.parse(now));
  expect([new Date(window.startMs).toISOString(), new Date(window.endMs ?? 0).toISOString()]).toEqual([
    new Date(start).toISOString(),
    new Date(end).toISOString(),
  ]);
});

test("the total never ends", () => {
  expect(windowAt("total", "UTC", Date.parse("2026-03-10T12:00:00Z"))).toEqual({ startMs: 0, endMs: null });
});

test("in every zone and period the instant lies in its window, and windows follow each other without gap or overlap", () => {
  const zones = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Africa/Cairo",
    "America/Havana",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
  ];
  const periods: Period[] = ["hour", "day", "week", "month", "year"];
  const instants = fc.integer({ min: Date.parse("2005-01-01T00:00:00Z"), max: Date.parse("2037-01-01T00:00:00Z") });
  fc.assert(
    fc.property(fc.constantFrom(...zones), fc.constantFrom(...periods), instants, (zone, period, nowMs) => {
      const window = windowAt(period, zone, nowMs);
      const endMs = window.endMs ?? Number.NaN;
      expect(window.startMs).toBeLessThanOrEqual(nowMs);
      expect(endMs).toBeGreaterThan(nowMs);
      expect(windowAt(period, zone, window.startMs)).toEqual(window);
      expect(windowAt(period, zone, endMs - 1)).toEqual(window);
      expect(windowAt(period, zone, endMs).startMs).toBe(endMs);
      expect(windowAt(period, zone, window.startMs - 1).endMs).toBe(window.startMs);
    }),
    { numRuns: 400 },
  );
});

test("a calendar answers as the bare computation does, also when instants come out of order", () => {
  const windowOf = createCalendar();
  const day = Date.parse("2026-03-29T12:00:00Z");
  for (const nowMs of [day, day + 1, day + 86_400_000, day, day - 86_400_000]) {
    expect(windowOf(DAY_IN_BERLIN, nowMs)).toEqual(windowAt("day", "Europe/Berlin", nowMs));
  }
  expect(windowOf(DAY_IN_BERLIN, day)).toBe(windowOf(DAY_IN_BERLIN, day + 1));
});

test("a slot of a rolling window counts until all of it is older than the window, and slots leave no gap", () => {
  fc.assert(
    fc.property(fc.integer({ min: 60_000, max: 366 * 86_400_000 }), fc.integer({ min: 0, max: 4_000_000_000_000 }), (rollingMs, nowMs) => {
      const slot = slotAt(rollingMs, nowMs);
      const lengthMs = (slot.endMs ?? 0) - slot.startMs - rollingMs;
      expect(slot.startMs <= nowMs && nowMs < slot.startMs + lengthMs).toBe(true);
      expect(lengthMs).toBeLessThanOrEqual(Math.ceil(rollingMs / 60));
      expect(slotAt(rollingMs, slot.startMs + lengthMs).startMs).toBe(slot.startMs + lengthMs);
    }),
  );
});

test("a rolling window says when enough of it has gone by", () => {
  const slots = [10, 20, 30].map((committed, i) => ({
    ...{ budget: "b", scope: "", held: 0, debt: 0 },
    committed,
    windowStartMs: i,
    windowEndMs: 100 + i,
  }));
  const limits = { ...drawOf({ period: "rolling", rollingMs: 100, limit: 60 }) };
  const at = (amount: number) => freedAt(slots, limits, amount);
  expect([at(1), at(10), at(11), at(30), at(60), at(61)]).toEqual([100, 100, 101, 101, 102, null]);
});

const DAY_IN_BERLIN = { period: "day", timeZone: "Europe/Berlin", rollingMs: 0 } as const;

test("a zone that does not exist is told apart from one that does", () => {
  expect(["UTC", "Europe/Berlin", "Mars/Olympus", ""].map(isTimeZone)).toEqual([true, true, false, false]);
  expect(() => windowAt("day", "Mars/Olympus", 0)).toThrow(RangeError);
});
