/** Pure. Whether a stored record is what it says of itself. */
import type { StoredRecord } from "./books.ts";
import { isCanonical } from "./canonical.ts";
import type { Complain } from "./verify.ts";

export type RecordColumns = { readonly sequence: number; readonly kind: string; readonly call_id: string | null };

/** The record, or null where its body cannot be read. Whose it is (`source`) is seen where all records are seen. */
export function checkRecord(row: RecordColumns, body: string, complain: Complain): StoredRecord | null {
  const bad = (what: string) => complain(row.sequence, `record ${row.sequence}: ${what}`);
  const record = recordIn(body, row.sequence, bad);
  if (record !== null && (record.kind !== row.kind || record.call_id !== row.call_id)) bad("its columns differ from its body");
  return record;
}

/** The record that a body is, for whoever has nothing but the body. */
export function recordIn(body: string, sequence: number, bad: (what: string) => void): StoredRecord | null {
  let record: StoredRecord;
  try {
    record = JSON.parse(body);
    if (!isCanonical(body, record)) bad("its body is not in canonical form");
  } catch {
    bad("its body is not JSON");
    return null;
  }
  if (typeof record !== "object" || record === null) {
    bad("its body is no record");
    return null;
  }
  if (record.sequence !== sequence) bad(`its body says sequence ${record.sequence}`);
  return record;
}
