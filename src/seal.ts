/** What the gateway hands out and takes back unread: sealed for one purpose and one holder, by AES-256-GCM. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

/** A sealed text of one purpose never opens as another's (a key of its own each, RFC 5869). */
export type SealPurpose = "session" | "cursor";

export type Seal = {
  /** base64url. `holder` names whom it is for; who is not the holder cannot open it. */
  seal(purpose: SealPurpose, holder: string, text: string): string;
  /** Null: not sealed here, not for this purpose, not for this holder, or changed. */
  open(purpose: SealPurpose, holder: string, sealed: string): string | null;
};

/** 96 random bits a seal: 2^32 seals under one key before a repeat is worth a thought (NIST SP 800-38D, 8.3). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Longer than any header or cursor that we give out. */
const SEALED_CHARACTERS_MAX = 65_536;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** `rootKey`: 32 random bytes. */
export function createSeal(rootKey: Buffer): Seal {
  const derived = (purpose: SealPurpose) => Buffer.from(hkdfSync("sha256", rootKey, "", `tollgate seal ${purpose}`, 32));
  const keys: Record<SealPurpose, Buffer> = { session: derived("session"), cursor: derived("cursor") };
  return {
    seal(purpose, holder, text) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keys[purpose], nonce).setAAD(Buffer.from(holder));
      return Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64url");
    },
    open(purpose, holder, sealed) {
      if (sealed.length > SEALED_CHARACTERS_MAX || !BASE64URL.test(sealed)) return null;
      const bytes = Buffer.from(sealed, "base64url");
      // One spelling: the unused bits of a last character would otherwise make several of one seal.
      if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString("base64url") !== sealed) return null;
      const decipher = createDecipheriv("aes-256-gcm", keys[purpose], bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(holder)).setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString("utf8");
      } catch {
        return null;
      }
    },
  };
}
