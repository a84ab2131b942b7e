/** What a crash left open becomes exactly one outcome: fate unknown, charged as held, said so in the records. */
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { usageEventOf } from "./billed.ts";
import { digestOfEvent } from "./digest.ts";
import type { HeldUsage } from "./journal.ts";
import { type Move, recordRow, type SettleRow, usageRow } from "./rows.ts";
import type { Store } from "./store.ts";
import type { Writer } from "./writer.ts";

type OpenCall = { readonly call_id: string; readonly moves: string; readonly audit: string; readonly usage: string };

/** Calls settled in one transaction: bounds the memory of a start after a long outage. */
const BATCH = 500;

export type Recovery = { readonly recovered: number; readonly repaired: number };

/** Nobody else writes yet. Afterwards no call is open, no amount is held, and every balance is what its lines say. */
export function recover(store: Store, writer: Writer, source: string, nowMs: number): Recovery {
  let recovered = 0;
  const open = store.prepare("SELECT call_id, moves, audit, usage FROM open_call ORDER BY at_ms, call_id LIMIT ?");
  for (let rows = open.all(BATCH) as OpenCall[]; rows.length > 0; rows = open.all(BATCH) as OpenCall[]) {
    writer.writeAll(rows.map((row) => unknownSettlement(row, source, nowMs)));
    recovered += rows.length;
  }
  return { recovered, repaired: repairBalances(store, nowMs) };
}

/** By so much the clock that budgets are counted by may be behind this one: that of a shared ledger is another machine's. */
export const CLOCKS_APART_MS = 3_600_000;

/** Balances of windows that have not ended by any clock: what a ledger goes on from. */
export function currentBalances(store: Store, nowMs: number): Balance[] {
  return store
    .prepare(
      `SELECT budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt FROM balance
       WHERE window_end IS NULL OR window_end > ? ORDER BY budget, scope, window_start`,
    )
    .all(nowMs - CLOCKS_APART_MS) as Balance[];
}

/** Rows looked at in one task: some ms. */
const SCAN = 20_000;

/** A page of the balances of windows that end within a span, the end of it included; `next`: where the next page begins; null: that was all. */
export type BalancePage = { readonly balances: readonly Balance[]; readonly next: number | null };

export function balancesEnding(store: Store, sinceMs: number, untilMs: number, after: number): BalancePage {
  const { last } = store
    .prepare("SELECT max(id) AS last FROM (SELECT id FROM balance WHERE id > ? ORDER BY id LIMIT ?)")
    .get(after, SCAN) as {
    last: number | null;
  };
  if (last === null) return { balances: [], next: null };
  const balances = store
    .prepare(
      `SELECT budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt FROM balance
       WHERE id > ? AND id <= ? AND window_end > ? AND window_end <= ? ORDER BY id`,
    )
    .all(after, last, sinceMs, untilMs) as Balance[];
  return { balances, next: last };
}

/** Recounts the windows that have not ended from their posted lines; returns how many rows had to be set right. */
function repairBalances(store: Store, nowMs: number): number {
  const repair = store.prepare(
    `UPDATE balance SET committed = truth.posted, debt = truth.debt, held = 0
     FROM (SELECT b.id, coalesce(sum(p.posted), 0) AS posted, coalesce(sum(p.debt), 0) AS debt
           FROM balance AS b LEFT JOIN posted_line AS p ON p.balance = b.id
           WHERE b.window_end IS NULL OR b.window_end > @nowMs GROUP BY b.id) AS truth
     WHERE truth.id = balance.id AND (committed <> truth.posted OR balance.debt <> truth.debt OR held <> 0)`,
  );
  return (
    repair.run({ nowMs: nowMs - CLOCKS_APART_MS }).changes + store.prepare("UPDATE balance SET held = 0 WHERE held <> 0").run().changes
  );
}

function unknownSettlement(row: OpenCall, source: string, nowMs: number): SettleRow {
  const moves = (JSON.parse(row.moves) as Move[]).map(
    ([budget, scope, start, end, , held]): Move => [budget, scope, start, end, held, -held, 0],
  );
  const audit = JSON.parse(row.audit) as AuditRecord;
  const { target_kind, tool, ...billed } = JSON.parse(row.usage) as HeldUsage;
  const time = new Date(nowMs).toISOString();
  const record: AuditRecord = {
    ...audit,
    time_end: time,
    outcome: "unknown",
    settlement: "unknown",
    note: "the gateway stopped before this call was settled",
    budget: audit.budget.map((line) => ({ ...line, posted: line.held })),
  };
  const quantity = { ...billed, input_tokens: 0, output_tokens: 0, bytes_in: 0 };
  const held = { outcome: "unknown", provisional: true, token_source: "held" } as const;
  const event = usageEventOf(record, { time, target_kind, tool, quantity, ...held });
  return {
    kind: "settle",
    callId: row.call_id,
    moves: JSON.stringify(moves),
    usage: usageRow(event),
    record: recordRow(record, source, digestOfEvent(event)),
    // What is told is told by those who are there to see it crossed.
    notices: [],
    // A key that stays open tells by that alone that the fate of its call is unknown.
    key: "",
  };
}
