/** Secrets that the gateway hands out: 256 random bits with a prefix that scanners know, of which only a hash is kept. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

export const AGENT_SECRET_PREFIX = "tgs_";
export const ADMIN_KEY_PREFIX = "tga_";

export function mintSecret(prefix: string = AGENT_SECRET_PREFIX): string {
  return prefix + randomBytes(32).toString("base64url");
}

export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

/** In constant time: both sides are digests of equal length. */
export function matchesSecret(presented: string, hash: Buffer): boolean {
  return timingSafeEqual(hashSecret(presented), hash);
}
