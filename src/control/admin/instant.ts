/** Pure. A moment as people and scripts write it: an RFC 3339 time, or a date, which begins at midnight UTC. */

const WRITTEN = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/;

/** In UTC; null where it is none. Without an offset a time would mean another moment on another machine. */
export function instantOf(written: string): string | null {
  const ms = WRITTEN.test(written) ? Date.parse(written) : Number.NaN;
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}
