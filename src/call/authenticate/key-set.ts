/** One issuer's keys, imported once, and the signature that one of them verifies: a key of another issuer is never tried. */
import { compactVerify, errors, importJWK } from "jose";
import { isRefusal, type Refusal } from "../../refusal.ts";
import type { JoseHeader } from "./compact.ts";
import { soundKeys } from "./key-rules.ts";
import { type Algorithm, invalid } from "./trusted-issuer.ts";

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
type ImportedKey = { readonly keyId: string | null; readonly byAlgorithm: ReadonlyMap<string, CryptoKey> };

export type KeySet = { readonly keys: readonly ImportedKey[] };

/** Where an issuer's keys come from. A set is compared by identity: the same object means that nothing has changed. */
export interface KeySource {
  /** The keys to verify with now; at once where they are fresh. */
  current(nowMs: number): KeySet | Refusal | Promise<KeySet | Refusal>;
  /** The keys after a `kid` was not among them: asked anew, unless that was done a moment ago. */
  afterUnknownKid(nowMs: number): KeySet | Refusal | Promise<KeySet | Refusal>;
  /** True while a token verified with this set needs no second look. */
  holds(set: KeySet, nowMs: number): boolean;
}

/** A string says why the set is refused. */
export async function importKeySet(set: unknown, trusted: readonly Algorithm[], keysMax: number): Promise<KeySet | string> {
  const sound = soundKeys(set, trusted, keysMax);
  if (typeof sound === "string") return sound;
  const keys: ImportedKey[] = [];
  for (const { jwk, keyId, algorithms } of sound) {
    const byAlgorithm = new Map<string, CryptoKey>();
    for (const algorithm of algorithms) {
      const key = await importJWK(jwk, algorithm).catch(() => null);
      if (key === null || key instanceof Uint8Array) return "a key that cannot be imported";
      byAlgorithm.set(algorithm, key);
    }
    keys.push({ keyId, byAlgorithm });
  }
  return { keys };
}

/** The set that the signature was verified with. */
export async function verifySignature(
  accessToken: string,
  header: JoseHeader,
  source: KeySource,
  nowMs: number,
): Promise<KeySet | Refusal> {
  const set = await source.current(nowMs);
  if (isRefusal(set)) return set;
  const key = select(set, header);
  if (key !== null) return isRefusal(key) ? key : verifyWith(accessToken, header, key, set);
  const newer = await source.afterUnknownKid(nowMs);
  if (isRefusal(newer)) return newer;
  const newKey = newer === set ? null : select(newer, header);
  if (newKey === null) return invalid("kid is not a key of the issuer");
  return isRefusal(newKey) ? newKey : verifyWith(accessToken, header, newKey, newer);
}

/** Null: the issuer has no key of that name. */
function select(set: KeySet, header: JoseHeader): CryptoKey | Refusal | null {
  if (header.keyId === null && set.keys.length !== 1) return invalid("kid is absent and the issuer has several keys");
  const named = header.keyId === null ? set.keys[0] : set.keys.find((key) => key.keyId === header.keyId);
  if (named === undefined) return null;
  return named.byAlgorithm.get(header.algorithm) ?? invalid("alg does not suit the key");
}

async function verifyWith(accessToken: string, header: JoseHeader, key: CryptoKey, set: KeySet): Promise<KeySet | Refusal> {
  try {
    await compactVerify(accessToken, key, { algorithms: [header.algorithm] });
    return set;
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError) return invalid("the signature does not verify");
    throw thrown;
  }
}
