/** The control plane's database: agents, hashed credentials, digest keys, admin keys. The one home of SQLite there. */
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";

export type ControlStore = Database.Database;

const SCHEMA_VERSION = 1;
const BUSY_TIMEOUT_MS = 5_000;

export function openControlStore(dataDir: string): ControlStore {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, "control.db");
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) throw new Error(`${file} is not a regular file`);
  const store = new Database(file);
  try {
    prepareStore(store, file);
    return store;
  } catch (fault) {
    store.close();
    // SQLite does not say which file it means.
    const why = fault instanceof Error ? fault.message : String(fault);
    throw new Error(why.includes(file) ? why : `${file}: ${why}`);
  }
}

function prepareStore(store: ControlStore, file: string): void {
  chmodSync(file, 0o600);
  store.pragma("journal_mode = WAL");
  store.pragma("synchronous = FULL");
  store.pragma("foreign_keys = ON");
  store.pragma("trusted_schema = OFF");
  // A destroyed key must not linger in a free page.
  store.pragma("secure_delete = ON");
  store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  const version = Number(store.pragma("user_version", { simple: true }));
  if (version > SCHEMA_VERSION) throw new Error(`${file} was written by a newer tollgate (schema ${version}); use that one`);
  if (version === 0) {
    store.transaction(() => {
      store.exec(SCHEMA);
      store.pragma(`user_version = ${SCHEMA_VERSION}`);
    })();
  }
}

const SCHEMA = `
CREATE TABLE agent (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
  customer   TEXT NOT NULL,
  team       TEXT,
  workflow   TEXT,
  owner      TEXT NOT NULL CHECK (owner <> ''),
  purpose    TEXT NOT NULL CHECK (purpose <> ''),
  risk_class TEXT NOT NULL,
  -- 1: a policy file owns its attributes.
  declared   INTEGER NOT NULL CHECK (declared IN (0, 1)),
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
  id          TEXT PRIMARY KEY,
  agent_id    TEXT NOT NULL REFERENCES agent (id),
  -- SHA-256 of a secret of 256 random bits: there is nothing to guess, so nothing to slow down.
  secret_hash BLOB,
  jwks        TEXT,
  created_at  TEXT NOT NULL,
  CHECK ((secret_hash IS NULL) <> (jwks IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_by_agent ON credential (agent_id);

-- Single use of client assertions (jti), and whatever else the authorization server must remember until it expires.
CREATE TABLE oauth_item (
  model       TEXT NOT NULL,
  id          TEXT NOT NULL,
  payload     TEXT NOT NULL,
  expires_at  INTEGER,
  consumed_at INTEGER,
  PRIMARY KEY (model, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_item_by_expiry ON oauth_item (expires_at);

-- Keys of the digests in audit records. Destroying one ends what its digests can prove.
CREATE TABLE digest_key (
  owner TEXT PRIMARY KEY,
  key   BLOB NOT NULL CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE admin_key (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  hash       BLOB NOT NULL UNIQUE,
  role       TEXT NOT NULL CHECK (role = 'admin'),
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a POST with an Idempotency-Key made: its id, never its secret.
CREATE TABLE idempotent_post (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  made        TEXT NOT NULL,
  expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;
