/** What the gateway hands out and takes back unread: sealed for one purpose and one holder, by AES-256-GCM. */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";

/** A sealed text of one purpose never opens as another's (a key of its own each, RFC 5869). */
export type SealPurpose = "session" | "cursor" | "approval" | "approver" | "answer";

export type Seal = {
  /** base64url. `holder` names whom it is for; who is not the holder cannot open it. */
  seal(purpose: SealPurpose, holder: string, text: string): string;
  /** Null: not sealed here, not for this purpose, not for this holder, or changed. */
  open(purpose: SealPurpose, holder: string, sealed: string): string | null;
  /** The text with a mark before it that it is its holder's: for what needs no hiding, and comes too often for a nonce each. */
  mark(holder: string, text: string): string;
  /** Null: not marked here, not for this holder, or changed. */
  unmark(holder: string, marked: string): string | null;
  /** What stands for a text that must not be kept or guessed: the same at every gateway with these keys, base64url. */
  digest(text: string): string;
};

/** 96 random bits a seal: 2^32 seals under one key before a repeat is worth a thought (NIST SP 800-38D, 8.3). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** 128 bits, base64url. */
const MARK_CHARACTERS = 22;
/** Longer than any header or cursor that we give out. */
const SEALED_CHARACTERS_MAX = 65_536;
/** A kept answer of 64 KiB, in base64url. */
const SEALED_ANSWER_MAX = 131_072;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** `rootKey`: 32 random bytes. */
export function createSeal(rootKey: Buffer): Seal {
  const derived = (purpose: SealPurpose | "mark" | "digest") =>
    Buffer.from(hkdfSync("sha256", rootKey, "", `tollgate seal ${purpose}`, 32));
  const keys: Record<SealPurpose, Buffer> = {
    session: derived("session"),
    cursor: derived("cursor"),
    approval: derived("approval"),
    approver: derived("approver"),
    answer: derived("answer"),
  };
  const markKey = derived("mark");
  const digestKey = derived("digest");
  const markOf = (holder: string, text: string) => {
    const mac = createHmac("sha256", markKey).update(JSON.stringify([holder, text]));
    return mac.digest("base64url").slice(0, MARK_CHARACTERS);
  };
  return {
    digest: (text) => createHmac("sha256", digestKey).update(text).digest("base64url"),
    mark: (holder, text) => `${markOf(holder, text)}.${text}`,
    unmark(holder, marked) {
      if (marked.length > SEALED_CHARACTERS_MAX || marked[MARK_CHARACTERS] !== ".") return null;
      const text = marked.slice(MARK_CHARACTERS + 1);
      const given = Buffer.from(marked.slice(0, MARK_CHARACTERS), "latin1");
      return timingSafeEqual(given, Buffer.from(markOf(holder, text))) ? text : null;
    },
    seal(purpose, holder, text) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keys[purpose], nonce).setAAD(Buffer.from(holder));
      return Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64url");
    },
    open(purpose, holder, sealed) {
      if (sealed.length > (purpose === "answer" ? SEALED_ANSWER_MAX : SEALED_CHARACTERS_MAX) || !BASE64URL.test(sealed)) return null;
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
