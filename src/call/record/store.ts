/** The journal's database: its pragmas, and the lock that keeps a second process out. The one home of SQLite in the data plane. */
import { chmodSync, closeSync, fsyncSync, lstatSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { PAGE_BYTES, SCHEMA_VERSION, schemaFrom } from "./schema.ts";

export type Store = Database.Database;
export type Statement = Database.Statement;

export const JOURNAL_FILE = "journal.db";
// SQLite 3.7.0 to 3.51.2 could lose commits when a WAL was reset at the wrong moment.
const SQLITE_VERSION_MIN = [3, 51, 3] as const;
const BUSY_TIMEOUT_MS = 5_000;

/** A long reader (backup, verify) lets the WAL grow; once it is gone, the next reset cuts it back to this. */
const WAL_BYTES_KEPT = 67_108_864;

/** Opens `<dataDir>/journal.db` for the one writer. `make` false: a file that is gone is an error, never an empty journal. */
export function openStore(dataDir: string, make: boolean): Store {
  prepareFolder(dataDir);
  const file = join(dataDir, JOURNAL_FILE);
  refuseOddFile(file);
  const store = new Database(file, { fileMustExist: !make });
  try {
    chmodSync(file, 0o600);
    prepareStore(store, file);
    syncFolder(dataDir);
  } catch (fault) {
    store.close();
    throw fault;
  }
  return store;
}

function prepareStore(store: Store, file: string): void {
  assertVersion(store);
  store.pragma(`page_size = ${PAGE_BYTES}`);
  const mode = store.pragma("journal_mode = WAL", { simple: true });
  if (mode !== "wal") throw new Error(`${file} lies on a file system that cannot hold a write-ahead log (journal mode ${String(mode)})`);
  // The package's build would run WAL at NORMAL, which loses acknowledged commits on power loss.
  store.pragma("synchronous = FULL");
  // A permit's row goes when its call is settled: without this its words would stay in free pages, whatever is erased later.
  store.pragma("secure_delete = ON");
  store.pragma("trusted_schema = OFF");
  store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  store.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`);
  migrate(store, file);
  store.pragma("foreign_keys = ON");
}

/** The name of a new file must survive a power loss as well as its content. */
export function syncFolder(dataDir: string): void {
  const folder = openSync(dataDir, "r");
  fsyncSync(folder);
  closeSync(folder);
}

/** A connection that cannot write; works on a live journal and on a copied file. */
export function openReader(file: string): Store {
  const store = new Database(file, { readonly: true, fileMustExist: true });
  store.pragma("trusted_schema = OFF");
  store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return store;
}

/** A copy that nobody else has open, to be changed before it is used. */
export function openCopy(file: string): Store {
  const store = new Database(file, { fileMustExist: true });
  store.pragma("trusted_schema = OFF");
  store.pragma("synchronous = FULL");
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

/** The gateway's id: made once, kept in the journal, the `source` of every event and record. */
export function sourceOf(store: Store, newSource: string): string {
  store.prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('source', ?)").run(newSource);
  return String(store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get());
}

/** Which file the path leads to now; changes when it is replaced or removed. */
export function fileIdentity(dataDir: string): string {
  const found = lstatSync(join(dataDir, JOURNAL_FILE), { throwIfNoEntry: false });
  return found === undefined ? "none" : `${found.dev}:${found.ino}`;
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
  store.pragma("foreign_keys = OFF");
  // One transaction: a kill between statements leaves either nothing or all of it.
  store.transaction(() => {
    store.exec(schemaFrom(version === 1 ? 1 : 0));
    const [broken] = store.pragma("foreign_key_check") as unknown[];
    if (broken !== undefined)
      throw new Error(`${file} cannot be brought to schema ${SCHEMA_VERSION}: ${JSON.stringify(broken)} refers to nothing`);
    store.pragma(`user_version = ${SCHEMA_VERSION}`);
  })();
}
