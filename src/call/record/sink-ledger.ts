/** What is kept of each sink: positions move forward only, and never without what was set aside on the way. */
import { START, type Stream } from "./outbox.ts";
import type { Aside, AsideState, Attempt } from "./sink-state.ts";
import type { Store } from "./store.ts";

/** A batch is done: `next` is the one that leaves now, so that both are one commit. */
export type SinkMove = {
  readonly sink: string;
  readonly stream: Stream;
  readonly sequence: number;
  readonly aside: readonly Aside[];
  readonly next: Attempt | null;
};

/** What became of some that were tried again: gone, or aside still. */
export type AsideMove = {
  readonly sink: string;
  readonly stream: Stream;
  readonly gone: readonly number[];
  readonly still: readonly Aside[];
};

export type SinkOpening = {
  readonly sink: string;
  /** The name under which a sink was known before, whose position it takes over. */
  readonly formerly: string | null;
  readonly streams: readonly Stream[];
  /** True: one that is new begins with what comes now, and not with all that there ever was. */
  readonly atPresent: boolean;
};

export function openSink(store: Store, { sink, formerly, streams, atPresent }: SinkOpening): void {
  const known = store.prepare("SELECT 1 FROM sink_position WHERE sink = ?").pluck();
  const insert = store.prepare("INSERT OR IGNORE INTO sink_position (sink, stream, sequence) VALUES (?, ?, ?)");
  const newest: Record<Stream, string> = {
    usage: "SELECT max(sequence) FROM usage_event",
    records: "SELECT max(sequence) FROM audit_record",
    checkpoints: "SELECT max(size) FROM checkpoint",
  };
  store.transaction(() => {
    if (formerly !== null && known.get(sink) === undefined) {
      for (const table of ["sink_position", "sink_attempt", "sink_aside"])
        store.prepare(`UPDATE ${table} SET sink = ? WHERE sink = ?`).run(sink, formerly);
    }
    for (const stream of streams) {
      const present = atPresent ? store.prepare(newest[stream]).pluck().get() : null;
      insert.run(sink, stream, present ?? START[stream]);
    }
  })();
}

export function moveSink(store: Store, { sink, stream, sequence, aside, next }: SinkMove): void {
  const position = store.prepare(
    "INSERT INTO sink_position (sink, stream, sequence) VALUES (?, ?, ?) ON CONFLICT (sink, stream) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
  );
  store.transaction(() => {
    keepAsides(store, sink, aside);
    position.run(sink, stream, sequence);
    keepAttempt(store, sink, stream, next);
  })();
}

/** Null: the sink certainly has nothing of it. */
export function keepAttempt(store: Store, sink: string, stream: Stream, attempt: Attempt | null): void {
  if (attempt === null) store.prepare("DELETE FROM sink_attempt WHERE sink = ? AND stream = ?").run(sink, stream);
  else
    store
      .prepare("INSERT OR REPLACE INTO sink_attempt (sink, stream, first, last, at_ms) VALUES (?, ?, ?, ?, ?)")
      .run(sink, stream, attempt.first, attempt.last, attempt.atMs);
}

export function moveAsides(store: Store, { sink, stream, gone, still }: AsideMove): void {
  const remove = store.prepare("DELETE FROM sink_aside WHERE sink = ? AND stream = ? AND sequence = ?");
  store.transaction(() => {
    for (const sequence of gone) remove.run(sink, stream, sequence);
    keepAsides(store, sink, still);
  })();
}

/** How many are decided in one transaction: calls wait behind it for some ten milliseconds. */
const DECIDED_MAX = 2_000;

/** `send`: they are tried again, now; else the sink is said to have them, or to do without. Returns how many; ask again until none is left. */
export function decideAsides(store: Store, sink: string, states: readonly AsideState[], send: boolean): number {
  const which = `WHERE sink = @sink AND (stream, sequence) IN (
    SELECT stream, sequence FROM sink_aside WHERE sink = @sink AND state IN (SELECT value FROM json_each(@states)) LIMIT ${DECIDED_MAX})`;
  const act = send
    ? `UPDATE sink_aside SET state = 'retry', next_ms = 0, tries = -1, attempt_ms = NULL ${which}`
    : `DELETE FROM sink_aside ${which}`;
  return store.prepare(act).run({ sink, states: JSON.stringify(states) }).changes;
}

export function keepWebhookState(store: Store, webhook: string, state: WebhookState): void {
  store
    .prepare("INSERT OR REPLACE INTO webhook_state (webhook, failing_since_ms, disabled_at_ms, reason) VALUES (?, ?, ?, ?)")
    .run(webhook, state.failingSinceMs, state.disabledAtMs, state.reason);
}

export type WebhookState = {
  readonly failingSinceMs: number | null;
  /** Not null: nothing is sent until somebody enables it again. */
  readonly disabledAtMs: number | null;
  readonly reason: string | null;
};

function keepAsides(store: Store, sink: string, asides: readonly Aside[]): void {
  const keep = store.prepare(
    "INSERT OR REPLACE INTO sink_aside (sink, stream, sequence, state, status, reason, at_ms, tries, next_ms, attempt_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  );
  for (const { stream, sequence, state, status, reason, atMs, tries, nextMs, attemptMs } of asides)
    keep.run(sink, stream, sequence, state, status, reason, atMs, tries, nextMs, attemptMs);
}
