/** Erasures that were asked for: of which agent, up to which record, and whether all that may go is gone. */
import type { AuditRecord } from "./audit-record.ts";
import type { Desk } from "./journal-tasks.ts";
import { recordRow } from "./rows.ts";
import type { Store } from "./store.ts";

export type Erasure = {
  readonly agent: string;
  /** Records from this sequence number on are not of it. */
  readonly until_sequence: number;
  readonly asked_ms: number;
  readonly asked_by: string;
  readonly reason: string;
  /** Null: some have to be kept for longer. */
  readonly done_ms: number | null;
};

export function erasuresIn(store: Store): Erasure[] {
  return store.prepare("SELECT * FROM erasure ORDER BY asked_ms, agent").all() as Erasure[];
}

/** Of all that is recorded of the agent so far, this act included. Asked again, it covers what came since. */
export function askErasure(
  { store, writer, source }: Desk,
  erasure: Pick<Erasure, "agent" | "asked_ms" | "asked_by" | "reason">,
  record: AuditRecord,
): void {
  writer.transact((pen) => {
    const until_sequence = pen.append(recordRow(record, source)) + 1;
    store
      .prepare(
        `INSERT INTO erasure (agent, until_sequence, asked_ms, asked_by, reason) VALUES (@agent, @until_sequence, @asked_ms, @asked_by, @reason)
         ON CONFLICT (agent) DO UPDATE SET until_sequence = excluded.until_sequence, asked_ms = excluded.asked_ms,
           asked_by = excluded.asked_by, reason = excluded.reason, done_ms = NULL`,
      )
      .run({ ...erasure, until_sequence });
  });
}

export function endErasure({ store }: Desk, agent: string, atMs: number): void {
  store.prepare("UPDATE erasure SET done_ms = ? WHERE agent = ?").run(atMs, agent);
}
