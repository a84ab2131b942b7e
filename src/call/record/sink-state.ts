/** How far a sink is: its positions, what waits, what was set aside and why. */
import { outboxReader, START, STREAMS, type Stream } from "./outbox.ts";
import type { Store } from "./store.ts";

export const ASIDE_STATES = ["retry", "refused", "unknown", "expired"] as const;
/** `retry`: the sink said to come back with it; `unknown`: it may have it, and can no longer be asked by sending again. */
export type AsideState = (typeof ASIDE_STATES)[number];

/** One that did not go the usual way and holds nobody up. It stays in the journal whatever becomes of it here. */
export type Aside = {
  readonly stream: Stream;
  readonly sequence: number;
  readonly state: AsideState;
  readonly status: number | null;
  readonly reason: string;
  readonly atMs: number;
  readonly tries: number;
  /** Of `retry`: not before. */
  readonly nextMs: number | null;
  /** Since when the sink may have it although it has not said so; null: it has not. */
  readonly attemptMs: number | null;
};

/** A batch that a sink may have although it has not said so, and since when. */
export type Attempt = { readonly first: number; readonly last: number; readonly atMs: number };

export type StreamState = {
  readonly stream: Stream;
  /** The last one that the sink has acknowledged. */
  readonly sequence: number;
  readonly newest: number;
  readonly pending: number;
  /** When the oldest that is pending was written; null where none is. */
  readonly oldestMs: number | null;
  readonly attempt: Attempt | null;
};

export type SinkState = {
  readonly streams: readonly StreamState[];
  readonly aside: Readonly<Record<AsideState, number>>;
};

export type ListedAside = Aside & { readonly sink: string; readonly id: string };

/** How many are listed at once. */
const ASIDES_MAX = 1_000;

const ASIDE_COLUMNS = "stream, sequence, state, status, reason, at_ms AS atMs, tries, next_ms AS nextMs, attempt_ms AS attemptMs";

export function sinkReader(store: Store) {
  const positionOf = store.prepare("SELECT sequence FROM sink_position WHERE sink = ? AND stream = ?").pluck();
  const attemptOf = store.prepare("SELECT first, last, at_ms AS atMs FROM sink_attempt WHERE sink = ? AND stream = ?");
  const countOf = store.prepare("SELECT state, count(*) AS count FROM sink_aside WHERE sink = ? GROUP BY state");
  const due = store.prepare(
    `SELECT ${ASIDE_COLUMNS} FROM sink_aside WHERE sink = ? AND state = 'retry' AND next_ms <= ? ORDER BY stream, sequence LIMIT ?`,
  );
  const listed = store.prepare(
    `SELECT sink, ${ASIDE_COLUMNS} FROM sink_aside WHERE (@sink IS NULL OR sink = @sink) AND (@state IS NULL OR state = @state)
       AND (sink, stream, sequence) > (@afterSink, @afterStream, @afterSequence) ORDER BY sink, stream, sequence LIMIT @limit`,
  );
  const one = (sql: string) => store.prepare(sql).pluck();
  const newest: Record<Stream, ReturnType<typeof one>> = {
    usage: one("SELECT max(sequence) FROM usage_event"),
    records: one("SELECT max(sequence) FROM audit_record"),
    checkpoints: one("SELECT max(size) FROM checkpoint"),
  };
  const oldest: Record<Stream, ReturnType<typeof one>> = {
    usage: one("SELECT at_ms FROM usage_event WHERE sequence > ? ORDER BY sequence LIMIT 1"),
    records: one("SELECT unixepoch(body ->> '$.time_end', 'subsec') * 1000 FROM audit_record WHERE sequence > ? ORDER BY sequence LIMIT 1"),
    checkpoints: one("SELECT at_ms FROM checkpoint WHERE size > ? ORDER BY size LIMIT 1"),
  };
  const checkpointsBeyond = one("SELECT count(*) FROM checkpoint WHERE size > ?");
  const outbox = outboxReader(store);

  const streamState = (sink: string, stream: Stream): StreamState => {
    const sequence = Number(positionOf.get(sink, stream) ?? START[stream]);
    const last = Number(newest[stream].get() ?? START[stream]);
    const pending = stream === "checkpoints" ? Number(checkpointsBeyond.get(sequence)) : Math.max(0, last - sequence);
    const at = pending === 0 ? null : oldest[stream].get(sequence);
    const attempt = (attemptOf.get(sink, stream) as Attempt | undefined) ?? null;
    return { stream, sequence, newest: last, pending, oldestMs: at == null ? null : Math.round(Number(at)), attempt };
  };
  return {
    state(sink: string, streams: readonly Stream[] = STREAMS): SinkState {
      const aside = { retry: 0, refused: 0, unknown: 0, expired: 0 };
      for (const { state, count } of countOf.all(sink) as { state: AsideState; count: number }[]) aside[state] = count;
      return { streams: streams.map((stream) => streamState(sink, stream)), aside };
    },
    /** Those of `retry` whose time has come. */
    due: (sink: string, nowMs: number, limit: number) => due.all(sink, nowMs, limit) as Aside[],
    list(question: AsideQuestion): ListedAside[] {
      const { sink, state, after, limit } = question;
      const [afterSink, afterStream, afterSequence] = after ?? ["", "", -1];
      const rows = listed.all({ sink, state, afterSink, afterStream, afterSequence, limit: Math.min(limit, ASIDES_MAX) }) as Omit<
        ListedAside,
        "id"
      >[];
      return rows.map((row) => ({ ...row, id: outbox.at(row.stream, [row.sequence])[0]?.id ?? String(row.sequence) }));
    },
  };
}

export type AsideQuestion = {
  readonly sink: string | null;
  readonly state: AsideState | null;
  /** Sink, stream and sequence of the last one that was listed. */
  readonly after: readonly [string, string, number] | null;
  readonly limit: number;
};
