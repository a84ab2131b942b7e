/** The key that signs the gateway's tokens: made at the first start, readable by its owner only. */
import { lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

export async function openSigningKey(dataDir: string): Promise<SigningKey> {
  const file = join(dataDir, "keys.json");
  const privateKey = readKey(file) ?? (await makeKey(file));
  const { kty, crv, x, y, kid = "" } = privateKey;
  const key = await importJWK(privateKey, ALGORITHM).catch(() => {
    throw broken(file);
  });
  return {
    kid,
    publicKeys: [{ kty, crv, x, y, kid, alg: ALGORITHM, use: "sig" } as JWK],
    privateKey,
    sign: (claims, typ) => new SignJWT(claims).setProtectedHeader({ alg: ALGORITHM, kid, typ }).sign(key),
  };
}

function readKey(file: string): JWK | null {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (!found.isFile()) throw new Error(`${file} is not a regular file`);
  if ((found.mode & 0o077) !== 0) throw new Error(`${file} can be read by others: chmod 600 ${file}`);
  const signing = signingKeyOf(readFileSync(file, "utf8"));
  if (signing?.kty !== "EC" || signing.crv !== "P-256" || signing.d === undefined || signing.kid === undefined) throw broken(file);
  return signing;
}

/** What a parser would say of the text may hold a part of the key: undefined says enough. */
function signingKeyOf(text: string): JWK | undefined {
  try {
    return (JSON.parse(text) as { signing?: JWK } | null)?.signing;
  } catch {
    return undefined;
  }
}

function broken(file: string): Error {
  return new Error(`${file} holds no signing key: restore it, or delete it to have a new one made (tokens in use then end)`);
}

async function makeKey(file: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const jwk = await exportJWK(privateKey);
  const signing = { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: ALGORITHM, use: "sig" };
  // Under another name until it is whole: a start that is cut off leaves no half of a key.
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify({ signing })}\n`, { mode: 0o600, flag: "wx", flush: true });
  renameSync(draft, file);
  return signing;
}
