/** Requests of the older era that are under way: by their ids in a session, and by what the ids of their events say. */
import type { CallId } from "../../ids.ts";
import type { Reading } from "./readings.ts";
import { tagOf } from "./stream-tag.ts";

export type UnderWayCall = {
  /** Null: its answer is no stream. */
  reading: Reading | null;
  /** What it came to is in the books. True: its client may have the answer. */
  readonly settled: Promise<boolean>;
};

export type UnderWay = {
  /** `key`: its id in its session. */
  begin(key: string, callId: CallId): void;
  has(key: string): boolean;
  end(key: string, callId: CallId, isGiven: boolean): void;
  /** By the tag of an event of its stream. */
  tagged(tag: string): UnderWayCall | null;
};

export function createUnderWay(): UnderWay {
  const byTag = new Map<string, UnderWayCall & { readonly settle: (isGiven: boolean) => void }>();
  // Without a session two clients of a principal may use one id.
  const byKey = new Map<string, Set<CallId>>();
  return {
    begin(key, callId) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      byTag.set(tagOf(callId), { reading: null, settled: promise, settle: resolve });
      const calls = byKey.get(key);
      if (calls === undefined) byKey.set(key, new Set([callId]));
      else calls.add(callId);
    },
    has: (key) => byKey.has(key),
    end(key, callId, isGiven) {
      const calls = byKey.get(key);
      if (calls?.delete(callId) !== true) return;
      if (calls.size === 0) byKey.delete(key);
      byTag.get(tagOf(callId))?.settle(isGiven);
      byTag.delete(tagOf(callId));
    },
    tagged: (tag) => byTag.get(tag) ?? null,
  };
}
