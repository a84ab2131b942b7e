/** Records of what was done, as opposed to calls: what webhooks tell of. */
import { PURGED_BODY } from "./schema.ts";
import type { WebhookState } from "./sink-ledger.ts";
import type { Store } from "./store.ts";

export type ActRow = { readonly sequence: number; readonly kind: string; readonly body: string };
export type ActPage = {
  readonly acts: readonly ActRow[];
  /** All records up to here have been looked at. */
  readonly reached: number;
};

/** Records looked through for one answer: some 30 ms. */
const SCAN_MAX = 20_000;

export function actReader(store: Store) {
  const newest = store.prepare("SELECT coalesce(max(sequence), -1) FROM audit_record").pluck();
  const matching = "kind NOT IN ('call', 'stream.closed') AND EXISTS (SELECT 1 FROM json_each(@patterns) WHERE kind GLOB value)";
  // Of one that was purged nothing is left to tell.
  const whole = `body <> '${PURGED_BODY}'`;
  const beyond = store.prepare(
    `SELECT sequence, kind, body FROM audit_record WHERE sequence > @after AND sequence <= @until AND ${matching} AND ${whole} ORDER BY sequence LIMIT @limit`,
  );
  const one = store.prepare(`SELECT sequence, kind, body FROM audit_record WHERE sequence = ? AND ${whole}`);
  const position = store.prepare("SELECT sequence FROM sink_position WHERE sink = ? AND stream = 'records'").pluck();
  const state = store.prepare(
    "SELECT failing_since_ms AS failingSinceMs, disabled_at_ms AS disabledAtMs, reason FROM webhook_state WHERE webhook = ?",
  );
  return {
    /** Kinds by pattern, `*` for anything; calls are never among them. */
    after(after: number, patterns: readonly string[], limit: number): ActPage {
      const until = Math.min(after + SCAN_MAX, Number(newest.get()));
      const acts = beyond.all({ after, until, patterns: JSON.stringify(patterns), limit }) as ActRow[];
      return { acts, reached: acts.length < limit ? Math.max(after, until) : (acts.at(-1)?.sequence ?? after) };
    },
    /** Those that are there; purged ones are not. */
    at: (sequences: readonly number[]) => sequences.flatMap((sequence) => (one.get(sequence) as ActRow | undefined) ?? []),
    position: (sink: string) => Number(position.get(sink) ?? -1),
    webhookState: (webhook: string): WebhookState =>
      (state.get(webhook) as WebhookState | undefined) ?? { failingSinceMs: null, disabledAtMs: null, reason: null },
  };
}
