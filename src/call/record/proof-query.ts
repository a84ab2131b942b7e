/** The proof of one record, or of one usage event, as a file that needs no database. */

import { canonicalJson } from "./canonical.ts";
import type { StoredCheckpoint } from "./checkpoint-query.ts";
import { EVENT_COLUMNS, EVENT_TABLES, type EventRow, eventOf } from "./event-query.ts";
import { inclusionPath } from "./merkle.ts";
import type { Store } from "./store.ts";
import { proofText } from "./tlog-proof.ts";
import type { TreeReader } from "./tree.ts";

/** `unsigned`: no checkpoint covers the record yet. */
export type ProofAnswer =
  | {
      readonly kind: "proof";
      readonly sequence: number;
      readonly size: number;
      readonly key: string;
      readonly proof: string;
      readonly body: string;
    }
  | { readonly kind: "unknown" }
  | { readonly kind: "unsigned"; readonly sequence: number; readonly body: string };

const OF_EVENT = ".settled";

/** `wanted`: the id of a call, the sequence number of a record, or the id of a usage event. */
export function proofReader(store: Store, tree: TreeReader, covering: (sequence: number) => StoredCheckpoint | null) {
  const bySequence = store.prepare("SELECT sequence, body FROM audit_record WHERE sequence = ?");
  const byCall = store.prepare("SELECT sequence, body FROM audit_record WHERE call_id = ? AND kind = 'call'");
  const eventOfRecord = store.prepare(`SELECT ${EVENT_COLUMNS} FROM ${EVENT_TABLES} WHERE e.record = ? LIMIT 1`);
  return (wanted: string): ProofAnswer => {
    const ofEvent = wanted.endsWith(OF_EVENT);
    const name = ofEvent ? wanted.slice(0, -OF_EVENT.length) : wanted;
    const row = (/^\d{1,15}$/.test(name) ? bySequence.get(Number(name)) : byCall.get(name)) as
      | { sequence: number; body: string }
      | undefined;
    if (row === undefined) return { kind: "unknown" };
    const event = ofEvent ? (eventOfRecord.get(row.sequence) as EventRow | undefined) : undefined;
    if (ofEvent && event === undefined) return { kind: "unknown" };
    const { sequence, body } = row;
    const checkpoint = covering(sequence);
    if (checkpoint === null) return { kind: "unsigned", sequence, body };
    const extra = event === undefined ? body : `${body}\n${textOf(event)}`;
    const path = inclusionPath(sequence, checkpoint.size, tree.hashOf);
    const proof = proofText({ extra, index: sequence, path, checkpoint: checkpoint.note });
    return { kind: "proof", sequence, size: checkpoint.size, key: checkpoint.key, proof, body };
  };
}

/** The bytes whose digest stands in the record. */
function textOf(row: EventRow): string {
  const { id, type, time, subject, data } = eventOf(row);
  return canonicalJson({ id, type, time, subject, data });
}
