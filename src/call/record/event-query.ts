/** Usage events as they were handed to the journal, and how far each sink has them. */
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
  /** Whose it is, where it is from before a backup was restored: it was numbered, and may have been sent, under that id. */
  readonly source?: string;
  readonly data: Readonly<Record<string, unknown>>;
};

export type SinkState = {
  /** The last event that the sink has acknowledged. */
  readonly sequence: number;
  readonly pending: number;
  /** Events that it refused for good; they stay in the journal. */
  readonly refused: number;
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
  const epochs = store.prepare("SELECT first_event, source FROM epoch ORDER BY first_event, first_record");
  const cursorOf = store.prepare("SELECT sequence FROM sink_cursor WHERE sink = ?").pluck();
  const newest = store.prepare("SELECT coalesce(max(sequence), 0) FROM usage_event").pluck();
  const refusedBy = store.prepare("SELECT count(*) FROM sink_refusal WHERE sink = ?").pluck();
  return {
    after(sequence: number, limit: number): StoredEvent[] {
      const known = epochs.all() as Epoch[];
      const events = (beyond.all(sequence, limit) as EventRow[]).map(eventOf);
      return known.length === 0 ? events : events.map((event) => ofEpoch(event, known));
    },
    sinkState(sink: string): SinkState {
      const sequence = Number(cursorOf.get(sink) ?? 0);
      return { sequence, pending: Math.max(0, Number(newest.get()) - sequence), refused: Number(refusedBy.get(sink)) };
    },
  };
}

type Epoch = { readonly first_event: number; readonly source: string };

function ofEpoch(event: StoredEvent, epochs: readonly Epoch[]): StoredEvent {
  const source = epochs.findLast(({ first_event }) => first_event <= event.sequence)?.source;
  return source === undefined ? event : { ...event, source };
}
