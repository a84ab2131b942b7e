/** Pure. What stands for bytes in a record: their HMAC and their size. */
import { createHmac } from "node:crypto";
import type { Digest } from "./audit-record.ts";

export function digestOf(bytes: Uint8Array, key: Uint8Array): Digest {
  return { hmac: `hmac-sha256:${createHmac("sha256", key).update(bytes).digest("hex")}`, bytes: bytes.length };
}
