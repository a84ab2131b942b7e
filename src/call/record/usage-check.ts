/** Every charged call has exactly one usage event, and every usage event says what its call's record says. */
import type { StoredRecord } from "./books.ts";
import { digestOfEvent, digestOfText } from "./digest.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf, type StoredEvent } from "./event-query.ts";
import { eventText } from "./record-text.ts";
import type { Store } from "./store.ts";
import type { UsageEvent } from "./usage-event.ts";
import type { Complain } from "./verify.ts";

/** The numbers of a range's events, the first and the one that comes next; null: it has none. */
export type EventSpan = { readonly first: number; readonly next: number } | null;

/** Both are written in one order, so the two are read side by side and nothing is kept. */
export function createUsageCheck(store: Store, complain: Complain, { first, end }: { readonly first: number; readonly end: number }) {
  const rows = store
    .prepare(
      `SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES.replaceAll("JOIN", "LEFT JOIN")} WHERE e.record >= ? AND e.record < ? ORDER BY e.record, e.position`,
    )
    .iterate(first, end) as IterableIterator<EventRow>;
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
    if (stray !== null) complain(stray.record, `usage event ${stray.sequence} belongs to no charged call`);
  };
  return {
    settled(record: StoredRecord, sequence: number): void {
      if (record.usage_event === null && record.settlement !== "posted" && record.settlement !== "unknown") return;
      while (current.done !== true && current.value.record < sequence) takeStray();
      if (current.done === true || current.value.record !== sequence) {
        complain(sequence, `record ${sequence}: the call was charged and has no usage event`);
        return;
      }
      const row = take();
      if (row !== null) compare(row, record, sequence, complain);
    },
    end(): EventSpan {
      while (current.done !== true) takeStray();
      return firstEvent === null ? null : { first: firstEvent, next: expected };
    },
  };
}

function compare(row: EventRow, record: StoredRecord, sequence: number, complain: Complain): void {
  const bad = (what: string) => complain(sequence, `record ${sequence}: its usage event ${row.sequence} ${what}`);
  try {
    const event = eventOf(row);
    if (!isBilled(event, row, record.usage_event)) bad("is not what the record says was billed");
    if (event.data.call_id !== record.call_id) bad("is of another call");
    if (event.data.provisional !== (record.settlement === "unknown")) bad("differs in whether the fate is known");
  } catch {
    bad("cannot be read");
  }
}

/** The text that the writer has for it takes a third of the time, where it is all that is stored; otherwise the general form tells. */
function isBilled(event: StoredEvent, row: EventRow, digest: string | null): boolean {
  const { event: text, attributes } = eventText(event as unknown as UsageEvent);
  return (attributes === row.attributes && digestOfText(text) === digest) || digestOfEvent(event) === digest;
}
