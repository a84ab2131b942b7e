/** The key under which arguments, results and subjects are digested: random, one per subject or customer, on disk before its first use. */
import { createHash, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { openSqliteFile } from "../store.ts";

export type DigestKeys = {
  keyFor(customer: string, subject: string | null): KeyObject;
  /** False: there was none. What was digested under it can no longer be told from anything else; a later call makes another key. */
  destroy(customer: string, subject: string | null): boolean;
  close(): void;
};

const KEYS_MAX = 10_000;
const SCHEMA_VERSION = 1;
const SCHEMA = `
-- Destroying one ends what its digests can prove.
CREATE TABLE digest_key (
  owner TEXT PRIMARY KEY,
  key   BLOB NOT NULL CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID`;

/** A file of its own: a key is written in the middle of whatever else is under way, and must stay whatever becomes of that. */
export function openDigestKeys(dataDir: string): DigestKeys {
  const store = openSqliteFile(dataDir, "digest-keys.db", SCHEMA_VERSION, (made) => made.exec(SCHEMA));
  adoptOlder(store, join(dataDir, "control.db"));
  const kept = new LRUCache<string, KeyObject>({ max: KEYS_MAX });
  const add = store.prepare("INSERT OR IGNORE INTO digest_key (owner, key) VALUES (?, ?)");
  const get = store.prepare("SELECT key FROM digest_key WHERE owner = ?").pluck();
  const remove = store.prepare("DELETE FROM digest_key WHERE owner = ?");
  return {
    keyFor(customer, subject) {
      const name = nameOf(customer, subject);
      const known = kept.get(name);
      if (known !== undefined) return known;
      const owner = ownerOf(name);
      add.run(owner, randomBytes(32));
      const key = createSecretKey(get.get(owner) as Buffer);
      kept.set(name, key);
      return key;
    },
    destroy(customer, subject) {
      const name = nameOf(customer, subject);
      kept.delete(name);
      const destroyed = remove.run(ownerOf(name)).changes === 1;
      // Until then the write-ahead log still holds the page that the key was on.
      if (destroyed) store.pragma("wal_checkpoint(TRUNCATE)");
      return destroyed;
    },
    close: () => store.close(),
  };
}

/** As a list: customer and subject may hold any character, so no separator would keep them apart. */
function nameOf(customer: string, subject: string | null): string {
  return JSON.stringify([customer, subject]);
}

/** The table must not be a list of the subjects that records keep out of sight. */
function ownerOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** They stood in `control.db` once. Copied before they are deleted there, so that a kill in between loses none. */
function adoptOlder(store: ReturnType<typeof openSqliteFile>, controlFile: string): void {
  if (!existsSync(controlFile)) return;
  store.prepare("ATTACH ? AS control").run(controlFile);
  const found = store.prepare("SELECT count(*) FROM control.sqlite_master WHERE name = 'digest_key'").pluck().get();
  if (found === 1) {
    store.exec("INSERT OR IGNORE INTO digest_key SELECT owner, key FROM control.digest_key");
    store.exec("DROP TABLE control.digest_key");
  }
  store.exec("DETACH control");
}
