/** Usage events as they were handed to the journal. */
import { QUANTITIES } from "./rows.ts";
import type { Store } from "./store.ts";
import type { UsageEvent } from "./usage-event.ts";

/** Of any type; `record` is the sequence number of the record that its digest stands in. */
export type StoredEvent = {
  readonly sequence: number;
  readonly record: number;
  readonly id: string;
  readonly type: string;
  readonly time: string;
  readonly subject: string;
  readonly data: Readonly<Record<string, unknown>>;
};

export const EVENT_COLUMNS = `e.sequence, e.record, r.call_id, e.at_ms, e.logical_call_id, a.data AS attributes, ${QUANTITIES.map((name) => `e.${name}`).join(", ")}`;
export const EVENT_TABLES =
  "usage_event AS e JOIN audit_record AS r ON r.sequence = e.record JOIN usage_attributes AS a ON a.id = e.attributes";

export type EventRow = {
  readonly sequence: number;
  readonly record: number;
  readonly call_id: string;
  readonly at_ms: number;
  readonly logical_call_id: string | null;
  readonly attributes: string;
} & UsageEvent["data"]["quantity"];

export function eventOf(row: EventRow): StoredEvent {
  const { customer, ...shared } = JSON.parse(row.attributes) as { customer: string } & Omit<
    UsageEvent["data"],
    "call_id" | "logical_call_id" | "quantity"
  >;
  const quantity = Object.fromEntries(QUANTITIES.map((name) => [name, row[name]])) as UsageEvent["data"]["quantity"];
  return {
    sequence: row.sequence,
    record: row.record,
    id: `${row.call_id}.settled`,
    type: "io.tollgate.call.settled.v1",
    time: new Date(row.at_ms).toISOString(),
    subject: customer,
    data: { call_id: row.call_id, logical_call_id: row.logical_call_id ?? row.call_id, ...shared, quantity },
  };
}

export function eventReader(store: Store) {
  const beyond = store.prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES} WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?`);
  return {
    after: (sequence: number, limit: number) => (beyond.all(sequence, limit) as EventRow[]).map(eventOf),
  };
}
