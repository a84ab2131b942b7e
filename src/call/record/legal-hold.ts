/** Legal holds: what they name stays, however old it is and whoever asks for its end. Placing and lifting one is a record. */
import type { AuditRecord } from "./audit-record.ts";
import type { Desk } from "./journal-tasks.ts";
import { recordRow } from "./rows.ts";
import type { Store } from "./store.ts";

export type LegalHold = {
  readonly name: string;
  /** Null: of every one. */
  readonly customer: string | null;
  /** An agent's id; null: of every one. */
  readonly agent: string | null;
  /** Milliseconds since the epoch, from when on and before when a record ended; null: without a bound. */
  readonly since_ms: number | null;
  readonly until_ms: number | null;
  readonly reason: string;
  readonly placed_ms: number;
  readonly placed_by: string;
};

export function holdsIn(store: Store): LegalHold[] {
  return store.prepare("SELECT * FROM legal_hold ORDER BY name").all() as LegalHold[];
}

/** Whose a record is, where it is not a call: the customer and the agent that it names. What names neither may be about anyone. */
export function isHeld(record: AuditRecord, holds: readonly LegalHold[]): boolean {
  const customer = record.agent?.customer ?? textOf(record.details?.customer);
  const was = formerCustomer(record.details?.was);
  const agent = record.agent?.id ?? textOf(record.details?.agent_id);
  const endMs = Date.parse(record.time_end);
  return holds.some(
    (hold) =>
      (hold.customer === null || customer === null || hold.customer === customer || hold.customer === was) &&
      (hold.agent === null || agent === null || hold.agent === agent) &&
      (hold.since_ms === null || endMs >= hold.since_ms) &&
      (hold.until_ms === null || endMs < hold.until_ms),
  );
}

/** False: there is one of that name already. `record` tells of it, in the same transaction. */
export function placeHold({ store, writer, source }: Desk, hold: LegalHold, record: AuditRecord): boolean {
  return writer.transact((pen) => {
    const placed = store
      .prepare(
        `INSERT OR IGNORE INTO legal_hold (name, customer, agent, since_ms, until_ms, reason, placed_ms, placed_by)
         VALUES (@name, @customer, @agent, @since_ms, @until_ms, @reason, @placed_ms, @placed_by)`,
      )
      .run(hold);
    if (placed.changes === 0) return false;
    pen.append(recordRow(record, source));
    return true;
  });
}

/** False: there is none of that name. */
export function liftHold({ store, writer, source }: Desk, name: string, record: AuditRecord): boolean {
  return writer.transact((pen) => {
    if (store.prepare("DELETE FROM legal_hold WHERE name = ?").run(name).changes === 0) return false;
    pen.append(recordRow(record, source));
    return true;
  });
}

/** Of an agent that moved: the act is the business of both. */
function formerCustomer(was: unknown): string | null {
  if (typeof was !== "string" || !was.startsWith("{")) return null;
  return textOf((JSON.parse(was) as { customer?: unknown }).customer);
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
