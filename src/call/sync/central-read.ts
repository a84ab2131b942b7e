/** Reads the central ledger back: sums by the hour, single events, and whole logs in order. */
import type { Client as PgClient } from "pg";
import type { HourSums } from "../record/usage-hours.ts";
import { hourSums, QUANTITIES } from "./call-meters.ts";
import { connectCentral } from "./central.ts";
import { amountsIn } from "./central-schema.ts";

export type CentralSums = HourSums;

/** Events of one id, up to the number where the books went on under another. */
export type CentralSpan = { readonly gateway: string; readonly before: number | null };

export type CentralEvent = {
  readonly sequence: number;
  readonly id: string;
  readonly type: string;
  readonly time: string;
  readonly subject: string;
  readonly record: number;
  readonly data: unknown;
};
export type CentralRecord = {
  readonly sequence: number;
  readonly kind: string;
  readonly call_id: string | null;
  readonly leaf: string;
  readonly body: string;
};
export type ActRecord = { readonly gateway: string; readonly sequence: number; readonly leaf: string; readonly body: string };
export type CentralCheckpoint = { readonly size: number; readonly root: string; readonly note: string };

export type CentralReader = {
  gateways(): Promise<readonly string[]>;
  /** By the beginning of the hour. */
  hours(spans: readonly CentralSpan[], sinceMs: number, untilMs: number): Promise<ReadonlyMap<number, CentralSums>>;
  /** What is held under these numbers; more than one row where its keys are gone. */
  events(gateway: string, sequences: readonly number[]): Promise<readonly CentralEvent[]>;
  eventsWithin(span: CentralSpan, sinceMs: number, untilMs: number, after: number, limit: number): Promise<readonly CentralEvent[]>;
  eventsAfter(gateway: string, after: number, limit: number): Promise<readonly CentralEvent[]>;
  recordsAfter(gateway: string, after: number, limit: number): Promise<readonly CentralRecord[]>;
  checkpoints(gateway: string): Promise<readonly CentralCheckpoint[]>;
  /** Records of those kinds, of every gateway. */
  acts(kinds: readonly string[]): Promise<readonly ActRecord[]>;
  /** The number of the last event whose record has a smaller number than that; null: there is none. */
  lastEventBefore(gateway: string, record: number): Promise<number | null>;
  close(): Promise<void>;
};

const HOUR_SECONDS = 3_600;
const amount = (name: string) => `coalesce((data -> 'quantity' ->> '${name}')::bigint, 0)`;
const EVENT = "sequence, id, type, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS time, subject, record, data";
const FURTHER = `(data -> 'quantity') - ARRAY[${QUANTITIES.map((name) => `'${name}'`).join(", ")}]`;
const SPANS = `FROM tollgate_event AS e JOIN json_to_recordset($1::json) AS span (gateway text, before bigint)
  ON e.gateway = span.gateway AND (span.before IS NULL OR e.sequence < span.before)
  WHERE time >= to_timestamp($2::float8 / 1000) AND time < to_timestamp($3::float8 / 1000)`;
const HOUR = `floor(extract(epoch FROM time) / ${HOUR_SECONDS})::bigint AS hour`;
const SPAN =
  "gateway = $1 AND ($2::bigint IS NULL OR sequence < $2) AND time >= to_timestamp($3::float8 / 1000) AND time < to_timestamp($4::float8 / 1000)";

/** Throws `NotDelivered` where nobody answers. */
export async function openCentralReader(url: string, timeoutMs: number): Promise<CentralReader> {
  const client: PgClient = await connectCentral(url, timeoutMs);
  const all = async <T extends object>(sql: string, values: readonly unknown[]): Promise<T[]> =>
    (await client.query<T>(sql, [...values])).rows;
  return {
    gateways: async () =>
      (
        await all<{ gateway: string }>(
          "SELECT gateway FROM tollgate_record UNION SELECT gateway FROM tollgate_event UNION SELECT gateway FROM tollgate_checkpoint ORDER BY 1",
          [],
        )
      ).map(({ gateway }) => gateway),
    async hours(spans, sinceMs, untilMs) {
      const values = [JSON.stringify(spans), sinceMs, untilMs];
      const rows = await all<{ hour: number; events: number } & Record<(typeof QUANTITIES)[number], number>>(
        `SELECT ${HOUR}, count(*) AS events, ${QUANTITIES.map((name) => `sum(${amount(name)})::bigint AS ${name}`).join(", ")} ${SPANS} GROUP BY 1`,
        values,
      );
      // Few events count beyond the columns: only theirs are taken apart.
      const further = await all<{ hour: number; meter: string; amount: number }>(
        `SELECT ${HOUR}, meter, sum(amount)::bigint AS amount FROM (SELECT e.* ${SPANS} AND ${FURTHER} <> '{}') AS e
           CROSS JOIN LATERAL ${amountsIn(FURTHER)} AS m GROUP BY 1, 2 HAVING sum(amount) <> 0`,
        values,
      );
      const meters = Map.groupBy(further, ({ hour }) => hour);
      return new Map(
        rows.map(({ hour, events, ...columns }) => [
          hour * HOUR_SECONDS * 1_000,
          hourSums(
            events,
            columns,
            (meters.get(hour) ?? []).map((each) => [each.meter, each.amount]),
          ),
        ]),
      );
    },
    events: (gateway, sequences) =>
      all(`SELECT ${EVENT} FROM tollgate_event WHERE gateway = $1 AND sequence = ANY ($2::bigint[]) ORDER BY sequence`, [
        gateway,
        sequences,
      ]),
    eventsWithin: ({ gateway, before }, sinceMs, untilMs, after, limit) =>
      all(`SELECT ${EVENT} FROM tollgate_event WHERE ${SPAN} AND sequence > $5 ORDER BY sequence LIMIT $6`, [
        gateway,
        before,
        sinceMs,
        untilMs,
        after,
        limit,
      ]),
    eventsAfter: (gateway, after, limit) =>
      all(`SELECT ${EVENT} FROM tollgate_event WHERE gateway = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`, [gateway, after, limit]),
    recordsAfter: (gateway, after, limit) =>
      all(
        `SELECT sequence, kind, call_id, encode(leaf, 'hex') AS leaf, body FROM tollgate_record WHERE gateway = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`,
        [gateway, after, limit],
      ),
    checkpoints: (gateway) =>
      all(`SELECT size, encode(root, 'hex') AS root, note FROM tollgate_checkpoint WHERE gateway = $1 ORDER BY size`, [gateway]),
    acts: (kinds) =>
      all(
        `SELECT gateway, sequence, encode(leaf, 'hex') AS leaf, body FROM tollgate_record WHERE kind = ANY ($1::text[]) ORDER BY gateway, sequence`,
        [kinds],
      ),
    async lastEventBefore(gateway, record) {
      const sql = "SELECT sequence FROM tollgate_event WHERE gateway = $1 AND record < $2 ORDER BY sequence DESC LIMIT 1";
      return (await all<{ sequence: number }>(sql, [gateway, record]))[0]?.sequence ?? null;
    },
    close: async () => {
      await client.end().catch(() => {});
    },
  };
}
