/** Requests of the older era that are under way: by their ids in a session, and by what the gateway calls them. */
import type { CallId } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";
import type { Reading } from "./readings.ts";

export type UnderWayCall = {
  /** Null: its answer is no stream. */
  reading: Reading | null;
  /** It draws on a budget, or a guard looks at it: its answer comes to nobody before it is settled. */
  isCounted: boolean;
  /** What it came to is in the books. */
  readonly settled: Promise<Settled>;
};

/** Its client may have the answer; or it is told why not (null: nobody knows); or it may ask on. */
export type Settled = "given" | "unheard" | Refusal | null;

export type UnderWay = {
  /** `key`: its id in its session. */
  begin(key: string, callId: CallId): void;
  has(key: string): boolean;
  isCounted(key: string): boolean;
  end(key: string, callId: CallId, settled: Settled): void;
  find(callId: CallId): UnderWayCall | null;
};

export function createUnderWay(): UnderWay {
  const calls = new Map<CallId, UnderWayCall & { readonly settle: (settled: Settled) => void }>();
  // Without a session two clients of a principal may use one id.
  const byKey = new Map<string, Set<CallId>>();
  return {
    begin(key, callId) {
      const { promise, resolve } = Promise.withResolvers<Settled>();
      calls.set(callId, { reading: null, isCounted: false, settled: promise, settle: resolve });
      const same = byKey.get(key);
      if (same === undefined) byKey.set(key, new Set([callId]));
      else same.add(callId);
    },
    has: (key) => byKey.has(key),
    isCounted: (key) => [...(byKey.get(key) ?? [])].some((callId) => calls.get(callId)?.isCounted === true),
    end(key, callId, settled) {
      const same = byKey.get(key);
      if (same?.delete(callId) !== true) return;
      if (same.size === 0) byKey.delete(key);
      calls.get(callId)?.settle(settled);
      calls.delete(callId);
    },
    find: (callId) => calls.get(callId) ?? null,
  };
}
