/** The control plane's database: SQLite in the data folder, or the PostgreSQL that several gateways share. The one home of both drivers there. */
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { Kysely, PostgresDialect, SqliteDialect, sql, type Transaction } from "kysely";
import type { ClientConfig, Pool } from "pg";
import { type ChangeKind, FROM_VERSION_1, SCHEMA_VERSION, schemaFor, TABLES_OF_VERSION_1, type Tables } from "./tables.ts";

/** Within `write`: what every gateway must look at again once this is committed. */
export type Writing = { readonly db: Transaction<Tables>; changed(kind: ChangeKind, id: string): Promise<void> };

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

function openSqlite(dataDir: string): ControlStore {
  const database = openSqliteFile(dataDir, "control.db", SCHEMA_VERSION, (store, from) => {
    if (from === 1) for (const table of TABLES_OF_VERSION_1) store.exec(`ALTER TABLE ${table} RENAME TO old_${table}`);
    // An index keeps its name when its table is renamed.
    if (from === 1) store.exec("DROP INDEX credential_by_agent; DROP INDEX oauth_item_by_expiry");
    for (const statement of schemaFor("sqlite")) store.exec(statement);
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

const CONNECTIONS_MAX = 8;
const CONNECT_TIMEOUT_MS = 5_000;
/** A question of the registry is answered in milliseconds; a hung server must not hang a request. */
const QUERY_TIMEOUT_MS = 5_000;
const CHANNEL = "tollgate_change";
/** Any number, the same in every gateway: writers of one registry take turns. */
const WRITERS_LOCK = 7_401_620_026;
const INT8 = 20;
const RELISTEN_MS = 1_000;

async function openPostgres(url: string): Promise<ControlStore> {
  const { default: pg } = await import("pg");
  const options: ClientConfig = {
    connectionString: url,
    application_name: "tollgate",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    statement_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    // Milliseconds since the epoch fit a JavaScript number until the year 287396.
    types: { getTypeParser: (oid: number, format?: "text" | "binary") => (oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) },
  } as ClientConfig;
  const pool: Pool = new pg.Pool({ ...options, max: CONNECTIONS_MAX });
  // A connection that breaks while idle is replaced at the next query, which tells whoever asked.
  pool.on("error", () => {});
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  try {
    await preparePostgres(db);
  } catch (fault) {
    await db.destroy();
    throw new Error(`shared.postgres: ${fault instanceof Error && fault.message !== "" ? fault.message : "cannot be reached"}`);
  }
  let closed = false;
  let listener: InstanceType<typeof pg.Client> | null = null;
  const listen = async (heard: () => void): Promise<void> => {
    const again = () => {
      if (!closed) setTimeout(() => void listen(heard), RELISTEN_MS).unref();
    };
    // No time limit of a query: this one waits for as long as the gateway lives.
    const client = new pg.Client({ ...options, query_timeout: 0 });
    client.on("error", () => void client.end().catch(() => {}));
    client.on("notification", heard);
    try {
      await client.connect();
      listener = client;
      client.on("end", again);
      await client.query(`LISTEN ${CHANNEL}`);
      heard();
    } catch {
      again();
    }
  };
  return {
    db,
    shared: true,
    write: (work) =>
      db.transaction().execute(async (trx) => {
        await sql`SELECT pg_advisory_xact_lock(${WRITERS_LOCK})`.execute(trx);
        let told = false;
        const { changed } = writingTo(trx);
        return await work({
          db: trx,
          async changed(kind, id) {
            await changed(kind, id);
            if (!told) await sql`SELECT pg_notify(${CHANNEL}, '')`.execute(trx);
            told = true;
          },
        });
      }),
    onNotice: listen,
    async close() {
      closed = true;
      await listener?.end().catch(() => {});
      await db.destroy();
    },
  };
}

async function preparePostgres(db: Kysely<Tables>): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`SELECT pg_advisory_xact_lock(${WRITERS_LOCK})`.execute(trx);
    await sql`CREATE TABLE IF NOT EXISTS tollgate_schema (version INTEGER NOT NULL)`.execute(trx);
    const { rows } = await sql<{ version: number }>`SELECT version FROM tollgate_schema`.execute(trx);
    const version = rows[0]?.version ?? 0;
    if (version > SCHEMA_VERSION) throw new Error(`the registry was written by a newer tollgate (schema ${version}); use that one`);
    if (version === SCHEMA_VERSION) return;
    for (const statement of schemaFor("postgres")) await sql.raw(statement).execute(trx);
    await sql`INSERT INTO tollgate_schema (version) VALUES (${SCHEMA_VERSION})`.execute(trx);
  });
}

function writingTo(db: Transaction<Tables>): Writing {
  return {
    db,
    async changed(kind, id) {
      await db.insertInto("change").values({ kind, id, at_ms: Date.now() }).execute();
    },
  };
}
