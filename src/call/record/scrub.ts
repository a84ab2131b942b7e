/** Takes what was purged out of the file's bytes as well: out of copies that SQLite left on pages, and out of the write-ahead log. */
import type { Desk } from "./journal-tasks.ts";

/** Calls wait meanwhile. */
const READERS_MS = 200;

/**
 * What is deleted is overwritten (secure_delete), but a page that was split keeps stale copies of the rows that moved away. Tables whose rows
 * go are therefore written anew: open calls are few, and the attributes' index is small. False: a reader holds the write-ahead log; ask later.
 */
export function scrub({ store }: Desk): boolean {
  store.transaction(() => {
    const calls = store.prepare("SELECT call_id, at_ms, moves, audit, usage FROM open_call").all();
    store.exec("DELETE FROM open_call");
    const putBack = store.prepare(
      "INSERT INTO open_call (call_id, at_ms, moves, audit, usage) VALUES (@call_id, @at_ms, @moves, @audit, @usage)",
    );
    for (const call of calls) putBack.run(call);
    store.exec("REINDEX usage_attributes");
  })();
  const patientMs = Number(store.pragma("busy_timeout", { simple: true }));
  store.pragma(`busy_timeout = ${READERS_MS}`);
  try {
    return Number(store.pragma("wal_checkpoint(TRUNCATE)", { simple: true })) === 0;
  } finally {
    store.pragma(`busy_timeout = ${patientMs}`);
  }
}
