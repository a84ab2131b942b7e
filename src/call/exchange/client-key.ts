/** A private key of the gateway at one authorization server: read once from PEM or JWK, of a type that servers know, never shown. */
import { createPrivateKey, type KeyObject, type webcrypto } from "node:crypto";

export type ClientKey = {
  /** What it can sign with, the best known first. */
  readonly algorithms: readonly [Algorithm, ...Algorithm[]];
  /** Of a JWK: what the server knows the key by (`kid`, `x5t`, `x5t#S256`). */
  readonly header: Readonly<Record<string, string>>;
  cryptoKey(algorithm: Algorithm): webcrypto.CryptoKey;
};

export type Algorithm = "RS256" | "PS256" | "ES256" | "EdDSA" | "Ed25519";

/** RFC 7518 section 3.3. */
const RSA_BITS_MIN = 2048;

/** Null: no private key, or not one that is used here. */
export function readClientKey(text: string): ClientKey | null {
  const jwk = readJwk(text);
  const key = keyOf(text, jwk);
  const algorithms = key === null ? null : algorithmsOf(key);
  if (key === null || algorithms === null) return null;
  const named = algorithms.find((each) => each === jwk?.alg);
  const header: Record<string, string> = {};
  for (const member of ["kid", "x5t", "x5t#S256"]) {
    const value = jwk?.[member];
    if (typeof value === "string") header[member] = value;
  }
  return {
    algorithms: named === undefined ? algorithms : [named],
    header,
    cryptoKey: (algorithm) => key.toCryptoKey(FORMS[algorithm], false, ["sign"]),
  };
}

const FORMS: Readonly<Record<Algorithm, { readonly name: string; readonly hash?: string; readonly namedCurve?: string }>> = {
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  EdDSA: { name: "Ed25519" },
  Ed25519: { name: "Ed25519" },
};

function readJwk(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.trimStart().startsWith("{")) return null;
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return null;
  }
}

function keyOf(text: string, jwk: Readonly<Record<string, unknown>> | null): KeyObject | null {
  try {
    return jwk === null ? createPrivateKey(text) : createPrivateKey({ key: jwk, format: "jwk" });
  } catch {
    return null;
  }
}

function algorithmsOf(key: KeyObject): readonly [Algorithm, ...Algorithm[]] | null {
  const details = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa") return (details.modulusLength ?? 0) >= RSA_BITS_MIN ? ["RS256", "PS256"] : null;
  if (key.asymmetricKeyType === "ec") return details.namedCurve === "prime256v1" ? ["ES256"] : null;
  return key.asymmetricKeyType === "ed25519" ? ["EdDSA", "Ed25519"] : null;
}
