/** The journal's database: its schema, its pragmas, and the lock that keeps a second process out. The one home of SQLite in the data plane. */
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";

export type Store = Database.Database;
export type Statement = Database.Statement;

export const JOURNAL_FILE = "journal.db";
const SCHEMA_VERSION = 1;
// SQLite 3.7.0 to 3.51.2 could lose commits when a WAL was reset at the wrong moment.
const SQLITE_VERSION_MIN = [3, 51, 3] as const;
const BUSY_TIMEOUT_MS = 5_000;

/** Opens or makes `<dataDir>/journal.db` for the one writer. */
export function openStore(dataDir: string): Store {
  prepareFolder(dataDir);
  const file = join(dataDir, JOURNAL_FILE);
  refuseOddFile(file);
  const store = new Database(file);
  chmodSync(file, 0o600);
  assertVersion(store);
  store.pragma("journal_mode = WAL");
  // The package's build would run WAL at NORMAL, which loses acknowledged commits on power loss.
  store.pragma("synchronous = FULL");
  store.pragma("foreign_keys = ON");
  store.pragma("trusted_schema = OFF");
  store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  migrate(store, file);
  return store;
}

/** A connection that cannot write; works on a live journal and on a copied file. */
export function openReader(file: string): Store {
  const store = new Database(file, { readonly: true, fileMustExist: true });
  store.pragma("trusted_schema = OFF");
  store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return store;
}

export class DataFolderInUse extends Error {
  override readonly name = "DataFolderInUse";
}

/** One process a data folder. The operating system lets go of the lock however the process ends. */
export function lockFolder(dataDir: string): { release(): void } {
  prepareFolder(dataDir);
  const file = join(dataDir, "lock.db");
  refuseOddFile(file);
  const lock = new Database(file, { timeout: 0 });
  try {
    chmodSync(file, 0o600);
    lock.pragma("locking_mode = EXCLUSIVE");
    lock.exec("BEGIN EXCLUSIVE");
  } catch (fault) {
    lock.close();
    if (codeOf(fault).startsWith("SQLITE_BUSY")) throw new DataFolderInUse(`${dataDir} is in use by another tollgate process`);
    throw fault;
  }
  return { release: () => void lock.close() };
}

export function codeOf(fault: unknown): string {
  return fault instanceof Error && "code" in fault && typeof fault.code === "string" ? fault.code : "";
}

function prepareFolder(dataDir: string): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (!lstatSync(dataDir).isDirectory()) throw new Error(`${dataDir} is not a folder of its own`);
  chmodSync(dataDir, 0o700);
}

/** A symlink or a FIFO at the journal's path could send the books elsewhere. */
function refuseOddFile(file: string): void {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) throw new Error(`${file} is not a regular file`);
}

function assertVersion(store: Store): void {
  const version = String(store.prepare("SELECT sqlite_version()").pluck().get());
  const parts = version.split(".").map(Number);
  for (const [i, min] of SQLITE_VERSION_MIN.entries()) {
    const part = parts[i] ?? 0;
    if (part > min) return;
    if (part < min) throw new Error(`SQLite ${version} is too old: at least ${SQLITE_VERSION_MIN.join(".")} is needed`);
  }
}

function migrate(store: Store, file: string): void {
  const version = Number(store.pragma("user_version", { simple: true }));
  if (version > SCHEMA_VERSION)
    throw new Error(`${file} was written by a newer tollgate (schema ${version}, this one knows ${SCHEMA_VERSION}); use that one`);
  if (version === SCHEMA_VERSION) return;
  // One transaction: a kill between statements leaves either nothing or all of it.
  store.transaction(() => {
    store.exec(SCHEMA);
    store.pragma(`user_version = ${SCHEMA_VERSION}`);
  })();
}

const SCHEMA = `
-- A call between its permit and its settlement: what recovery needs, and nothing that the audit record will not repeat.
CREATE TABLE open_call (
  call_id TEXT PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  lines   TEXT NOT NULL,
  audit   TEXT NOT NULL,
  usage   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Leaves of the Merkle log. body is RFC 8785 JSON, leaf is SHA-256(0x00 || body). The columns repeat the body for look-ups.
CREATE TABLE audit_record (
  sequence INTEGER PRIMARY KEY,
  kind     TEXT NOT NULL,
  call_id  TEXT,
  body     TEXT NOT NULL,
  leaf     BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT;
CREATE INDEX audit_record_by_call ON audit_record (call_id) WHERE call_id IS NOT NULL;
-- A call settles once: the second settlement of one call cannot be written.
CREATE UNIQUE INDEX audit_record_settled_once ON audit_record (call_id) WHERE kind = 'call';

-- Roots of complete subtrees of 256^level leaves: a proof never reads more than 256 rows a level.
CREATE TABLE merkle_node (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash   BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_event (
  sequence INTEGER PRIMARY KEY,
  call_id  TEXT NOT NULL UNIQUE,
  time     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  data     TEXT NOT NULL
) STRICT;
CREATE INDEX usage_event_by_time ON usage_event (time);

-- Balances are a snapshot kept in the same transactions; the records are the truth.
CREATE TABLE balance (
  budget       TEXT NOT NULL,
  scope        TEXT NOT NULL,
  window_start INTEGER NOT NULL,
  window_end   INTEGER,
  committed    INTEGER NOT NULL DEFAULT 0 CHECK (committed >= 0),
  held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
  debt         INTEGER NOT NULL DEFAULT 0 CHECK (debt >= 0),
  PRIMARY KEY (budget, scope, window_start)
) STRICT, WITHOUT ROWID;

CREATE TABLE sink_cursor (
  sink     TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,
  rejected INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_record_is_never_changed BEFORE UPDATE ON audit_record BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;
CREATE TRIGGER audit_record_is_never_deleted BEFORE DELETE ON audit_record BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;
CREATE TRIGGER merkle_node_is_never_changed BEFORE UPDATE ON merkle_node BEGIN SELECT RAISE(ABORT, 'nodes of the log are never changed'); END;
CREATE TRIGGER merkle_node_is_never_deleted BEFORE DELETE ON merkle_node BEGIN SELECT RAISE(ABORT, 'nodes of the log are never deleted'); END;
CREATE TRIGGER usage_event_is_never_changed BEFORE UPDATE ON usage_event BEGIN SELECT RAISE(ABORT, 'usage events are never changed'); END;
CREATE TRIGGER usage_event_is_never_deleted BEFORE DELETE ON usage_event BEGIN SELECT RAISE(ABORT, 'usage events are never deleted'); END;
`;
