/** Usage events as they were handed to the journal. */
import { digestOfEvent } from "./digest.ts";
import { epochReader } from "./epoch-query.ts";
import { SETTLED } from "./event-types.ts";
import { namedIn } from "./measures.ts";
import { eventLeaf, inclusionPath, rootOf } from "./merkle.ts";
import { type Amount, QUANTITIES } from "./rows.ts";
import type { Store } from "./store.ts";

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

/** An event, and how it hangs on its record: `batch` null where the record holds the digest itself. */
export type FoundEvent = {
  readonly event: StoredEvent;
  readonly digest: string;
  readonly batch: { readonly index: number; readonly size: number; readonly hashes: readonly string[]; readonly root: string } | null;
};

const AMOUNTS = "(SELECT json_group_object(meter, amount) FROM usage_amount WHERE event = e.sequence) AS amounts";
export const EVENT_COLUMNS = `e.sequence, e.record, e.position, r.call_id, e.at_ms, e.logical_call_id, a.data AS attributes, p.id AS reported_id, p.data AS own, p.adjusts,
  p.source, p.source_id, p.fingerprint, p.customer AS owner,
  ${QUANTITIES.map((name) => `e.${name}`).join(", ")}, ${AMOUNTS}`;
/** From the outside in: an event whose record or attributes are gone is still a row, for whoever looks for damage. */
export const EVENT_TABLES =
  "usage_event AS e LEFT JOIN audit_record AS r ON r.sequence = e.record LEFT JOIN usage_attributes AS a ON a.id = e.attributes LEFT JOIN reported_event AS p ON p.event = e.sequence";

export type EventRow = {
  readonly sequence: number;
  readonly record: number;
  readonly position: number;
  readonly call_id: string | null;
  readonly at_ms: number;
  readonly logical_call_id: string | null;
  readonly attributes: string;
  /** Null: of a call. */
  readonly reported_id: string | null;
  readonly own: string | null;
  readonly adjusts: number | null;
  readonly source: string | null;
  readonly source_id: string | null;
  readonly fingerprint: string | null;
  readonly owner: string | null;
  readonly amounts: string;
} & Readonly<Record<(typeof QUANTITIES)[number], number>>;

export function eventOf(row: EventRow): StoredEvent {
  const { customer, type = SETTLED, ...shared } = JSON.parse(row.attributes) as { customer: string; type?: string };
  const common = { sequence: row.sequence, record: row.record, time: new Date(row.at_ms).toISOString(), subject: customer };
  if (row.reported_id === null || row.own === null) {
    const calls = { call_id: row.call_id, logical_call_id: row.logical_call_id ?? row.call_id };
    return { ...common, id: `${row.call_id}.settled`, type, data: { ...calls, ...shared, quantity: settledQuantity(row) } };
  }
  const quantity = Object.fromEntries(amountsIn(row));
  return { ...common, id: row.reported_id, type, data: { ...shared, ...(JSON.parse(row.own) as object), quantity } };
}

/** Every amount that is not a column's silence. */
function amountsIn(row: EventRow): Amount[] {
  const columns = QUANTITIES.map((name): Amount => [name, row[name]]).filter(([, amount]) => amount !== 0);
  return [...columns, ...furtherIn(row)];
}

function furtherIn({ amounts }: EventRow): Amount[] {
  return Object.entries(JSON.parse(amounts) as Record<string, number>);
}

/** Of a call: all columns, and what its result was counted for beyond them. */
function settledQuantity(row: EventRow): object {
  const columns = Object.fromEntries(QUANTITIES.map((name) => [name, row[name]]));
  if (row.amounts === "{}") return columns;
  const further = furtherIn(row);
  const { outcomes, outputs } = namedIn(further.filter(([meter]) => meter !== "cost_micros"));
  return {
    ...columns,
    ...Object.fromEntries(further.filter(([meter]) => meter === "cost_micros")),
    ...(Object.keys(outcomes).length === 0 ? {} : { outcomes }),
    ...(Object.keys(outputs).length === 0 ? {} : { outputs }),
  };
}

export function eventReader(store: Store) {
  const where = (condition: string) => store.prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES} WHERE ${condition}`);
  const beyond = where("e.sequence > ? ORDER BY e.sequence LIMIT ?");
  const theirs = where("e.sequence > ? AND a.data ->> '$.customer' = ? ORDER BY e.sequence LIMIT ?");
  const bySequence = where("e.sequence = ?");
  const ofRecord = where("e.record = ? ORDER BY e.position");
  const reported = store.prepare("SELECT event FROM reported_event WHERE id = ?").pluck();
  const ofCall = store
    .prepare(
      "SELECT e.sequence FROM audit_record AS r JOIN usage_event AS e ON e.record = r.sequence WHERE r.call_id = ? AND r.kind = 'call'",
    )
    .pluck();
  const epochOf = epochReader(store);
  const inEpoch = (rows: readonly EventRow[]): StoredEvent[] => {
    const sourceOf = epochOf("event");
    return rows.map((row) => {
      const source = sourceOf(row.sequence);
      return source === null ? eventOf(row) : { ...eventOf(row), source };
    });
  };
  const corrections = store.prepare("SELECT event FROM reported_event WHERE adjusts = ?").pluck();
  return {
    after: (sequence: number, limit: number, customer: string | null = null) =>
      inEpoch((customer === null ? beyond.all(sequence, limit) : theirs.all(sequence, customer, limit)) as EventRow[]),
    /** Of a call or of a report; null where there is none. */
    byId(id: string): FoundEvent | null {
      const [, callId] = /^(call_.+)\.settled$/.exec(id) ?? [];
      const sequence = callId === undefined ? reported.get(id) : ofCall.get(callId);
      const row = sequence === undefined ? undefined : (bySequence.get(sequence) as EventRow);
      if (row === undefined) return null;
      const event = eventOf(row);
      const alone = { event, digest: digestOfEvent(event), batch: null };
      return row.reported_id === null || row.adjusts !== null ? alone : { ...alone, batch: batchOf(row, ofRecord.all(row.record)) };
    },
    /** Every amount of an event that is not zero. */
    amountsOf(sequence: number): readonly Amount[] {
      return amountsIn(bySequence.get(sequence) as EventRow);
    },
    correctionsOf: (sequence: number) => corrections.all(sequence) as number[],
  };
}

function batchOf({ position }: EventRow, rows: readonly unknown[]): NonNullable<FoundEvent["batch"]> {
  const leaves = rows.map((row) => eventLeaf(digestOfEvent(eventOf(row as EventRow))));
  const hashes = inclusionPath(position, leaves.length, (start, end) => rootOf(leaves.slice(start, end)));
  return { index: position, size: leaves.length, hashes: hashes.map((hash) => hash.toString("hex")), root: rootOf(leaves).toString("hex") };
}
