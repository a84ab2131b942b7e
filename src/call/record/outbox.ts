/** What leaves the journal towards a sink, stream by stream and in order; an outbox is a position in it, nothing is copied. */
import { epochReader } from "./epoch-query.ts";
import { eventReader } from "./event-query.ts";
import type { Store } from "./store.ts";

/** In the order in which they are sent: a checkpoint is of no use before the records that it covers. */
export const STREAMS = ["usage", "records", "checkpoints"] as const;
export type Stream = (typeof STREAMS)[number];

type Common = {
  /** Of a checkpoint: its size. */
  readonly sequence: number;
  /** The id that it was numbered under, where that is from before a backup was restored; null: this gateway's own. */
  readonly gateway: string | null;
  readonly id: string;
  /** Milliseconds since the epoch; null for records, whose times are in their bodies. */
  readonly atMs: number | null;
};

/** Flat, and `data` as text: a thousand of them cross between threads in a millisecond. */
export type UsageItem = Common & {
  readonly stream: "usage";
  readonly type: string;
  readonly time: string;
  readonly subject: string;
  /** Sequence of the record that the event's digest stands in. */
  readonly record: number;
  readonly agentId: string | null;
  readonly logicalCallId: string | null;
  /** JSON. */
  readonly data: string;
};
export type RecordItem = Common & {
  readonly stream: "records";
  readonly kind: string;
  readonly callId: string | null;
  /** Hex. */
  readonly leaf: string;
  /** RFC 8785 JSON, byte for byte what the leaf is the hash of. */
  readonly body: string;
};
export type CheckpointItem = Common & {
  readonly stream: "checkpoints";
  /** Hex. */
  readonly root: string;
  readonly note: string;
};
export type Item = UsageItem | RecordItem | CheckpointItem;

/** The position of a sink that has nothing yet. */
export const START: Readonly<Record<Stream, number>> = { usage: 0, records: -1, checkpoints: -1 };

/** Bodies in one batch: what is in flight to one sink, at most. */
const BATCH_BYTES_MAX = 4_194_304;

export type Outbox = {
  /** The first `limit` beyond `after`, and no more than 4 MiB of them (but at least one). */
  after(stream: Stream, after: number, limit: number): Item[];
  /** Exactly those that are there. */
  at(stream: Stream, sequences: readonly number[]): Item[];
};

type RecordRow = Omit<RecordItem, "stream" | "gateway" | "id" | "atMs">;
type CheckpointRow = { readonly sequence: number; readonly atMs: number; readonly root: string; readonly note: string };

export function outboxReader(store: Store): Outbox {
  const events = eventReader(store);
  const epochOf = epochReader(store);
  const records = store.prepare(
    "SELECT sequence, kind, call_id AS callId, lower(hex(leaf)) AS leaf, body FROM audit_record WHERE sequence > ? ORDER BY sequence LIMIT ?",
  );
  const checkpoints = store.prepare(
    "SELECT size AS sequence, at_ms AS atMs, lower(hex(root)) AS root, note FROM checkpoint WHERE size > ? ORDER BY size LIMIT ?",
  );
  const read: { readonly [Name in Stream]: (after: number, limit: number) => Iterable<Item> } = {
    usage: (after, limit) => events.after(after, limit).map(usageItem),
    *records(after, limit) {
      const formerly = epochOf("record");
      for (const row of records.iterate(after, limit) as Iterable<RecordRow>)
        yield { stream: "records", gateway: formerly(row.sequence), id: String(row.sequence), atMs: null, ...row };
    },
    *checkpoints(after, limit) {
      const formerly = epochOf("record");
      for (const row of checkpoints.iterate(after, limit) as Iterable<CheckpointRow>)
        yield { stream: "checkpoints", gateway: formerly(row.sequence - 1), id: String(row.sequence), ...row };
    },
  };
  return {
    after(stream, after, limit) {
      const found: Item[] = [];
      let bytes = 0;
      for (const item of read[stream](after, limit)) {
        bytes += bytesOf(item);
        if (found.length > 0 && bytes > BATCH_BYTES_MAX) break;
        found.push(item);
      }
      return found;
    },
    at: (stream, sequences) =>
      sequences.flatMap((sequence) => [...read[stream](sequence - 1, 1)].filter((item) => item.sequence === sequence)),
  };
}

function usageItem(event: ReturnType<ReturnType<typeof eventReader>["after"]>[number]): UsageItem {
  const { sequence, record, id, type, time, subject, data, source = null } = event;
  const text = (name: string) => (typeof data[name] === "string" ? data[name] : null);
  const told = { agentId: text("agent_id"), logicalCallId: text("logical_call_id") };
  return {
    stream: "usage",
    sequence,
    gateway: source,
    id,
    atMs: Date.parse(time),
    type,
    time,
    subject,
    record,
    ...told,
    data: JSON.stringify(data),
  };
}

/** By characters: nearly all of it is ASCII. */
function bytesOf(item: Item): number {
  return item.stream === "usage" ? item.data.length + 300 : item.stream === "records" ? item.body.length : item.note.length;
}
