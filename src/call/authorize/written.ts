/** Pure. Times, durations and amounts as people write them, in YAML and on the command line. */

const HOUR_MS = 3_600_000;

/** `written` has the form that the schemas demand: `30s`. */
export function durationMs(written: string): number {
  const unit = /[a-z]+$/.exec(written)?.[0] ?? "ms";
  return Number.parseInt(written, 10) * ({ ms: 1, s: 1000, m: 60_000, h: HOUR_MS, d: 24 * HOUR_MS }[unit] ?? 1);
}

/** `184 d`, `36 h`, `1 s`: in the largest unit that leaves no rest. */
export function durationText(ms: number): string {
  const units = [
    [24 * HOUR_MS, "d"],
    [HOUR_MS, "h"],
    [60_000, "min"],
    [1000, "s"],
  ] as const;
  const [unitMs, unit] = units.find(([size]) => ms > 0 && ms % size === 0) ?? [1, "ms"];
  return `${ms / unitMs} ${unit}`;
}

/** decisions.md 43: digits, grouped by `_` or not; YAML 1.2 reads 5_000_000 as a string. */
export const AMOUNT = /^[0-9]+(_[0-9]{3})*$/;

/** `written` is a number, or has that form. */
export function amountOf(written: number | string): number {
  return typeof written === "number" ? written : Number(written.replaceAll("_", ""));
}

/** Null: it has not that form, or is beyond 2^53 - 1. */
export function amountIn(text: string): number | null {
  const amount = AMOUNT.test(text) ? amountOf(text) : Number.NaN;
  return Number.isSafeInteger(amount) ? amount : null;
}

const INSTANT = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/;

/** Milliseconds since the epoch of an RFC 3339 time, or of a date, which begins at midnight UTC; null where it is neither. */
export function instantMs(written: string): number | null {
  const found = INSTANT.exec(written);
  const [, date = ""] = found ?? [];
  const [midnightMs, ms] = [Date.parse(date), Date.parse(written)];
  if (found === null || Number.isNaN(midnightMs) || Number.isNaN(ms)) return null;
  // Date.parse rolls 2026-02-30 over into March.
  return new Date(midnightMs).toISOString().startsWith(date) ? ms : null;
}

/** The same moment in UTC. Without an offset a time would mean another moment on another machine, and is none. */
export function instantOf(written: string): string | null {
  const ms = instantMs(written);
  return ms === null ? null : new Date(ms).toISOString();
}
