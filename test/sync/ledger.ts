/** A central ledger that a journal's sink writes to, and raw hands on it. */
import pg from "pg";
import { openCentralReader } from "../../src/call/sync/central-read.ts";
import type { Sink } from "../../src/config.ts";
import { Secret } from "../../src/secret.ts";
import { bookStage, later, startOne } from "./stage.ts";

export const centralSink = (url: string, batch = 10, name = "central"): Extract<Sink, { type: "postgres" }> => ({
  type: "postgres",
  name,
  isNamed: true,
  url: new Secret(url),
  everyMs: 3_600_000,
  batch,
  maxPerSecond: 1_000_000,
  send: ["usage", "records", "checkpoints"],
  timeoutMs: 10_000,
  maxAgeMs: null,
  backlogMax: null,
});

export async function ask<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** What an owner of the database can do: the guards go first. */
export async function forge(url: string, sql: string): Promise<void> {
  for (const table of ["tollgate_event", "tollgate_record", "tollgate_checkpoint"])
    await ask(url, `DROP TRIGGER IF EXISTS ${table}_is_never_changed ON ${table}`);
  await ask(url, sql);
}

export async function ledgerStage(url: string, dir?: string) {
  const books = await bookStage(dir);
  const reader = async () => {
    const ledger = await openCentralReader(url, 10_000);
    later(() => ledger.close());
    return ledger;
  };
  return {
    ...books,
    reader: books.reader,
    ledger: reader,
    start: (batch = 10, name = "central") => startOne(books.parts, centralSink(url, batch, name)),
  };
}
