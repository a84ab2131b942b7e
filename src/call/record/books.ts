/** The books that anyone may read: usage, records with their proofs, the root, events for a sink. */
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { eventReader, type SinkState, type StoredEvent } from "./event-query.ts";
import { type UsageAnswer, type UsageQuestion, usageBy } from "./queries.ts";
import type { Store } from "./store.ts";
import { type Proof, treeReader } from "./tree.ts";

/** `usage_event`: the digest of the usage event that was written with the record, or null. */
export type StoredRecord = AuditRecord & { readonly sequence: number; readonly source: string; readonly usage_event: string | null };

/** Records in one answer: about 25 MB. */
export const RECORDS_MAX = 10_000;

export type Books = {
  usage(question: UsageQuestion): UsageAnswer;
  /** The newest `limit` records, oldest first; with `after`, the first `limit` beyond that sequence. At most RECORDS_MAX. */
  tail(limit: number, after: number | null): StoredRecord[];
  /** The record of a call, by its id, or any record by its sequence number; null where there is none. */
  record(callIdOrSequence: string): { record: StoredRecord; proof: Proof } | null;
  /** `root` in hex. */
  root(): { size: number; root: string };
  /** Events beyond `after`, in order: what a sink has not acknowledged. */
  eventsAfter(after: number, limit: number): StoredEvent[];
  sinkState(sink: string): SinkState;
  balances(): Balance[];
};

/** What may be asked over a thread's border, by name. */
export type Question = { [Name in keyof Books]: { readonly name: Name; readonly args: Parameters<Books[Name]> } }[keyof Books];

export function openBooks(store: Store): Books {
  const tree = treeReader(store);
  const events = eventReader(store);
  const newest = store
    .prepare("SELECT body FROM (SELECT sequence, body FROM audit_record ORDER BY sequence DESC LIMIT ?) ORDER BY sequence")
    .pluck();
  const beyond = store.prepare("SELECT body FROM audit_record WHERE sequence > ? ORDER BY sequence LIMIT ?").pluck();
  const bySequence = store.prepare("SELECT body FROM audit_record WHERE sequence = ?").pluck();
  const byCall = store.prepare("SELECT body FROM audit_record WHERE call_id = ? AND kind = 'call'").pluck();
  const balances = store.prepare(
    "SELECT budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt FROM balance ORDER BY budget, scope, window_start",
  );
  return {
    usage: (question) => usageBy(store, question),
    tail(limit, after) {
      const count = Math.min(limit, RECORDS_MAX);
      const bodies = after === null ? newest.all(count) : beyond.all(after, count);
      return (bodies as string[]).map((body) => JSON.parse(body) as StoredRecord);
    },
    record(wanted) {
      const body = (/^\d{1,15}$/.test(wanted) ? bySequence.get(Number(wanted)) : byCall.get(wanted)) as string | undefined;
      if (body === undefined) return null;
      const record = JSON.parse(body) as StoredRecord;
      return { record, proof: tree.proof(record.sequence) };
    },
    root: () => ({ size: tree.size(), root: tree.root().toString("hex") }),
    eventsAfter: events.after,
    sinkState: events.sinkState,
    balances: () => balances.all() as Balance[],
  };
}
