/** The public keys of agents that authenticate by private_key_jwt: registered with them, or at a URL that they name. */
import type { JWK } from "jose";
import { soundKeys } from "../../call/authenticate/key-rules.ts";
import { ALGORITHMS_DEFAULT, type Fetch } from "../../call/authenticate/trusted-issuer.ts";
import type { CredentialRow } from "../tables.ts";

export type ClientKeys = {
  /** The keys of one credential; a `kid` that is not among them is reason to look again, now and then. */
  of(credential: CredentialRow, keyId: string | null): Promise<readonly JWK[]>;
};

export type ClientKeysOptions = {
  /** To a URL that an agent's owner names: public addresses only. */
  readonly fetchFromOutside: Fetch;
  readonly now: () => number;
};

/** A key that its owner has removed is refused after this time. */
const FRESH_MS = 300_000;
/** At most one request in this time, whatever kids come and however it fails: the URL must not become a target. */
const PAUSE_MS = 30_000;
const KEYS_MAX = 10;
const BYTES_MAX = 65_536;
const URLS_MAX = 1_000;
const TIMEOUT_MS = 5_000;

type Known = { keys: readonly JWK[]; readAtMs: number; askedAtMs: number; asking: Promise<void> | null };

export function createClientKeys({ fetchFromOutside, now }: ClientKeysOptions): ClientKeys {
  const known = new Map<string, Known>();

  async function at(url: string, keyId: string | null): Promise<readonly JWK[]> {
    const entry = known.get(url) ?? { keys: [], readAtMs: Number.NEGATIVE_INFINITY, askedAtMs: Number.NEGATIVE_INFINITY, asking: null };
    if (!known.has(url) && known.size >= URLS_MAX) known.delete(known.keys().next().value ?? "");
    known.set(url, entry);
    const nowMs = now();
    const stale = nowMs - entry.readAtMs > FRESH_MS;
    const missing = keyId !== null && !entry.keys.some(({ kid }) => kid === keyId);
    if ((stale || missing) && nowMs - entry.askedAtMs > PAUSE_MS) {
      entry.askedAtMs = nowMs;
      entry.asking = read(url, fetchFromOutside)
        .then((keys) => {
          entry.keys = keys;
          entry.readAtMs = now();
        })
        .catch(() => {})
        .finally(() => {
          entry.asking = null;
        });
    }
    await entry.asking;
    // Keys that could not be read again in time are no keys: their owner may have removed them.
    return now() - entry.readAtMs > FRESH_MS ? [] : entry.keys;
  }

  return {
    async of({ jwks, jwks_uri }, keyId) {
      if (jwks !== null) return (JSON.parse(jwks) as { keys: JWK[] }).keys;
      return jwks_uri === null ? [] : await at(jwks_uri, keyId);
    },
  };
}

async function read(url: string, fetch: Fetch): Promise<readonly JWK[]> {
  const answer = await fetch(url, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const text = await answer.text();
  if (!answer.ok || text.length > BYTES_MAX) throw new Error("not a JWK Set");
  const set: unknown = JSON.parse(text);
  const sound = soundKeys(set, ALGORITHMS_DEFAULT, KEYS_MAX);
  if (typeof sound === "string") throw new Error(sound);
  return sound.map(({ jwk, keyId }) => (keyId === null ? jwk : { ...jwk, kid: keyId }));
}
