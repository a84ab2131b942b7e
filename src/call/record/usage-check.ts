/** Every charged call, report and correction has exactly its usage events, and every usage event says what its record says. */
import type { StoredRecord } from "./books.ts";
import { digestOfEvent, digestOfText } from "./digest.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf, type StoredEvent } from "./event-query.ts";
import { eventText } from "./record-text.ts";
import { batchRoot } from "./report-writer.ts";
import type { Store } from "./store.ts";
import type { UsageEvent } from "./usage-event.ts";
import type { Complain } from "./verify.ts";

/** The numbers of a range's events, the first and the one that comes next; null: it has none. */
export type EventSpan = { readonly first: number; readonly next: number } | null;

/** Both are written in one order, so the two are read side by side and nothing is kept. */
export function createUsageCheck(store: Store, complain: Complain, { first, end }: { readonly first: number; readonly end: number }) {
  const rows = store
    .prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES} WHERE e.record >= ? AND e.record < ? ORDER BY e.record, e.position`)
    .iterate(first, end) as IterableIterator<EventRow>;
  const check = eventCheck(store, complain);
  let current = rows.next();
  const firstEvent = current.done === true ? null : current.value.sequence;
  let expected = firstEvent ?? 1;
  const take = (): EventRow | null => {
    if (current.done === true) return null;
    const row = current.value;
    if (row.sequence !== expected) complain(row.record, `usage event ${expected} is missing; the next one is ${row.sequence}`);
    expected = row.sequence + 1;
    current = rows.next();
    return row;
  };
  const takeStray = () => {
    const stray = take();
    if (stray !== null) complain(stray.record, `usage event ${stray.sequence} belongs to no record that tells of it`);
  };
  return {
    settled(record: StoredRecord, sequence: number): void {
      const due = eventsDue(record);
      if (due === 0) return;
      while (current.done !== true && current.value.record < sequence) takeStray();
      const found: EventRow[] = [];
      while (found.length < due && current.done !== true && current.value.record === sequence) found.push(take() ?? current.value);
      if (found.length === 0) complain(sequence, `record ${sequence}: it was charged and has no usage event`);
      else if (found.length < due) complain(sequence, `record ${sequence}: it has ${found.length} usage events and tells of ${due}`);
      else check(found, record, sequence);
    },
    /** Its events have lost their names, and nothing is left to hold them against. */
    purged(sequence: number): void {
      while (current.done !== true && current.value.record < sequence) takeStray();
      while (current.done !== true && current.value.record === sequence) take();
    },
    end(): EventSpan {
      while (current.done !== true) takeStray();
      return firstEvent === null ? null : { first: firstEvent, next: expected };
    },
  };
}

function eventsDue({ kind, details, usage_event, settlement }: StoredRecord): number {
  if (kind === "usage.reported") return Number(details?.events ?? 0);
  return usage_event !== null || settlement === "posted" || settlement === "unknown" ? 1 : 0;
}

function eventCheck(store: Store, complain: Complain) {
  const corrected = store
    .prepare(
      `SELECT coalesce(p.id, r.call_id || '.settled') FROM usage_event AS e JOIN audit_record AS r ON r.sequence = e.record
       LEFT JOIN reported_event AS p ON p.event = e.sequence WHERE e.sequence = ?`,
    )
    .pluck();
  return (rows: readonly EventRow[], record: StoredRecord, sequence: number): void => {
    const digests: string[] = [];
    for (const [position, row] of rows.entries()) {
      const bad = (what: string) => complain(sequence, `record ${sequence}: its usage event ${row.sequence} ${what}`);
      try {
        const event = eventOf(row);
        if (row.position !== position) bad("is out of its place");
        if (record.kind === "usage.reported") digests.push(digestOfEvent(event));
        else if (!isBilled(event, row, record.usage_event)) bad("is not what the record says was billed");
        if (record.kind === "call") compareWithCall(event, record, bad);
        else compareColumns(row, event, bad);
        if (record.kind === "usage.adjusted" && corrected.get(row.adjusts) !== event.data.adjusts)
          bad("corrects another event than it says");
      } catch {
        bad("cannot be read");
      }
    }
    const root = record.kind === "usage.reported" ? record.details?.events_root : undefined;
    if (root !== undefined && batchRoot(digests) !== root)
      complain(sequence, `record ${sequence}: its usage events are not what the record says was reported`);
  };
}

type Bad = (what: string) => void;

function compareWithCall({ data }: StoredEvent, { call_id, settlement }: StoredRecord, bad: Bad): void {
  if (data.call_id !== call_id) bad("is of another call");
  if (data.provisional !== (settlement === "unknown")) bad("differs in whether the fate is known");
}

/** What a repetition is known by stands in columns, and in the event. */
function compareColumns({ source, source_id, fingerprint, owner }: EventRow, { subject, data }: StoredEvent, bad: Bad): void {
  const { reported } = data as { reported: { source: string; id: string; fingerprint: string } };
  const told = [reported.source, reported.id, reported.fingerprint, subject];
  if ([source, source_id, fingerprint, owner].some((column, i) => column !== told[i])) bad("is kept under another name than it says");
}

/** The text that the writer has for it takes a third of the time, where it is all that is stored; otherwise the general form tells. */
function isBilled(event: StoredEvent, row: EventRow, digest: string | null): boolean {
  const { event: text, attributes } = eventText(event as unknown as UsageEvent);
  return (attributes === row.attributes && digestOfText(text) === digest) || digestOfEvent(event) === digest;
}
