/** Adds usage events, numbered from 1 without a gap; what many have in common is stored once. */
import { LRUCache } from "lru-cache";
import { QUANTITIES, type UsageRow } from "./rows.ts";
import type { Store } from "./store.ts";

/** Sets of attributes at hand: agents times tools in use at once; about 600 bytes each. */
const REMEMBERED = 5_000;

export function usageWriter(store: Store) {
  const columns = ["sequence", "record", "position", "at_ms", "attributes", "logical_call_id", ...QUANTITIES];
  const insert = store.prepare(`INSERT INTO usage_event (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`);
  const insertAmount = store.prepare("INSERT INTO usage_amount (event, meter, amount) VALUES (?, ?, ?)");
  const find = store.prepare("SELECT id FROM usage_attributes WHERE data = ?").pluck();
  const insertAttributes = store.prepare("INSERT INTO usage_attributes (data) VALUES (?)");
  const ids = new LRUCache<string, number>({ max: REMEMBERED });
  let next = Number(store.prepare("SELECT coalesce(max(sequence), 0) + 1 FROM usage_event").pluck().get());

  const attributesId = (data: string): number => {
    const known = ids.get(data) ?? (find.get(data) as number | undefined);
    const id = known ?? Number(insertAttributes.run(data).lastInsertRowid);
    ids.set(data, id);
    return id;
  };
  return {
    /** The event's sequence number. */
    add({ atMs, attributes, logicalCallId, quantities, amounts }: UsageRow, record: number, position = 0): number {
      const sequence = next;
      insert.run(sequence, record, position, atMs, attributesId(attributes), logicalCallId, ...quantities);
      for (const [meter, amount] of amounts) insertAmount.run(sequence, meter, amount);
      next += 1;
      return sequence;
    },
    /** Rows of attributes were deleted: their numbers may become others'. */
    forget: () => ids.clear(),
    position: () => next,
    /** After a rollback: rows that were new are gone. */
    returnTo(position: number): void {
      ids.clear();
      next = position;
    },
  };
}
