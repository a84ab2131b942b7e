/** The registry in a PostgreSQL database that several gateways share: one writer at a time, and notices to all of them. */
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient, sql } from "kysely";
import type { ClientConfig, Pool } from "pg";
import { olderVersion, SCHEMA_VERSION, schemaFor } from "./schema.ts";
import type { ControlStore } from "./store.ts";
import type { Tables } from "./tables.ts";
import { writingTo } from "./writing.ts";

/** The database did not answer: nothing is known of what was asked, and whoever asked may try again. */
export class RegistryAway extends Error {}

const CONNECTIONS_MAX = 8;
const CONNECT_TIMEOUT_MS = 5_000;
/** A question of the registry is answered in milliseconds; a hung server must not hang a request. */
const QUERY_TIMEOUT_MS = 5_000;
const READ_TIMEOUT_MS = 2_000;
const CHANNEL = "tollgate_change";
/** Any number, the same in every gateway: writers of one registry take turns. */
const WRITERS_LOCK = 7_401_620_026;
const INT8 = 20;
const RELISTEN_MS = 1_000;

export async function openPostgres(url: string): Promise<ControlStore> {
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
  // The pool listens to idle connections only: without this, one that breaks in the middle of a transaction ends the process.
  pool.on("connect", (client) => client.on("error", () => {}));
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: telling(pool) }) });
  try {
    await preparePostgres(db);
  } catch (fault) {
    await db.destroy();
    throw new Error(`shared.postgres: ${fault instanceof Error && fault.message !== "" ? fault.message : "cannot be reached"}`);
  }
  let closed = false;
  let listener: InstanceType<typeof pg.Client> | null = null;
  const listen = async (heard: () => void): Promise<void> => {
    // No time limit of a query: this one waits for as long as the gateway lives.
    const client = new pg.Client({ ...options, query_timeout: 0 });
    const ended = () => void client.end().catch(() => {});
    let followed = false;
    // Once for each, in whatever way and however often it is said to have ended.
    const again = () => {
      if (closed || followed) return;
      followed = true;
      setTimeout(() => void listen(heard), RELISTEN_MS).unref();
    };
    client.on("error", ended);
    client.on("end", again);
    client.on("notification", heard);
    try {
      await client.connect();
      // The library never answers a connect that is ended on its way: it is let through, and then ended.
      if (closed) return ended();
      listener = client;
      await client.query(`LISTEN ${CHANNEL}`);
      heard();
    } catch {
      ended();
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
      // Not waited for: a server that hangs does not take its leave.
      void listener?.end().catch(() => {});
      await db.destroy();
    },
  };
}

/** For one who only wants to know more: nothing is made there, and what does not answer soon is away. Null: it was never used. */
export async function openPostgresToRead(url: string): Promise<Kysely<Tables> | null> {
  const { default: pg } = await import("pg");
  const pool: Pool = new pg.Pool({
    ...{ connectionString: url, application_name: "tollgate", max: 1 },
    ...{ connectionTimeoutMillis: READ_TIMEOUT_MS, query_timeout: READ_TIMEOUT_MS, statement_timeout: READ_TIMEOUT_MS },
  });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: telling(pool) }) });
  try {
    const { rows } = await sql<{ there: boolean }>`SELECT to_regclass('tool_pin') IS NOT NULL AS there`.execute(db);
    if (rows[0]?.there === true) return db;
  } catch (fault) {
    await db.destroy();
    throw fault;
  }
  await db.destroy();
  return null;
}

async function preparePostgres(db: Kysely<Tables>): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`SELECT pg_advisory_xact_lock(${WRITERS_LOCK})`.execute(trx);
    await sql`CREATE TABLE IF NOT EXISTS tollgate_schema (version INTEGER NOT NULL)`.execute(trx);
    const { rows } = await sql<{ version: number }>`SELECT version FROM tollgate_schema`.execute(trx);
    const version = rows[0]?.version ?? 0;
    if (version > SCHEMA_VERSION) throw new Error(`the registry was written by a newer tollgate (schema ${version}); use that one`);
    if (version === SCHEMA_VERSION) return;
    for (const statement of schemaFor("postgres", olderVersion(version))) await sql.raw(statement).execute(trx);
    await sql`DELETE FROM tollgate_schema`.execute(trx);
    await sql`INSERT INTO tollgate_schema (version) VALUES (${SCHEMA_VERSION})`.execute(trx);
  });
}

/** What the server itself says of a statement is a fault of ours; all else, and that it shuts down or is full, is that it is away. */
function unlessAnswered(fault: unknown): never {
  const code = fault instanceof Error && "severity" in fault && "code" in fault ? String(fault.code) : null;
  if (code !== null && !/^(08|53|57P)/.test(code)) throw fault;
  throw new RegistryAway("the registry's database is away", { cause: fault });
}

/** The same pool, whose faults tell a database that is away from a statement that is wrong. */
function telling(pool: Pool): PostgresPool {
  return {
    async connect() {
      const client = await pool.connect().catch(unlessAnswered);
      const query = client.query.bind(client) as (...asked: unknown[]) => Promise<unknown>;
      const shown = { query: (...asked: unknown[]) => query(...asked).catch(unlessAnswered), release: () => client.release() };
      return shown as unknown as PostgresPoolClient;
    },
    options: pool.options,
    end: () => pool.end(),
  };
}
