/** What the journal knows of a key that a caller gave a call, with how that call ended. */
import type { KnownKey } from "./retry-key.ts";
import type { Store } from "./store.ts";

type KeyRow = Omit<KnownKey, "record"> & { readonly body: string | null };

/** Null: it is free, or its time is over. */
export function keyReader(store: Store): (key: string, nowMs: number) => KnownKey | null {
  const find = store.prepare(
    `SELECT k.fingerprint, k.call_id AS callId, k.run_id AS runId, k.state, k.expires_ms AS expiresMs, k.replay_until_ms AS replayUntilMs, k.result, r.body
     FROM retry_key AS k LEFT JOIN audit_record AS r ON r.call_id = k.run_id AND r.kind = 'call'
     WHERE k.key = ? AND k.expires_ms > ?`,
  );
  return (key, nowMs) => {
    const row = find.get(key, nowMs) as KeyRow | undefined;
    if (row === undefined) return null;
    const { body, ...known } = row;
    return { ...known, record: recordIn(body) };
  };
}

/** A purged record has no members left. */
function recordIn(body: string | null): KnownKey["record"] {
  if (body === null) return null;
  const { outcome = null, settlement = null, usage = null } = JSON.parse(body) as Partial<NonNullable<KnownKey["record"]>>;
  return { outcome, settlement, usage };
}
