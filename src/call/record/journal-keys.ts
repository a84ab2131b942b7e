/** The keys of one gateway: those under way in memory, where nothing can race them; those that have ended in the journal. */
import type { CallId } from "../../ids.ts";
import type { KnownKey, RetryKeys } from "./retry-key.ts";

/** `find`: what the journal has of a key that is not under way; null: nothing. */
export function createJournalKeys(find: (key: string, atMs: number) => Promise<KnownKey | null>): RetryKeys {
  const underWay = new Map<string, { readonly fingerprint: string; readonly callId: CallId }>();
  return {
    async begin(claim) {
      const { key, fingerprint, callId, atMs } = claim;
      const other = underWay.get(key);
      if (other !== undefined) return { kind: other.fingerprint === fingerprint ? "in_flight" : "mismatch", callId: other.callId };
      // Taken before the journal is asked: whoever comes meanwhile finds it under way.
      underWay.set(key, { fingerprint, callId });
      let known: KnownKey | null = null;
      try {
        known = await find(key, atMs);
      } catch (fault) {
        underWay.delete(key);
        throw fault;
      }
      if (known === null || (known.fingerprint === fingerprint && known.state === "waiting")) return { kind: "begun" };
      underWay.delete(key);
      return known.fingerprint === fingerprint ? { kind: "ended", known } : { kind: "mismatch", callId: known.callId };
    },
    end({ key, callId }) {
      if (underWay.get(key)?.callId === callId) underWay.delete(key);
    },
  };
}
