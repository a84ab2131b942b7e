/** The time that all who share a registry agree on: its database's, so that no gateway's wrong clock ends what another has kept. */
import { sql } from "kysely";
import type { ControlStore } from "./store.ts";

/** Of the moment when the statement began; the same value in all of it, so that an index serves. */
export const DATABASE_NOW_MS = sql<number>`(extract(epoch FROM statement_timestamp()) * 1000)::bigint`;

/** Where nobody else writes, the gateway's own. */
export async function agreedNowMs({ db, shared }: Pick<ControlStore, "db" | "shared">, now: () => number): Promise<number> {
  if (!shared) return now();
  const { rows } = await sql<{ now: string | number }>`SELECT ${DATABASE_NOW_MS} AS now`.execute(db);
  return Number(rows[0]?.now);
}
