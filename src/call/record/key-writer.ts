/** Writes the keys that callers gave their calls: taken with the permit, ended with the settlement, gone when their time is over. */
import type { Desk } from "./journal-tasks.ts";
import type { KeyClaim, KeyEnding, KeyRun } from "./retry-key.ts";
import type { Store } from "./store.ts";

export type KeyWriter = {
  /** Throws where another call has it: no second call is permitted under one key, whoever asked for it. */
  take(claim: KeyClaim): void;
  end(ending: KeyEnding): void;
  /** The permit was never acknowledged: nothing was sent. */
  drop(callId: string): void;
};

export function keyWriter(store: Store): KeyWriter {
  const take = store.prepare(
    `INSERT INTO retry_key (key, fingerprint, call_id, run_id, agent, subject, state, expires_ms, replay_until_ms)
     VALUES (@key, @fingerprint, @callId, @callId, @agent, @subject, 'open', @expiresMs, @replayUntilMs)
     ON CONFLICT (key) DO UPDATE SET call_id = iif(state = 'waiting', call_id, excluded.call_id), run_id = excluded.run_id, state = 'open',
       fingerprint = excluded.fingerprint, agent = excluded.agent, subject = excluded.subject, expires_ms = excluded.expires_ms,
       replay_until_ms = excluded.replay_until_ms, result = NULL
     WHERE state = 'waiting' OR expires_ms <= @atMs`,
  );
  const end = store.prepare("UPDATE retry_key SET state = @state, result = @result WHERE key = @key");
  // A later round of which nothing was sent leaves the call where it was: waiting for its client.
  const free = [
    "DELETE FROM retry_key WHERE key = @key AND call_id = run_id",
    "UPDATE retry_key SET state = 'waiting' WHERE key = @key",
  ].map((sql) => store.prepare(sql));
  const keyOf = store.prepare("SELECT key FROM retry_key WHERE run_id = ? AND state = 'open'").pluck();
  const release = (key: string) => {
    for (const statement of free) statement.run({ key });
  };
  return {
    take(claim) {
      if (take.run(claim).changes !== 1) throw new Error(`the key of ${claim.callId} is another call's`);
    },
    end({ key, state, result }) {
      if (state === "free") release(key);
      else end.run({ key, state, result });
    },
    drop(callId) {
      const key = keyOf.get(callId) as string | undefined;
      if (key !== undefined) release(key);
    },
  };
}

/** Which keys go: those whose time is over, in a shared registry only those it needs no word of; an agent's; a person's. */
export type KeysToDrop =
  | { readonly expiredMs: number; readonly runs?: readonly KeyRun[] }
  | { readonly agent: string }
  | { readonly subject: string };

/** Rows in one transaction: with results of 64 KiB each some 20 ms. */
export const KEYS_DROPPED_MAX = 200;

/** A call under way keeps its key: a clock that was behind when it began has written an end that is long over. */
const OVER = `state IN ('open', 'waiting', 'settled') AND expires_ms <= @expiredMs
  AND NOT (state = 'open' AND EXISTS (SELECT 1 FROM open_call WHERE open_call.call_id = run_id))`;

/** Keys whose time is over, as many as go in one transaction. */
export function overKeys(store: Store): (expiredMs: number) => KeyRun[] {
  const find = store.prepare(`SELECT key, run_id AS runId FROM retry_key WHERE ${OVER} LIMIT ${KEYS_DROPPED_MAX}`);
  return (expiredMs) => find.all({ expiredMs }) as KeyRun[];
}

/** How many it took; as many as KEYS_DROPPED_MAX: there may be more. */
export function dropKeys({ store }: Desk, which: KeysToDrop): number {
  const chosen = (where: string) => `key IN (SELECT key FROM retry_key WHERE ${where} LIMIT ${KEYS_DROPPED_MAX})`;
  if ("agent" in which) return store.prepare(`DELETE FROM retry_key WHERE ${chosen("agent = @agent")}`).run(which).changes;
  if ("subject" in which) return store.prepare(`DELETE FROM retry_key WHERE ${chosen("subject = @subject")}`).run(which).changes;
  const { expiredMs, runs } = which;
  const kept = store.prepare(`UPDATE retry_key SET result = NULL WHERE ${chosen("result IS NOT NULL AND replay_until_ms <= @expiredMs")}`);
  const expired = store.prepare(`DELETE FROM retry_key WHERE ${chosen(OVER)}`);
  const one = store.prepare(`DELETE FROM retry_key WHERE key = @key AND run_id = @runId AND ${OVER}`);
  const drop = () =>
    runs === undefined
      ? expired.run({ expiredMs }).changes
      : runs.reduce((count, { key, runId }) => count + one.run({ key, runId, expiredMs }).changes, 0);
  return store.transaction(() => Math.max(kept.run({ expiredMs }).changes, drop()))();
}
