/** Writes reported events and corrections, each batch in one transaction with its record; the same (source, id) is written once, for ever. */
import type { Adjustment, HoldLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { budgetLines } from "./budget-line.ts";
import { eventReader, type StoredEvent } from "./event-query.ts";
import { ADJUSTED, definitionDigest, type EventType } from "./event-types.ts";
import type { Desk } from "./journal-tasks.ts";
import { eventLeaf, rootOf } from "./merkle.ts";
import { countable, type Drawing, NO_DRAWING, owedAnew, owedBy } from "./report-draws.ts";
import { amountOf, type EventEntry, eventEntry, type ReportedAs } from "./reported.ts";
import { type Amount, movesOf, recordRow } from "./rows.ts";
import type { Store } from "./store.ts";

export type ReportBatch = {
  readonly entries: readonly EventEntry[];
  /** Of a key that is bound to a customer: it hears of no other customer's events. */
  readonly bound: string | null;
  /** `usage.reported`; its details are filled in. */
  readonly record: AuditRecord;
  /** The budgets that they draw on, if any. */
  readonly drawing?: Drawing;
};

/** `conflict`: the pair was used with another payload. `record`: where the event stands; null of a conflict. */
export type Fate = { readonly state: "accepted" | "duplicate" | "conflict"; readonly id: string | null };

export function writeReports(desk: Desk, { entries, bound, record, drawing = NO_DRAWING }: ReportBatch): readonly Fate[] {
  const known = knownReports(desk.store);
  const insert = eventInsert(desk.store);
  return desk.writer.transact((pen) => {
    const seen = new Map<string, EventEntry>();
    const positions = new Map<EventEntry, number>();
    const fates = entries.map((entry, position): Fate => {
      const pair = JSON.stringify([entry.as.source, entry.as.id]);
      const twin = seen.get(pair);
      const fate = twin === undefined ? known(entry.as, entry.fingerprint, bound) : fateBeside(twin, entry);
      if (fate === null) {
        seen.set(pair, entry);
        positions.set(entry, position);
      }
      return fate ?? { state: "accepted", id: entry.id };
    });
    // A record is one customer's, so that whoever may read that customer's can prove its events.
    for (const [customer, theirs] of Map.groupBy(seen.values(), (entry) => entry.customer)) {
      const details = { customer, events: theirs.length, events_root: batchRoot(theirs.map(({ digest }) => digest)) };
      const amounts = theirs.map((entry) => [positions.get(entry) ?? -1, amountOf(entry)] as const);
      const lines = countable(desk.store, owedBy(drawing, amounts));
      const sequence = pen.append(recordRow({ ...record, details, budget: budgetLines(lines) }, desk.source));
      for (const move of movesOf(lines)) pen.post(move, sequence);
      for (const [position, entry] of theirs.entries()) insert(entry, pen.addUsage(entry.usage, sequence, position), null);
    }
    return fates;
  });
}

function fateBeside(twin: EventEntry, entry: EventEntry): Fate {
  return twin.fingerprint === entry.fingerprint ? { state: "duplicate", id: twin.id } : { state: "conflict", id: null };
}

export type Correction = {
  /** Of the event that is corrected. */
  readonly eventId: string;
  readonly as: ReportedAs;
  readonly fingerprint: string;
  readonly deltas: readonly Amount[];
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
  readonly definition: EventType;
  /** `usage.adjusted`; its details are filled in. */
  readonly record: AuditRecord;
  /** Counters that the corrected event draws on. */
  readonly places?: readonly HoldLine[];
};

export type Corrected =
  | { readonly state: "accepted"; readonly id: string; readonly lines: readonly Adjustment[] }
  | { readonly state: "duplicate"; readonly id: string }
  | { readonly state: "conflict" | "absent" | "refused"; readonly detail: string };

/** The sum of an event and its corrections stays at zero or above, on every meter. */
export function writeCorrection(desk: Desk, correction: Correction): Corrected {
  const { eventId, as, fingerprint, deltas, reason, by, record, places = [] } = correction;
  const before = knownReports(desk.store)(as, fingerprint, null);
  if (before?.state === "conflict") return { state: "conflict", detail: "this key was used with another correction" };
  if (before !== null) return { state: "duplicate", id: before.id ?? "" };
  const found = eventReader(desk.store).byId(eventId)?.event;
  if (found === undefined) return { state: "absent", detail: `there is no event ${eventId}` };
  if (found.type === ADJUSTED) return { state: "refused", detail: "a correction is not corrected: correct the event that it corrects" };
  const left = amountsWith(desk.store, found.sequence);
  for (const [meter, delta] of deltas) {
    const sum = (left.get(meter) ?? 0) + delta;
    if (sum < 0)
      return { state: "refused", detail: `${meter}: ${left.get(meter) ?? 0} with earlier corrections, which ${delta} takes below zero` };
    if (!Number.isSafeInteger(sum)) return { state: "refused", detail: `${meter}: the sum is too large` };
  }
  const entry = correctionEntry(found, correction);
  const lines = countable(desk.store, owedAnew(desk.store, places, found.record, deltas));
  const details = { customer: found.subject, event_id: entry.id, adjusts: eventId, reason };
  desk.writer.transact((pen) => {
    const written = { ...record, administrator: by, details, budget: budgetLines(lines) };
    const sequence = pen.append(recordRow(written, desk.source, entry.digest));
    for (const move of movesOf(lines)) pen.post(move, sequence);
    eventInsert(desk.store)(entry, pen.addUsage(entry.usage, sequence, 0), found.sequence);
  });
  return { state: "accepted", id: entry.id, lines };
}

/** In the dimensions of the event that it corrects, at the time of the correction: a period that is over stays as it was. */
function correctionEntry(corrected: StoredEvent, { as, fingerprint, atMs, deltas, by, reason, definition }: Correction): EventEntry {
  const { quantity: _q, metadata: _m, reported: _r, call_id: _c, logical_call_id: _l, ...shared } = corrected.data;
  const stamped = {
    ...shared,
    provisional: false,
    definition_version: definition.version,
    definition_digest: definitionDigest(definition),
  };
  const { id: adjusts, time: adjusts_time, type: adjusts_type } = corrected;
  const own = { adjusts, adjusts_time, adjusts_type, reason, reported: { by, fingerprint, id: as.id, source: as.source } };
  return eventEntry({ as, customer: corrected.subject, fingerprint, atMs, amounts: deltas }, ADJUSTED, stamped, own);
}

/** RFC 6962 root; a leaf is the event's digest, the text `sha256:<hex>`. */
export function batchRoot(digests: readonly string[]): string {
  return rootOf(digests.map(eventLeaf)).toString("hex");
}

/** Null: nobody has used that pair, as far as the asker may know. */
export function knownReports(store: Store): (as: ReportedAs, fingerprint: string, bound: string | null) => Fate | null {
  const find = store.prepare("SELECT id, customer, fingerprint FROM reported_event WHERE source = ? AND source_id = ?");
  return ({ source, id }, fingerprint, bound) => {
    const rows = find.all(source, id) as { id: string; customer: string; fingerprint: string }[];
    const theirs = rows.filter(({ customer }) => bound === null || customer === bound);
    if (theirs.length === 0) return null;
    const same = theirs.find((row) => row.fingerprint === fingerprint);
    return same === undefined ? { state: "conflict", id: null } : { state: "duplicate", id: same.id };
  };
}

function eventInsert(store: Store) {
  const insert = store.prepare(
    "INSERT INTO reported_event (event, id, source, source_id, customer, fingerprint, data, adjusts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  return ({ id, as, customer, fingerprint, own }: EventEntry, event: number, adjusts: number | null) =>
    insert.run(event, id, as.source, as.id, customer, fingerprint, own, adjusts);
}

/** What an event and its corrections come to, meter by meter. */
function amountsWith(store: Store, event: number): Map<string, number> {
  const reader = eventReader(store);
  const sums = new Map<string, number>();
  for (const sequence of [event, ...reader.correctionsOf(event)])
    for (const [meter, amount] of reader.amountsOf(sequence)) sums.set(meter, (sums.get(meter) ?? 0) + amount);
  return sums;
}
