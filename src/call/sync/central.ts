/** The central ledger in PostgreSQL: takes batches in one statement each, and says where it holds something else under a number. */
import type { ClientConfig, Client as PgClient } from "pg";
import type { Item } from "../record/outbox.ts";
import { CENTRAL_SCHEMA, CENTRAL_TABLES, CONFLICTS, INSERTS } from "./central-schema.ts";
import { sayable, secretsOfUrl } from "./sayable.ts";
import { type Answer, type ItemFault, NotDelivered, REASON_CHARACTERS_MAX, type Target } from "./target.ts";

export type CentralOptions = {
  /** Reveals the URL, which may hold a password, at the moment of use. */
  readonly url: () => string;
  readonly timeoutMs: number;
  /** The gateway's id. */
  readonly gateway: string;
};

const CONNECT_TIMEOUT_MS = 5_000;
/** Any number, the same in every gateway: they take turns at making the tables. */
const SCHEMA_LOCK = 7_401_620_027;
const INT8 = 20;
const WORDS_CHARACTERS_MAX = 4_096;

export function createCentral(options: CentralOptions): Target {
  let open: PgClient | null = null;
  const connection = async (): Promise<PgClient> => {
    if (open !== null) return open;
    const client = await connectCentral(options.url(), options.timeoutMs);
    const forget = () => {
      if (open === client) open = null;
    };
    client.on("error", forget);
    client.on("end", forget);
    try {
      await prepareCentral(client);
    } catch (fault) {
      await client.end().catch(() => {});
      throw new NotDelivered(wordsOf(fault, options.url()), "not_taken");
    }
    open = client;
    return client;
  };
  const drop = async () => {
    const client = open;
    open = null;
    await client?.end().catch(() => {});
  };
  return {
    async send(items, stopping): Promise<Answer> {
      const [first] = items;
      if (first === undefined) return { kind: "taken", faults: [] };
      const client = await connection();
      // A statement that is under way when the gateway stops ends with its connection; the ledger has all of it or nothing.
      const end = () => void drop();
      stopping.addEventListener("abort", end, { once: true });
      try {
        const faults: ItemFault[] = [];
        // After a restored backup there may be some that were numbered under the id before.
        for (const [gateway, theirs] of Map.groupBy(items, (item) => item.gateway ?? options.gateway))
          faults.push(...(await insert(client, theirs, first.stream, gateway)));
        return { kind: "taken", faults };
      } catch (fault) {
        const code = sqlStateOf(fault);
        if (code !== null && isBadContent(code)) return { kind: "bad", status: null, reason: `the ledger refuses it (SQLSTATE ${code})` };
        await drop();
        throw new NotDelivered(wordsOf(fault, options.url()), "unknown");
      } finally {
        stopping.removeEventListener("abort", end);
      }
    },
    close: drop,
  };
}

/** Throws `NotDelivered` where nobody answers. */
export async function connectCentral(url: string, timeoutMs: number): Promise<PgClient> {
  const { default: pg } = await import("pg");
  const config: ClientConfig = {
    connectionString: url,
    application_name: "tollgate sync",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: timeoutMs,
    statement_timeout: timeoutMs,
    keepAlive: true,
    // Sequences stay below 2^53.
    types: { getTypeParser: (oid: number, format?: "text" | "binary") => (oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) },
  } as ClientConfig;
  const client = new pg.Client(config);
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (fault) {
    await client.end().catch(() => {});
    throw new NotDelivered(wordsOf(fault, url), "not_taken");
  }
  return client;
}

/** Makes the tables where they are missing; a role that may only write needs them made by another. */
async function prepareCentral(client: PgClient): Promise<void> {
  const { rows } = await client.query<{ name: string }>("SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL", [
    [...CENTRAL_TABLES, "tollgate_gap", "tollgate_amount"],
  ]);
  if (rows.length === 0) return;
  try {
    await client.query("BEGIN");
    await client.query("SELECT pg_advisory_xact_lock($1)", [SCHEMA_LOCK]);
    await client.query(CENTRAL_SCHEMA);
    await client.query("COMMIT");
  } catch (fault) {
    await client.query("ROLLBACK").catch(() => {});
    if (sqlStateOf(fault) !== "42501") throw fault;
    const tables: readonly string[] = CENTRAL_TABLES;
    // Views are for whoever reads: what is to be written does not wait for them.
    if (!rows.some(({ name }) => tables.includes(name))) return;
    throw new Error("the tables are missing and this role may not make them: let their owner run the output of tollgate sync schema");
  }
}

/** What is there already is no error, unless it is something else: that is told, and never overwritten. */
async function insert(client: PgClient, items: readonly Item[], stream: Item["stream"], gateway: string): Promise<ItemFault[]> {
  const rows = `[${items.map(rowText).join(",")}]`;
  const written = await client.query(INSERTS[stream], [gateway, rows]);
  if (written.rowCount === items.length) return [];
  const { rows: conflicts } = await client.query<{ sequence: number }>(CONFLICTS[stream], [gateway, rows]);
  return conflicts.map(({ sequence }): ItemFault => ({ sequence, status: null, reason: CONFLICT, retry: false }));
}

export const CONFLICT = "conflict: the ledger holds something else under this number or id";

function rowText(item: Item): string {
  if (item.stream === "usage") {
    const { sequence, id, type, time, subject, record, data } = item;
    return `${JSON.stringify({ sequence, id, type, time, subject, record }).slice(0, -1)},"data":${data}}`;
  }
  if (item.stream === "records") {
    const { sequence, kind, callId, leaf, body } = item;
    return JSON.stringify({ sequence, kind, call_id: callId, leaf, body });
  }
  const { sequence, atMs, root, note } = item;
  return JSON.stringify({ sequence, time: new Date(atMs ?? 0).toISOString(), root, note });
}

/** Classes 22 and 23: data that the ledger cannot hold. 54: too much of it. */
function isBadContent(code: string): boolean {
  return /^(22|23|54)/.test(code);
}

function sqlStateOf(fault: unknown): string | null {
  return fault instanceof Error && "severity" in fault && "code" in fault ? String(fault.code) : null;
}

/** The server's own words, without the password: a server that was given it may say it back. */
function wordsOf(fault: unknown, url: string): string {
  const inner = fault instanceof AggregateError ? fault.errors[0] : fault;
  const message = inner instanceof Error && inner.message !== "" ? inner.message : "the ledger cannot be reached";
  if (message.length > WORDS_CHARACTERS_MAX) return "the ledger says more than is kept";
  return sayable(message, secretsOfUrl(url)).slice(0, REASON_CHARACTERS_MAX);
}
