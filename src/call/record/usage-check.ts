/** Every charged call has exactly one usage event, and every usage event says what its call's record says. */
import type { StoredRecord } from "./books.ts";
import { digestOfEvent } from "./digest.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf } from "./event-query.ts";
import type { Store } from "./store.ts";
import type { Complain } from "./verify.ts";

/** Both are written in one order, so the two are read side by side and nothing is kept. */
export function createUsageCheck(store: Store, complain: Complain) {
  const rows = store
    .prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES.replaceAll("JOIN", "LEFT JOIN")} ORDER BY e.sequence`)
    .iterate() as IterableIterator<EventRow>;
  let current = rows.next();
  let expected = 1;
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
    /** Its events have lost their names, and nothing is left to hold them against. */
    purged(sequence: number): void {
      while (current.done !== true && current.value.record < sequence) takeStray();
      while (current.done !== true && current.value.record === sequence) take();
    },
    end(): void {
      while (current.done !== true) takeStray();
    },
  };
}

function compare(row: EventRow, record: StoredRecord, sequence: number, complain: Complain): void {
  const bad = (what: string) => complain(sequence, `record ${sequence}: its usage event ${row.sequence} ${what}`);
  try {
    const event = eventOf(row);
    if (digestOfEvent(event) !== record.usage_event) bad("is not what the record says was billed");
    if (event.data.call_id !== record.call_id) bad("is of another call");
    if (event.data.provisional !== (record.settlement === "unknown")) bad("differs in whether the fate is known");
  } catch {
    bad("cannot be read");
  }
}
