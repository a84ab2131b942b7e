/** Adds usage events, numbered from 1 without a gap; what many have in common is stored once. */
import { LRUCache } from "lru-cache";
import { QUANTITIES, type UsageRow } from "./rows.ts";
import type { Store } from "./store.ts";

/** Sets of attributes at hand: agents times tools in use at once; about 600 bytes each. */
const REMEMBERED = 5_000;

export function usageWriter(store: Store) {
  const columns = ["sequence", "record", "at_ms", "attributes", "logical_call_id", ...QUANTITIES];
  const insert = store.prepare(`INSERT INTO usage_event (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`);
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
    add({ atMs, attributes, logicalCallId, quantities }: UsageRow, record: number): void {
      insert.run(next, record, atMs, attributesId(attributes), logicalCallId, ...quantities);
      next += 1;
    },
    position: () => next,
    /** After a rollback: rows that were new are gone. */
    returnTo(position: number): void {
      ids.clear();
      next = position;
    },
  };
}
