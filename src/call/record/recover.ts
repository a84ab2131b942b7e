/** What a crash left open becomes exactly one outcome: fate unknown, charged as held, said so in the records. */
import type { Balance, HoldLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import type { Store } from "./store.ts";
import type { UsageEvent } from "./usage-event.ts";
import type { Entry, Writer } from "./writer.ts";

type OpenCall = {
  readonly call_id: string;
  readonly at_ms: number;
  readonly lines: string;
  readonly audit: string;
  readonly usage: string;
};

/** Calls settled in one transaction: bounds the memory of a start after a long outage. */
const BATCH = 500;

export type Recovery = { readonly recovered: number; readonly repaired: number };

/** Nobody else writes yet. Afterwards no call is open and no amount is held. */
export function recover(store: Store, writer: Writer, nowMs: number): Recovery {
  let recovered = 0;
  const open = store.prepare("SELECT call_id, at_ms, lines, audit, usage FROM open_call ORDER BY at_ms LIMIT ?");
  for (let rows = open.all(BATCH) as OpenCall[]; rows.length > 0; rows = open.all(BATCH) as OpenCall[]) {
    writer.writeAll(rows.map((row) => unknownSettlement(row, nowMs)));
    recovered += rows.length;
  }
  const repaired = store.prepare("UPDATE balance SET held = 0 WHERE held <> 0").run().changes;
  return { recovered, repaired };
}

export function readBalances(store: Store): Balance[] {
  const rows = store.prepare("SELECT budget, scope, window_start, window_end, committed, held, debt FROM balance").all() as {
    budget: string;
    scope: string;
    window_start: number;
    window_end: number | null;
    committed: number;
    held: number;
    debt: number;
  }[];
  return rows.map(({ window_start, window_end, ...rest }) => ({ ...rest, windowStartMs: window_start, windowEndMs: window_end }));
}

function unknownSettlement(row: OpenCall, nowMs: number): Entry {
  const lines = JSON.parse(row.lines) as HoldLine[];
  const audit = JSON.parse(row.audit) as AuditRecord;
  const usage = JSON.parse(row.usage) as UsageEvent;
  const time = new Date(nowMs).toISOString();
  return {
    kind: "settle",
    entry: {
      callId: row.call_id as SettledCallId,
      atMs: nowMs,
      state: "unknown",
      lines: lines.map((line) => ({ line, posted: line.amount, debt: 0 })),
      audit: {
        ...audit,
        time_end: time,
        outcome: "unknown",
        settlement: "unknown",
        note: "the gateway stopped before this call was settled",
        budget: audit.budget.map((line) => ({ ...line, posted: line.held })),
      },
      usage: { ...usage, time, data: { ...usage.data, outcome: "unknown", provisional: true } },
    },
  };
}

type SettledCallId = Extract<Entry, { kind: "settle" }>["entry"]["callId"];
