/** What of the journal has been kept for long enough, and what stands in the way of its end. */
import type { AuditRecord } from "./audit-record.ts";
import { type Erasure, erasuresIn } from "./erasure.ts";
import { CLOCK_BACK_MS, sequenceReader } from "./history.ts";
import { holdsIn, isHeld, type LegalHold } from "./legal-hold.ts";
import { KEPT_KINDS, mayGo } from "./purge.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";

export type PurgeQuestion = {
  /** The first record of the page. */
  readonly from: number;
  /** Milliseconds since the epoch: what ended before. */
  readonly beforeMs: number;
  /** Of this agent, up to this sequence number; null: of all. */
  readonly of: Pick<Erasure, "agent" | "until_sequence"> | null;
  /** Names of the sinks that still have to receive what is in the journal. */
  readonly sinks: readonly string[];
};

/** Records that have to stay for now: too young (only counted of an agent), under a legal hold, not yet acknowledged by every sink. */
export type Kept = { readonly young: number; readonly held: number; readonly unsent: number };

export type PurgePage = {
  /** Ascending. */
  readonly sequences: readonly number[];
  readonly kept: Kept;
  /** Null: this was the last page. */
  readonly next: number | null;
};

export type RetentionState = {
  readonly holds: readonly LegalHold[];
  readonly erasures: readonly Erasure[];
  readonly records: number;
  readonly purged: number;
  /** When the oldest record that is still whole ended, RFC 3339. */
  readonly oldest: string | null;
};

/** Records read for one page: about 5 MB and 50 ms. */
const PAGE_RECORDS = 2_000;

export function purgeableReader(store: Store): (question: PurgeQuestion) => PurgePage {
  const first = sequenceReader(store);
  const size = store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck();
  const bodies = store.prepare(
    `SELECT sequence, body FROM audit_record WHERE sequence >= ? AND sequence < ? AND body <> '${PURGED_BODY}' ORDER BY sequence LIMIT ${PAGE_RECORDS}`,
  );
  const unsent = unsentFrom(store);
  return ({ from, beforeMs, of, sinks }) => {
    // Of an agent every record is looked at, also the young ones: what stays is told.
    const end = of === null ? first(beforeMs + 2 * CLOCK_BACK_MS) : Math.min(of.until_sequence, Number(size.get()));
    const unsentSequence = unsent(sinks);
    const holds = holdsIn(store);
    const sequences: number[] = [];
    const kept = { young: 0, held: 0, unsent: 0 };
    const rows = bodies.all(from, end) as { sequence: number; body: string }[];
    for (const { sequence, body } of rows) {
      const record = JSON.parse(body) as AuditRecord;
      if (of !== null && record.agent?.id !== of.agent && record.details?.agent_id !== of.agent) continue;
      if (KEPT_KINDS.includes(record.kind)) continue;
      if (mayGo(record, [], beforeMs)) {
        if (isHeld(record, holds)) kept.held += 1;
        else if (sequence >= unsentSequence) kept.unsent += 1;
        else sequences.push(sequence);
      } else if (of !== null) kept.young += 1;
    }
    const last = rows.at(-1);
    return { sequences, kept, next: last !== undefined && rows.length === PAGE_RECORDS ? last.sequence + 1 : null };
  };
}

/** The first record that a sink, or an event of it that a sink, has not acknowledged yet. */
function unsentFrom(store: Store): (sinks: readonly string[]) => number {
  const position = store.prepare(
    `SELECT stream, min(sequence) AS sequence FROM sink_position WHERE sink IN (SELECT value FROM json_each(?)) GROUP BY stream`,
  );
  const aside = store.prepare(
    "SELECT stream, min(sequence) AS sequence FROM sink_aside WHERE sink IN (SELECT value FROM json_each(?)) AND state IN ('retry', 'unknown') AND stream IN ('usage', 'records') GROUP BY stream",
  );
  const recordOf = store.prepare("SELECT record FROM usage_event WHERE sequence > ? ORDER BY sequence LIMIT 1").pluck();
  return (sinks) => {
    let first = Number.MAX_SAFE_INTEGER;
    for (const { stream, sequence } of position.all(JSON.stringify(sinks)) as { stream: string; sequence: number }[]) {
      if (stream === "records") first = Math.min(first, sequence + 1);
      if (stream === "usage") first = Math.min(first, (recordOf.get(sequence) as number | undefined) ?? first);
    }
    // What was set aside and may still be sent goes as it is, or not at all.
    for (const { stream, sequence } of aside.all(JSON.stringify(sinks)) as { stream: string; sequence: number }[])
      first = Math.min(first, stream === "records" ? sequence : ((recordOf.get(sequence - 1) as number | undefined) ?? first));
    return first;
  };
}

export function retentionIn(store: Store): RetentionState {
  const one = (sql: string) => store.prepare(sql).pluck().get();
  return {
    holds: holdsIn(store),
    erasures: erasuresIn(store),
    records: Number(one("SELECT count(*) FROM audit_record")),
    purged: Number(one(`SELECT count(*) FROM audit_record WHERE body = '${PURGED_BODY}'`)),
    oldest:
      (one(`SELECT body ->> '$.time_end' FROM audit_record WHERE body <> '${PURGED_BODY}' ORDER BY sequence LIMIT 1`) as
        | string
        | undefined) ?? null,
  };
}
