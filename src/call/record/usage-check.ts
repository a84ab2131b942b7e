/** Every charged call has exactly one usage event, and every usage event says what its call's record says. */
import type { AuditRecord } from "./audit-record.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf } from "./event-query.ts";
import type { Store } from "./store.ts";
import type { UsageEvent } from "./usage-event.ts";
import type { Complain } from "./verify.ts";

type Row = EventRow & { readonly record: number };

/** Both are written in one order, so the two are read side by side and nothing is kept. */
export function createUsageCheck(store: Store, complain: Complain) {
  const rows = store
    .prepare(`SELECT e.record, ${EVENT_COLUMNS} FROM ${EVENT_TABLES.replaceAll("JOIN", "LEFT JOIN")} ORDER BY e.sequence`)
    .iterate() as IterableIterator<Row>;
  let current = rows.next();
  let expected = 1;
  const take = (): Row | null => {
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
    settled(record: AuditRecord, sequence: number): void {
      if (record.kind !== "call" || (record.settlement !== "posted" && record.settlement !== "unknown")) return;
      while (current.done !== true && current.value.record < sequence) takeStray();
      if (current.done === true || current.value.record !== sequence) {
        complain(sequence, `record ${sequence}: the call was charged and has no usage event`);
        return;
      }
      const row = take();
      if (row !== null) compare(row, record, sequence, complain);
    },
    end(): void {
      while (current.done !== true) takeStray();
    },
  };
}

function compare(row: Row, record: AuditRecord, sequence: number, complain: Complain): void {
  const bad = (what: string) => complain(sequence, `record ${sequence}: its usage event ${row.sequence} ${what}`);
  let data: UsageEvent["data"];
  let subject: string;
  try {
    ({ data, subject } = eventOf(row));
  } catch {
    return bad("has lost its attributes");
  }
  if (data.call_id !== record.call_id || data.logical_call_id !== record.logical_call_id) bad("is of another call");
  if (data.provisional !== (record.settlement === "unknown")) bad("differs in whether the fate is known");
  if (data.agent_id !== record.agent?.id || subject !== record.agent.customer) bad("differs in who pays");
  if (data.server !== record.server || (record.target !== null && data.tool !== record.target.name)) bad("differs in what was called");
  if (record.usage !== null && (data.quantity.calls !== record.usage.calls || data.quantity.tool_tokens !== record.usage.tool_tokens))
    bad("differs in its quantities");
}
