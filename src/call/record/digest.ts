/** Pure. What stands for bytes in a record: their HMAC and their size. */
import { createHmac, hash, type KeyObject } from "node:crypto";
import type { Digest } from "./audit-record.ts";
import { canonicalJson } from "./canonical.ts";
import type { StoredEvent } from "./event-query.ts";

export function digestOf(bytes: Uint8Array, key: KeyObject): Digest {
  const hmac = bytes.length > SHORT_BYTES_MAX ? createHmac("sha256", key).update(bytes).digest("hex") : shortHmac(bytes, key);
  return { hmac: `hmac-sha256:${hmac}`, bytes: bytes.length };
}

/** Longer ones are not copied behind the key. */
const SHORT_BYTES_MAX = 4_096;
const BLOCK_BYTES = 64;

/** RFC 2104 over the one-shot hash: setting up OpenSSL's own context takes 10 us among other work, two hashes take 5. */
function shortHmac(bytes: Uint8Array, key: KeyObject): string {
  const { inner, outer } = padsOf(key);
  const text = Buffer.allocUnsafe(BLOCK_BYTES + bytes.length);
  text.set(inner);
  text.set(bytes, BLOCK_BYTES);
  outer.set(hash("sha256", text, "buffer"), BLOCK_BYTES);
  return hash("sha256", outer);
}

/** The key's two blocks; behind the outer one is room for the inner hash. */
type Pads = { readonly inner: Buffer; readonly outer: Buffer };

const pads = new WeakMap<KeyObject, Pads>();

function padsOf(key: KeyObject): Pads {
  const known = pads.get(key);
  if (known !== undefined) return known;
  const secret = key.export();
  if (secret.length > BLOCK_BYTES) throw new RangeError("a digest key is at most one block of SHA-256 long");
  const inner = Buffer.alloc(BLOCK_BYTES, 0x36);
  const outer = Buffer.alloc(BLOCK_BYTES + 32, 0x5c);
  for (const [i, byte] of secret.entries()) {
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  pads.set(key, { inner, outer });
  return { inner, outer };
}

/** Binds a usage event to its call's record: SHA-256 over the RFC 8785 form of exactly these members. */
export function digestOfEvent({ id, type, time, subject, data }: Pick<StoredEvent, "id" | "type" | "time" | "subject" | "data">): string {
  return digestOfText(canonicalJson({ id, type, time, subject, data }));
}

export function digestOfText(text: string): string {
  return `sha256:${hash("sha256", text)}`;
}
