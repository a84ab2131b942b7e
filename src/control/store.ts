/** The control plane's database: SQLite in the data folder, or the PostgreSQL that several gateways share.  */
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { Kysely, SqliteDialect } from "kysely";
import { openPostgres } from "./postgres.ts";
import { FROM_VERSION_1, isOldVersion, SCHEMA_VERSION, schemaFor, TABLES_OF_VERSION_1 } from "./schema.ts";
import type { Tables } from "./tables.ts";
import { type Writing, writingTo } from "./writing.ts";

export type ControlStore = {
  readonly db: Kysely<Tables>;
  /** One writer at a time, across all gateways: what is read within stays true until it is committed. */
  write<T>(work: (writing: Writing) => Promise<T>): Promise<T>;
  /** Calls back as soon as another gateway may have written; its answer is a remedy for impatience, not a promise. */
  onNotice(heard: () => void): Promise<void>;
  /** True where other gateways write too. */
  readonly shared: boolean;
  close(): Promise<void>;
};

const BUSY_TIMEOUT_MS = 5_000;
/** Of somebody who only wants to know more, and goes on without. */
const READ_TIMEOUT_MS = 1_000;
const CONTROL_FILE = "control.db";

export async function openControlStore(dataDir: string, postgres: string | null = null): Promise<ControlStore> {
  return postgres === null ? openSqlite(dataDir) : await openPostgres(postgres);
}

/** A private SQLite file of the data folder, made safe; `prepare` runs in it before anybody else. */
export function openSqliteFile(dataDir: string, name: string, version: number, prepare: (store: Database.Database, from: number) => void) {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, name);
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) throw new Error(`${file} is not a regular file`);
  const store = new Database(file);
  try {
    chmodSync(file, 0o600);
    store.pragma("journal_mode = WAL");
    store.pragma("synchronous = FULL");
    store.pragma("trusted_schema = OFF");
    // A destroyed key must not linger in a free page.
    store.pragma("secure_delete = ON");
    store.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    const from = Number(store.pragma("user_version", { simple: true }));
    if (from > version) throw new Error(`${file} was written by a newer tollgate (schema ${from}); use that one`);
    if (from < version) {
      store.transaction(() => {
        prepare(store, from);
        store.pragma(`user_version = ${version}`);
      })();
    }
    store.pragma("foreign_keys = ON");
    return store;
  } catch (fault) {
    store.close();
    // SQLite does not say which file it means.
    const why = fault instanceof Error ? fault.message : String(fault);
    throw new Error(why.includes(file) ? why : `${file}: ${why}`);
  }
}

/** Null: there is none, or one of an older version, which the gateway brings up to date when it starts. */
export function openSqliteToRead(dataDir: string): Kysely<Tables> | null {
  const file = join(dataDir, CONTROL_FILE);
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) return null;
  const database = new Database(file, { readonly: true, fileMustExist: true, timeout: READ_TIMEOUT_MS });
  try {
    database.pragma("trusted_schema = OFF");
    if (Number(database.pragma("user_version", { simple: true })) === SCHEMA_VERSION)
      return new Kysely<Tables>({ dialect: new SqliteDialect({ database }) });
  } catch (fault) {
    database.close();
    throw fault;
  }
  database.close();
  return null;
}

function openSqlite(dataDir: string): ControlStore {
  const database = openSqliteFile(dataDir, CONTROL_FILE, SCHEMA_VERSION, (store, from) => {
    if (from === 1) for (const table of TABLES_OF_VERSION_1) store.exec(`ALTER TABLE ${table} RENAME TO old_${table}`);
    // An index keeps its name when its table is renamed.
    if (from === 1) store.exec("DROP INDEX credential_by_agent; DROP INDEX oauth_item_by_expiry");
    for (const statement of schemaFor("sqlite", isOldVersion(from) ? from : 0)) store.exec(statement);
    if (from !== 1) return;
    for (const statement of FROM_VERSION_1) store.exec(statement);
    for (const table of TABLES_OF_VERSION_1.toReversed()) store.exec(`DROP TABLE old_${table}`);
  });
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database }) });
  return {
    db,
    shared: false,
    // Its one connection belongs to a transaction until that ends, so there is one writer anyhow.
    write: (work) => db.transaction().execute((trx) => work(writingTo(trx))),
    async onNotice() {},
    close: () => db.destroy(),
  };
}
