/** The proof of one record, or of one usage event, as a file that needs no database. */

import { canonicalJson } from "./canonical.ts";
import type { StoredCheckpoint } from "./checkpoint-query.ts";
import { eventReader, type FoundEvent } from "./event-query.ts";
import { inclusionPath } from "./merkle.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";
import { batchLine, proofText } from "./tlog-proof.ts";
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
  /** It was there, and is too old or was erased: what could be shown is gone. */
  | { readonly kind: "purged"; readonly sequence: number }
  | { readonly kind: "unsigned"; readonly sequence: number; readonly body: string };

/** `call_....settled` of a call, `evt_...` of what was reported. */
const EVENT_ID = /^(?:call_.+\.settled|evt_.+)$/;

/** `wanted`: the id of a call, the sequence number of a record, or the id of a usage event. */
export function proofReader(store: Store, tree: TreeReader, covering: (sequence: number) => StoredCheckpoint | null) {
  const bySequence = store.prepare("SELECT sequence, body FROM audit_record WHERE sequence = ?");
  const byCall = store.prepare("SELECT sequence, body FROM audit_record WHERE call_id = ? AND kind = 'call'");
  const events = eventReader(store);
  return (wanted: string): ProofAnswer => {
    const found = EVENT_ID.test(wanted) ? events.byId(wanted) : null;
    const isSequence = /^\d{1,15}$/.test(wanted);
    const row = (found !== null ? bySequence.get(found.event.record) : isSequence ? bySequence.get(Number(wanted)) : byCall.get(wanted)) as
      | { sequence: number; body: string }
      | undefined;
    if (row === undefined) return { kind: "unknown" };
    const { sequence, body } = row;
    if (body === PURGED_BODY) return { kind: "purged", sequence };
    const checkpoint = covering(sequence);
    if (checkpoint === null) return { kind: "unsigned", sequence, body };
    const extra = found === null ? body : `${body}\n${textOf(found)}`;
    const path = inclusionPath(sequence, checkpoint.size, tree.hashOf);
    const proof = proofText({ extra, index: sequence, path, checkpoint: checkpoint.note });
    return { kind: "proof", sequence, size: checkpoint.size, key: checkpoint.key, proof, body };
  };
}

/** The bytes whose digest stands in the record, or leads to the root that stands there. */
function textOf({ event, batch }: FoundEvent): string {
  const { id, type, time, subject, data } = event;
  const text = canonicalJson({ id, type, time, subject, data });
  return batch === null ? text : `${text}\n${batchLine(batch)}`;
}
