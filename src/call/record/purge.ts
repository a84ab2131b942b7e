/** Takes the words out of old records and leaves what proofs and sums need: the leaf, and the numbers of the usage events. */
import type { AuditRecord } from "./audit-record.ts";
import { canonicalJson } from "./canonical.ts";
import { digestOfEvent } from "./digest.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf } from "./event-query.ts";
import type { Desk } from "./journal-tasks.ts";
import { holdsIn, isHeld } from "./legal-hold.ts";
import { eventLeaf, rootOf } from "./merkle.ts";
import { recordRow } from "./rows.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";

/** Records in one transaction, for which calls wait: about 15 ms. */
export const PURGE_MAX = 250;

export type Purge = {
  /** At most PURGE_MAX, ascending. */
  readonly sequences: readonly number[];
  /** Milliseconds since the epoch: a record that ended at this time or later stays, whatever was asked. */
  readonly beforeMs: number;
  /** The tombstone; which records are gone is filled in. */
  readonly record: AuditRecord;
};

/** Evidence of what was done with the evidence: it stays, and names nobody. */
export const KEPT_KINDS: readonly string[] = [
  "records.purged",
  "hold.placed",
  "hold.lifted",
  "agent.erased",
  "subject.erased",
  "log.restored",
];

/** How many are gone now; those that are held, too young or gone already are not among them. */
export function purge({ store, writer, source }: Desk, { sequences, beforeMs, record }: Purge): number {
  if (sequences.length > PURGE_MAX) throw new RangeError(`at most ${PURGE_MAX} records at once`);
  return writer.transact((pen) => {
    const holds = holdsIn(store);
    const rows = rowsOf(store, sequences).filter(({ body }) => mayGo(JSON.parse(body), holds, beforeMs));
    if (rows.length === 0) return 0;
    store.exec("INSERT INTO meta (name, value) VALUES ('purging', '')");
    // A row that is rewritten shorter keeps its page; one that is deleted and put back frees it.
    store.pragma("defer_foreign_keys = ON");
    // In place, before anything moves: SQLite leaves copies of rows that move to another page.
    const overwrite = store.prepare(`UPDATE audit_record SET body = ${zerosFor("body")} WHERE sequence = ?`);
    for (const { sequence } of rows) overwrite.run(sequence);
    const remove = store.prepare("DELETE FROM audit_record WHERE sequence = ?");
    const putBack = store.prepare("INSERT INTO audit_record (sequence, kind, call_id, leaf, body) VALUES (?, ?, ?, ?, ?)");
    for (const { sequence } of rows) remove.run(sequence);
    for (const { sequence, kind, call_id, leaf } of rows) putBack.run(sequence, kind, call_id, leaf, PURGED_BODY);
    const nameless = namelessEvents(store);
    for (const { sequence } of rows) nameless(sequence);
    store.exec("DELETE FROM meta WHERE name = 'purging'");
    const gone = rows.map(({ sequence }) => sequence);
    const told = rangesText(gone);
    const details = { ...record.details, records: gone.length, sequences: told, ...eventsLeft(store, told) };
    pen.append(recordRow({ ...record, details }, source));
    return gone.length;
  });
}

/** Attributes that no event refers to any more are names without a use. Reads every event once: about 0.1 s a million. */
export function dropUnusedAttributes({ store, writer }: Desk): void {
  writer.transact((pen) => {
    store.exec("INSERT INTO meta (name, value) VALUES ('purging', '')");
    store.exec("DELETE FROM usage_attributes WHERE id NOT IN (SELECT attributes FROM usage_event)");
    store.exec("DELETE FROM meta WHERE name = 'purging'");
    pen.forgetAttributes();
  });
}

/** As long as the text was. */
function zerosFor(column: string): string {
  return `substr(hex(zeroblob(octet_length(${column}))), 1, octet_length(${column}))`;
}

type Row = {
  readonly sequence: number;
  readonly kind: string;
  readonly call_id: string | null;
  readonly leaf: Buffer;
  readonly body: string;
};

function rowsOf(store: Store, sequences: readonly number[]): Row[] {
  return store
    .prepare(
      `SELECT sequence, kind, call_id, leaf, body FROM audit_record
       WHERE sequence IN (SELECT value FROM json_each(?)) AND body <> '${PURGED_BODY}' ORDER BY sequence`,
    )
    .all(JSON.stringify(sequences)) as Row[];
}

export function mayGo(record: AuditRecord, holds: Parameters<typeof isHeld>[1], beforeMs: number): boolean {
  return Date.parse(record.time_end) < beforeMs && !KEPT_KINDS.includes(record.kind) && !isHeld(record, holds);
}

/** Who did it goes; how much, of what, when and for which customer stays, and so does every sum. */
function namelessEvents(store: Store) {
  const events = store.prepare(
    "SELECT e.sequence, a.data FROM usage_event AS e JOIN usage_attributes AS a ON a.id = e.attributes WHERE e.record = ?",
  );
  const known = store.prepare("SELECT id FROM usage_attributes WHERE data = ?").pluck();
  const add = store.prepare("INSERT INTO usage_attributes (data) VALUES (?)");
  const change = store.prepare("UPDATE usage_event SET attributes = ?, logical_call_id = NULL WHERE sequence = ?");
  // Its (source, id) stays: the same report is not taken a second time.
  const ofRecord = "WHERE event IN (SELECT sequence FROM usage_event WHERE record = ?)";
  const overwrite = store.prepare(`UPDATE reported_event SET data = ${zerosFor("data")} ${ofRecord}`);
  const forget = store.prepare(`UPDATE reported_event SET data = '{}' ${ofRecord}`);
  return (record: number): void => {
    overwrite.run(record);
    forget.run(record);
    for (const { sequence, data } of events.all(record) as { sequence: number; data: string }[]) {
      const nameless = canonicalJson({ ...JSON.parse(data), agent: "", agent_id: "", instance: null, team: null, workflow: null });
      const id = (known.get(nameless) as number | undefined) ?? Number(add.run(nameless).lastInsertRowid);
      change.run(id, sequence);
    }
  };
}

/** What the events of purged records say now: how many there are, and the RFC 6962 root over their digests. */
export function eventsLeft(store: Store, sequences: string): { readonly events: number; readonly events_root: string } {
  const rows = (rangesIn(sequences) ?? []).flatMap(([from, to]) =>
    store
      .prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES} WHERE e.record BETWEEN ? AND ? ORDER BY e.record, e.position`)
      .all(from, to),
  ) as EventRow[];
  const leaves = rows.map((row) => eventLeaf(digestOfEvent(eventOf(row))));
  return { events: rows.length, events_root: rootOf(leaves).toString("hex") };
}

/** `0-499,501`: ascending numbers as the ranges that they make. */
export function rangesText(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === number) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}

/** What `rangesText` wrote; null: it is something else. */
export function rangesIn(text: string): [number, number][] | null {
  const ranges: [number, number][] = [];
  for (const written of text.split(",")) {
    const [, from, to = from] = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(written) ?? [];
    if (from === undefined) return null;
    ranges.push([Number(from), Number(to)]);
  }
  return ranges;
}
