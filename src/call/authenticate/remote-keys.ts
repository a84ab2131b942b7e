/** An issuer's published keys: fetched when first needed, kept while they are fresh, and for a bounded time while their host is down. */
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import { discoverKeysUri } from "./discovery.ts";
import { fetchDocument } from "./document.ts";
import { importKeySet, type KeySet, type KeySource } from "./key-set.ts";
import type { Algorithm, AuthenticateLimits, Fetch, RemoteKeys } from "./trusted-issuer.ts";

export type RemoteKeysOptions = {
  readonly issuer: string;
  readonly remote: RemoteKeys;
  readonly algorithms: readonly Algorithm[];
  readonly fetch: Fetch;
  readonly limits: AuthenticateLimits;
  /** Hears of each refused or unreachable key set; fixed words, nothing of the document. */
  readonly keysRefused: (issuer: string, fault: string) => void;
};

const MEDIA_TYPES = ["application/jwk-set+json", "application/json"];

export function remoteKeySource({ issuer, remote, algorithms, fetch, limits, keysRefused }: RemoteKeysOptions): KeySource {
  let set: KeySet | null = null;
  let text = "";
  let uri = remote.uri;
  let fetchedAtMs = Number.NEGATIVE_INFINITY;
  let triedAtMs = Number.NEGATIVE_INFINITY;
  let failing = false;
  let inFlight: Promise<KeySet | Refusal> | null = null;
  const unavailable = refuse("store_unavailable", { retry_after_ms: limits.retryPauseMs }, "issuer keys unavailable");

  const isFresh = (nowMs: number) => within(fetchedAtMs, limits.keysFreshMs, nowMs);
  const mayOutlive = (nowMs: number) => failing && within(fetchedAtMs, limits.lastGoodMs, nowMs);
  const usable = (nowMs: number) => (set !== null && (isFresh(nowMs) || mayOutlive(nowMs)) ? set : unavailable);

  function current(nowMs: number): KeySet | Refusal | Promise<KeySet | Refusal> {
    if (set !== null && isFresh(nowMs)) return set;
    if (failing && within(triedAtMs, limits.retryPauseMs, nowMs)) return usable(nowMs);
    const refreshed = refresh(nowMs);
    // While its host is known to be down nobody waits for it.
    const kept = usable(nowMs);
    return isRefusal(kept) ? refreshed : kept;
  }

  function afterUnknownKid(nowMs: number): KeySet | Refusal | Promise<KeySet | Refusal> {
    if (inFlight === null && within(triedAtMs, limits.unknownKidPauseMs, nowMs)) return usable(nowMs);
    return refresh(nowMs);
  }

  function refresh(nowMs: number): Promise<KeySet | Refusal> {
    inFlight ??= renew(nowMs).finally(() => {
      inFlight = null;
    });
    return inFlight;
  }

  async function renew(nowMs: number): Promise<KeySet | Refusal> {
    triedAtMs = nowMs;
    const fault = await load(nowMs);
    failing = fault !== null;
    if (fault !== null) {
      uri = remote.uri;
      keysRefused(issuer, fault);
    }
    return usable(nowMs);
  }

  /** Null: the set is the newest there is. */
  async function load(nowMs: number): Promise<string | null> {
    if (uri === null) {
      const found = await discoverKeysUri(fetch, issuer, limits);
      if (typeof found === "string") return found;
      uri = found.href;
    }
    const fetched = await fetchDocument(fetch, uri, MEDIA_TYPES, limits);
    if ("fault" in fetched) return `keys: ${fetched.fault}`;
    const newText = JSON.stringify(fetched.document);
    if (newText !== text) {
      const imported = await importKeySet(fetched.document, algorithms, limits.keysMax);
      if (typeof imported === "string") return `keys: ${imported}`;
      set = imported;
      text = newText;
    }
    fetchedAtMs = nowMs;
    return null;
  }

  const holds = (known: KeySet, nowMs: number) =>
    known === set && (isFresh(nowMs) || (mayOutlive(nowMs) && within(triedAtMs, limits.retryPauseMs, nowMs)));

  return { current, afterUnknownKid, holds };
}

/** A clock that went back is outside as well: what cannot be judged is looked at again. */
function within(sinceMs: number, spanMs: number, nowMs: number): boolean {
  return nowMs >= sinceMs && nowMs - sinceMs < spanMs;
}
