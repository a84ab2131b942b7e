/** Pure. Why a call of one's own went as it did: its record without what is the operator's, such as rules and notes. */
import type { StoredRecord } from "../../call/record/books.ts";
import { type Reason, WIRE } from "../../refusal.ts";

export function isOwn(record: StoredRecord, agentId: string): boolean {
  return record.kind === "call" && record.agent?.id === agentId;
}

/** `needs`: what would have to differ for the same call to be allowed now, where it is known to the caller. */
export function ownCallPage(record: StoredRecord, needs: object | null): object {
  const reason = record.reason !== null && Object.hasOwn(WIRE, record.reason) ? (record.reason as Reason) : null;
  return {
    call_id: record.call_id,
    logical_call_id: record.logical_call_id,
    time_start: record.time_start,
    time_end: record.time_end,
    server: record.server,
    target: record.target,
    decision: record.decision,
    outcome: record.outcome,
    reason,
    title: reason === null ? null : WIRE[reason].title,
    detail: reason === null ? null : WIRE[reason].remedy,
    needs,
    usage: record.usage,
    settlement: record.settlement,
    budgets: record.budget.map(({ budget, meter, window_end, held, posted, debt }) => ({ budget, meter, window_end, held, posted, debt })),
    receipt: { sequence: record.sequence, source: record.source, usage_event: record.usage_event, environment: record.environment },
  };
}
