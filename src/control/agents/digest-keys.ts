/** The key under which arguments, results and subjects are digested: random, one per subject or customer, on disk before its first use. */
import { createHash, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { ControlStore } from "../store.ts";

export type DigestKeys = { keyFor(customer: string, subject: string | null): KeyObject };

const KEYS_MAX = 10_000;

export function openDigestKeys(store: ControlStore): DigestKeys {
  const kept = new LRUCache<string, KeyObject>({ max: KEYS_MAX });
  const add = store.prepare("INSERT OR IGNORE INTO digest_key (owner, key) VALUES (?, ?)");
  const get = store.prepare("SELECT key FROM digest_key WHERE owner = ?").pluck();
  return {
    keyFor(customer, subject) {
      // As a list: customer and subject may hold any character, so no separator would keep them apart.
      const name = JSON.stringify([customer, subject]);
      const known = kept.get(name);
      if (known !== undefined) return known;
      // The table must not be a list of the subjects that records keep out of sight.
      const owner = createHash("sha256").update(name).digest("hex");
      add.run(owner, randomBytes(32));
      const key = createSecretKey(get.get(owner) as Buffer);
      kept.set(name, key);
      return key;
    },
  };
}
