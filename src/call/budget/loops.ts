/** Which callers make one call over and over: remembered by what was called, refused until they leave off. */
import { LRUCache } from "lru-cache";
import type { Loop } from "../authorize/permit.ts";

/** Callers whose calls are remembered, each once for every limit that looks for loops: 50 MB where each has repeated all it may. */
const CALLERS_MAX = 2_048;
/** Different calls of one caller that are remembered: who goes round in a wider circle is slowed by a rate, not by this. */
const CALLS_MAX = 32;

type Repeated = { times: number[]; brokenUntilMs: number };

export type Loops = {
  /** Whether this call may be made. `begins`: the first refusal of this loop. A refusal makes the pause begin anew. */
  judge(loop: Loop, caller: string, fingerprint: string, nowMs: number): { readonly isLoop: boolean; readonly begins: boolean };
  /** The call goes on. */
  note(loop: Loop, caller: string, fingerprint: string, nowMs: number): void;
};

/** `caller`: of one limit. `nowMs`: monotonic. */
export function createLoops(callersMax: number = CALLERS_MAX): Loops {
  const callers = new LRUCache<string, Map<string, Repeated>>({ max: callersMax });
  return {
    judge({ calls, withinMs }, caller, fingerprint, nowMs) {
      const repeated = callers.get(caller)?.get(fingerprint);
      if (repeated === undefined) return PASSES;
      const isBroken = nowMs < repeated.brokenUntilMs;
      if (!isBroken) {
        if (repeated.brokenUntilMs > 0) repeated.times = [];
        repeated.brokenUntilMs = 0;
        repeated.times = repeated.times.filter((atMs) => atMs > nowMs - withinMs);
        if (repeated.times.length < calls) return PASSES;
      }
      repeated.brokenUntilMs = nowMs + withinMs;
      return { isLoop: true, begins: !isBroken };
    },
    note({ calls }, caller, fingerprint, nowMs) {
      const known = callers.get(caller) ?? new Map<string, Repeated>();
      callers.set(caller, known);
      const repeated = known.get(fingerprint) ?? { times: [], brokenUntilMs: 0 };
      repeated.times.push(nowMs);
      if (repeated.times.length > calls) repeated.times.shift();
      // What was called last stands last.
      known.delete(fingerprint);
      known.set(fingerprint, repeated);
      const [oldest] = known.keys();
      if (known.size > CALLS_MAX && oldest !== undefined) known.delete(oldest);
    },
  };
}

const PASSES = Object.freeze({ isLoop: false, begins: false });
