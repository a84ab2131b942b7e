/** The key that signs the gateway's tokens. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";

export type SigningKey = {
  readonly kid: string;
  /** Public members only; the same array for as long as the key is. */
  readonly publicKeys: readonly JWK[];
  /** For the authorization server, which signs with it too. */
  readonly privateKey: JWK;
  sign(claims: Record<string, unknown>, typ: string): Promise<string>;
};

const ALGORITHM = "ES256";

/** Rejects where the key is none of ours. */
export async function signingKeyOf(privateKey: JWK): Promise<SigningKey> {
  const { kty, crv, x, y, d, kid } = privateKey;
  if (kty !== "EC" || crv !== "P-256" || d === undefined || kid === undefined) throw new Error("not a private P-256 key");
  const key = await importJWK(privateKey, ALGORITHM);
  return {
    kid,
    publicKeys: [{ kty, crv, x, y, kid, alg: ALGORITHM, use: "sig" } as JWK],
    privateKey,
    sign: (claims, typ) => new SignJWT(claims).setProtectedHeader({ alg: ALGORITHM, kid, typ }).sign(key),
  };
}

export async function makeSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: ALGORITHM, use: "sig" };
}
