/** One timer for all open streams: each hears of it once in a period, not all of them at the same time. */

export type Heartbeat = {
  /** `beat` is first called after a whole period; returns what takes it out. */
  add(beat: () => void): () => void;
};

/** 5,000 comments in one turn would hold every call up, by estimate for some 50 ms. */
const SHARES = 30;

export function createHeartbeat(periodMs: number): Heartbeat {
  const shares = Array.from({ length: SHARES }, () => new Set<() => void>());
  let turn = 0;
  let timer: NodeJS.Timeout | null = null;
  let count = 0;
  const tick = () => {
    turn = (turn + 1) % SHARES;
    for (const beat of shares[turn] ?? []) beat();
  };
  return {
    add(beat) {
      const share = shares[turn];
      share?.add(beat);
      count += 1;
      timer ??= setInterval(tick, periodMs / SHARES).unref();
      return () => {
        if (share?.delete(beat) !== true) return;
        count -= 1;
        if (count > 0 || timer === null) return;
        clearInterval(timer);
        timer = null;
      };
    },
  };
}
