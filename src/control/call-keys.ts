/** The keys that callers gave their calls, where several gateways share them: every statement is whole, and its clock is the database's. */
import { sql } from "kysely";
import type { KeyClaim, KeyRun, KnownKey } from "../call/record/retry-key.ts";
import { agreedNowMs, DATABASE_NOW_MS } from "./shared-clock.ts";
import type { ControlStore } from "./store.ts";
import type { CallKeyRow } from "./tables.ts";

export type CallKeys = {
  /**
   * Of two at once, wherever they run, one: the key is free, over, or waits for its client with the same question.
   * One whose call is under way is over `OPEN_MS` after its time.
   */
  take(claim: KeyClaim): Promise<boolean>;
  find(key: string): Promise<CallKeyRow | undefined>;
  /** Runs of this gateway that no ending was written of, by their keys, beyond `after`. */
  openRuns(after: string): Promise<readonly KeyRun[]>;
  /** Those of them that the database waits for no word of: it has their endings, or has no such run. */
  said(runs: readonly KeyRun[]): Promise<readonly KeyRun[]>;
  /** Nothing of it was sent. A later round leaves the call where it was: waiting for its client. */
  free(run: KeyRun): Promise<void>;
  /** Its server has asked something. */
  wait(run: KeyRun): Promise<void>;
  settle(run: KeyRun, known: KnownKey): Promise<void>;
  /** Keys that are over go, and results whose time is. */
  drop(): Promise<void>;
  /** The database's clock. */
  nowMs(): Promise<number>;
};

/** Read at once when a gateway starts; a row of a key is some 400 bytes. */
const OPEN_RUNS_MAX = 500;
/** In one statement: with results of 64 KiB each, 90 MB of a table's pages. */
const DROPPED_MAX = 1_000;
/**
 * A call that is under way keeps its key beyond its time: no gateway knows whether another one still makes it. It lasts no longer than this.
 * A server's `timeout` is an hour at most, and begins anew with each part of a call: its tool's definition is read (twice, and twice more
 * where the credential is renewed), a session is begun, and the call is sent (twice where the server has forgotten the session). The rest,
 * the wait of a limit and each guard, is 30 s at most.
 */
export const OPEN_MS = 12 * 3_600_000;

export function callKeys({ db }: Pick<ControlStore, "db">, gateway: string): CallKeys {
  /** The row as this run left it: whoever has taken the key since is not touched. */
  const own = ({ key, runId }: KeyRun) => sql`key = ${key} AND gateway = ${gateway} AND run_id = ${runId} AND state = 'open'`;
  // By a gateway's own clock, a wrong one would free the keys of all.
  const over = sql<boolean>`(call_key.expires_ms <= ${DATABASE_NOW_MS}
    AND (call_key.state <> 'open' OR call_key.expires_ms <= ${DATABASE_NOW_MS} - ${sql.lit(OPEN_MS)}))`;
  /** How long is the claim's, from when is the database's. */
  const after = (spanMs: number) => sql`${DATABASE_NOW_MS} + ${spanMs}::bigint`;
  const wait = async (run: KeyRun) => {
    await sql`UPDATE call_key SET state = 'waiting' WHERE ${own(run)}`.execute(db);
  };
  return {
    async take({ key, fingerprint, callId, agent, subject, atMs, expiresMs, replayUntilMs }) {
      const expires = after(expiresMs - atMs);
      const replayUntil = replayUntilMs === null ? null : after(replayUntilMs - atMs);
      const { rows } = await sql`
        INSERT INTO call_key (key, fingerprint, gateway, call_id, run_id, agent_id, subject, state, expires_ms, replay_until_ms)
        VALUES (${key}, ${fingerprint}, ${gateway}, ${callId}, ${callId}, ${agent}, ${subject}, 'open', ${expires}, ${replayUntil})
        ON CONFLICT (key) DO UPDATE SET
          call_id = CASE WHEN ${over} THEN excluded.call_id ELSE call_key.call_id END,
          fingerprint = excluded.fingerprint, gateway = excluded.gateway, run_id = excluded.run_id, agent_id = excluded.agent_id,
          subject = excluded.subject, state = 'open', expires_ms = excluded.expires_ms, replay_until_ms = excluded.replay_until_ms,
          ended = NULL, result = NULL
        WHERE ${over} OR (call_key.state = 'waiting' AND call_key.fingerprint = excluded.fingerprint)
        RETURNING key`.execute(db);
      return rows.length === 1;
    },
    find: (key) => db.selectFrom("call_key").selectAll().where("key", "=", key).where(sql<boolean>`NOT ${over}`).executeTakeFirst(),
    openRuns: (after) =>
      db
        .selectFrom("call_key")
        .select(["key", "run_id as runId"])
        .where("gateway", "=", gateway)
        .where("state", "=", "open")
        .where("key", ">", after)
        .orderBy("key")
        .limit(OPEN_RUNS_MAX)
        .execute(),
    async said(runs) {
      if (runs.length === 0) return [];
      const keys = runs.map(({ key }) => key);
      const open = await db
        .selectFrom("call_key")
        .select("run_id")
        .where("gateway", "=", gateway)
        .where("state", "=", "open")
        .where("key", "in", keys)
        .execute();
      const unsaid = new Set(open.map(({ run_id }) => run_id));
      return runs.filter(({ runId }) => !unsaid.has(runId));
    },
    async free(run) {
      await sql`DELETE FROM call_key WHERE ${own(run)} AND call_id = run_id`.execute(db);
      await wait(run);
    },
    wait,
    async settle(run, { state, record, result }) {
      const ended = JSON.stringify({ state, record });
      await sql`UPDATE call_key SET state = 'settled', ended = ${ended}, result = ${result} WHERE ${own(run)}`.execute(db);
    },
    async drop() {
      // Gateways sweep at the same time: what one has in hand the others pass over, and none waits for another in a ring.
      const some = (where: ReturnType<typeof sql>) =>
        sql`key IN (SELECT key FROM call_key WHERE ${where} LIMIT ${sql.lit(DROPPED_MAX)} FOR UPDATE SKIP LOCKED)`;
      const kept = some(sql`result IS NOT NULL AND replay_until_ms <= ${DATABASE_NOW_MS}`);
      for (const statement of [sql`DELETE FROM call_key WHERE ${some(over)}`, sql`UPDATE call_key SET result = NULL WHERE ${kept}`])
        while (Number((await statement.execute(db)).numAffectedRows ?? 0n) >= DROPPED_MAX);
    },
    nowMs: () => agreedNowMs({ db, shared: true }, Date.now),
  };
}

/** What a row says to whoever brings its key again, at whichever gateway. */
export function knownIn(row: CallKeyRow): KnownKey {
  const ended = JSON.parse(row.ended ?? "null") as Pick<KnownKey, "state" | "record"> | null;
  return {
    fingerprint: row.fingerprint,
    callId: row.call_id,
    runId: row.run_id,
    state: ended?.state ?? "open",
    expiresMs: row.expires_ms,
    replayUntilMs: row.replay_until_ms,
    result: row.result,
    record: ended?.record ?? null,
  };
}
