/** Pure. Whether a stored record is what it says of itself. */
import canonicalize from "canonicalize";
import type { StoredRecord } from "./books.ts";
import type { Complain, RecordRow } from "./verify.ts";

/** The record, or null where its body cannot be read. The check uses the library, not the writer's own canonical form. */
export function checkRecord(row: RecordRow, source: unknown, complain: Complain): StoredRecord | null {
  const bad = (what: string) => complain(row.sequence, `record ${row.sequence}: ${what}`);
  let record: StoredRecord;
  try {
    record = JSON.parse(row.body);
    if (canonicalize(record) !== row.body) bad("its body is not in canonical form");
  } catch {
    bad("its body is not JSON");
    return null;
  }
  if (record.sequence !== row.sequence) bad(`its body says sequence ${record.sequence}`);
  if (record.source !== source) bad("its body names another gateway");
  if (record.kind !== row.kind || record.call_id !== row.call_id) bad("its columns differ from its body");
  return record;
}
