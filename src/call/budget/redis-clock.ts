/** The present by the clock of Redis, as it was heard last: what this machine's own clock says is of no account once it was heard. */

export type RedisClock = {
  heard(redisMs: number): void;
  /** Null: this process has not heard it yet. */
  readonly heardMs: number | null;
  /** By this machine's clock until it was heard, which then is not put back either. */
  nowMs(): number;
};

/** `sinceMs`: whatever this machine says, it is no earlier. `mono` goes on evenly, whatever is set. */
export function createRedisClock(sinceMs: number, now: () => number, mono: () => number): RedisClock {
  let last: { readonly redisMs: number; readonly monoMs: number } | null = null;
  let aloneMs = sinceMs;
  return {
    heard(redisMs) {
      last = { redisMs, monoMs: mono() };
    },
    get heardMs() {
      return last === null ? null : last.redisMs;
    },
    nowMs() {
      if (last !== null) return Math.floor(last.redisMs + mono() - last.monoMs);
      aloneMs = Math.max(aloneMs, now());
      return aloneMs;
    },
  };
}
