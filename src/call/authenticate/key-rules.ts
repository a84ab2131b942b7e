/** Pure. Which keys of a JWK Set may verify access tokens; one unsound key condemns the whole set. */
import type { JWK } from "jose";
import { isObject } from "./compact.ts";
import type { Algorithm } from "./trusted-issuer.ts";

export type SoundKey = { readonly jwk: JWK; readonly keyId: string | null; readonly algorithms: readonly Algorithm[] };

/** A string says what is wrong with the set. Keys for other purposes and of other kinds are left out, not held against it. */
export function soundKeys(set: unknown, trusted: readonly Algorithm[], keysMax: number): readonly SoundKey[] | string {
  if (!isObject(set) || !Array.isArray(set.keys)) return "not a JWK Set";
  if (set.keys.length > keysMax) return "more keys than are read";
  const sound: SoundKey[] = [];
  const seen = new Set<unknown>();
  for (const key of set.keys) {
    const fault = faultOf(key);
    if (fault !== null) return fault;
    if (key.kid !== undefined && seen.size === seen.add(key.kid).size) return "two keys with one kid";
    const algorithms = algorithmsOf(key).filter((algorithm) => trusted.includes(algorithm));
    if (algorithms.length > 0) sound.push({ jwk: publicPart(key), keyId: key.kid ?? null, algorithms });
  }
  return sound.length > 0 ? sound : "no key that may verify access tokens";
}

/** RFC 7518 sections 6.2.2, 6.3.2 and 6.4: what only the owner of a key may know. */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

function faultOf(key: unknown): string | null {
  if (!isObject(key) || typeof key.kty !== "string") return "not a JWK";
  if (key.kid !== undefined && typeof key.kid !== "string") return "a kid that is not a string";
  if (PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member))) return "private key material";
  return key.kty === "RSA" ? faultOfRsa(key.n, key.e) : null;
}

/** Below 2048 bits a modulus can be factored; above 8192 verifying costs too much; exponent 1 is no signature at all. */
const MODULUS_BITS_MIN = 2048;
const MODULUS_BITS_MAX = 8192;
/** 65537 is 3 bytes; a long exponent makes each verification slow. */
const EXPONENT_BYTES_MAX = 4;

function faultOfRsa(modulus: unknown, exponent: unknown): string | null {
  const n = unsigned(modulus);
  const e = unsigned(exponent);
  if (n === null || e === null) return "an RSA key without modulus or exponent";
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (bits < MODULUS_BITS_MIN || bits > MODULUS_BITS_MAX) return "an RSA modulus outside 2048 to 8192 bits";
  if (e.length > EXPONENT_BYTES_MAX) return "an RSA exponent that is too long";
  const value = e.readUIntBE(0, e.length);
  return value >= 3 && value % 2 === 1 ? null : "an RSA exponent that is even or below 3";
}

function unsigned(value: unknown): Buffer | null {
  if (typeof value !== "string") return null;
  const bytes = Buffer.from(value, "base64url");
  const first = bytes.findIndex((byte) => byte !== 0);
  return first === -1 ? null : bytes.subarray(first);
}

/** The key's own restrictions (`use`, `key_ops`, `alg`) narrow what its type could do. */
function algorithmsOf(key: JWK): readonly Algorithm[] {
  if (key.use !== undefined && key.use !== "sig") return [];
  if (key.key_ops !== undefined && !(Array.isArray(key.key_ops) && key.key_ops.includes("verify"))) return [];
  const able = ABLE[`${key.kty} ${key.crv ?? ""}`.trimEnd()] ?? [];
  if (key.alg === undefined) return able;
  // RFC 9864: `Ed25519` is the exact name of what `EdDSA` means for this curve; a key under either may serve both.
  return able.filter((algorithm) => algorithm === key.alg || key.alg === "EdDSA" || key.alg === "Ed25519");
}

const ABLE: Readonly<Record<string, readonly Algorithm[]>> = {
  RSA: ["RS256", "PS256"],
  "EC P-256": ["ES256"],
  "OKP Ed25519": ["Ed25519", "EdDSA"],
};

function publicPart(key: JWK): JWK {
  const { kty, crv, x, y, n, e } = key;
  return { kty, ...(kty === "RSA" ? { n, e } : { crv, x, y }) } as JWK;
}
