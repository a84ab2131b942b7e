/** `keys.json`: what tokens are signed and what is handed out is sealed with; made at the first start, readable by its owner only. */
import { hkdfSync, randomBytes } from "node:crypto";
import { linkSync, lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JWK } from "jose";
import { createSeal, type Seal } from "../seal.ts";
import { makeSigningKey, type SigningKey, signingKeyOf } from "./signing-key.ts";

export type Keys = { readonly signingKey: SigningKey; readonly seal: Seal };

/** `sealing`: 32 bytes, base64url. */
type KeyFile = { readonly signing: JWK; readonly sealing: string };

const FILE = "keys.json";
const SEALING_BYTES = 32;

/** Of one folder, however many gateways open it at once: all get the same keys. */
export async function openKeys(folder: string): Promise<Keys> {
  const file = join(folder, FILE);
  const { signing = {}, sealing } = readKeys(file) ?? (await makeKeys(file));
  const signingKey = await signingKeyOf(signing).catch(() => {
    throw broken(file, "signing", "tokens in use then end");
  });
  const rootKey = Buffer.from(sealing ?? addSealing(file, signing), "base64url");
  if (rootKey.length !== SEALING_BYTES) throw broken(file, "sealing", "tokens and sessions in use then end");
  return { signingKey, seal: createSeal(rootKey) };
}

function readKeys(file: string): Partial<KeyFile> | null {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (!found.isFile()) throw new Error(`${file} is not a regular file`);
  if ((found.mode & 0o077) !== 0) throw new Error(`${file} can be read by others: chmod 600 ${file}`);
  return partsOf(readFileSync(file, "utf8"));
}

/** What a parser would say of the text may hold a part of a key: an empty one says enough. */
function partsOf(text: string): Partial<KeyFile> {
  try {
    const { signing, sealing } = (JSON.parse(text) ?? {}) as { signing?: JWK; sealing?: unknown };
    return { ...(signing ? { signing } : {}), ...(sealing === undefined ? {} : { sealing: String(sealing) }) };
  } catch {
    return {};
  }
}

function broken(file: string, kind: keyof KeyFile, loss: string): Error {
  return new Error(`${file} holds no ${kind} key: restore it, or delete it to have a new one made (${loss})`);
}

async function makeKeys(file: string): Promise<Partial<KeyFile>> {
  const made: KeyFile = { signing: await makeSigningKey(), sealing: randomBytes(SEALING_BYTES).toString("base64url") };
  const draft = writeDraft(file, made);
  try {
    // Unlike a rename, a link never takes another's place: of several gateways the first one's keys are everybody's.
    linkSync(draft, file);
  } catch (fault) {
    if (!(fault instanceof Error && "code" in fault && fault.code === "EEXIST")) throw fault;
  } finally {
    rmSync(draft, { force: true });
  }
  return readKeys(file) ?? made;
}

/** To a file from before there was one. Derived, so that gateways that do this at once write the same; from then on it stands by itself. */
function addSealing(file: string, signing: JWK): string {
  const secret = Buffer.from(signing.d ?? "", "base64url");
  const sealing = Buffer.from(hkdfSync("sha256", secret, "", "tollgate sealing root key", SEALING_BYTES)).toString("base64url");
  renameSync(writeDraft(file, { signing, sealing }), file);
  return sealing;
}

/** Under a name of its own until it is whole: a start that is cut off leaves no half of a key. */
function writeDraft(file: string, keys: KeyFile): string {
  const draft = `${file}.${randomBytes(6).toString("hex")}.new`;
  writeFileSync(draft, `${JSON.stringify(keys)}\n`, { mode: 0o600, flag: "wx", flush: true });
  return draft;
}
