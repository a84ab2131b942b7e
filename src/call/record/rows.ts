/** Pure. Entries as the flat texts that cross to the journal's thread: composing them here spares that thread, and the copy of whole trees. */
import type { HoldLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { digestOfText } from "./digest.ts";
import type { Notice, PermitEntry, SettlementEntry } from "./journal.ts";
import { type EventText, eventText, recordText } from "./record-text.ts";
import { rfc3339 } from "./rfc3339.ts";
import type { UsageEvent } from "./usage-event.ts";

/** What an entry changes on one balance: budget, scope, window start and end (ms), then the changes of committed, held and debt. */
export type Move = readonly [string, string, number, number | null, number, number, number];

export type PermitRow = {
  readonly kind: "permit";
  readonly callId: string;
  readonly atMs: number;
  /** JSON of `Move[]`. */
  readonly moves: string;
  /** JSON of the record, and of `HeldUsage`. */
  readonly audit: string;
  readonly usage: string;
  /** JSON of `KeyClaim`; empty: it has none. */
  readonly key: string;
};

/** Canonical JSON of a record in two pieces: the journal puts `"sequence":N` between them. */
export type RecordRow = {
  readonly kind: "append";
  readonly recordKind: string;
  readonly callId: string | null;
  readonly before: string;
  readonly after: string;
};

/** A usage event: what is its own, and its attributes, which it shares with many others. */
export type UsageRow = {
  readonly atMs: number;
  readonly logicalCallId: string | null;
  /** JSON of the customer and all that is not below. */
  readonly attributes: string;
  readonly quantities: readonly number[];
  /** What is counted beyond the columns. No name of a meter has white space. */
  readonly amounts: readonly Amount[];
};

export type Amount = readonly [meter: string, amount: number];

/** Written once for each window and percent. */
export type NoticeRow = {
  readonly kind: "notice";
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  readonly percent: number;
  readonly record: RecordRow;
};

export type SettleRow = {
  readonly kind: "settle";
  readonly callId: string;
  readonly moves: string;
  readonly usage: UsageRow | null;
  readonly record: RecordRow;
  readonly notices: readonly NoticeRow[];
  /** JSON of `KeyEnding`; empty: it has none. */
  readonly key: string;
};

export type Row = PermitRow | SettleRow | RecordRow | NoticeRow;

/** Order of `quantities`, and the columns of `usage_event`. */
export const QUANTITIES = ["calls", "tool_tokens", "input_tokens", "output_tokens", "bytes_in", "bytes_out", "duration_ms"] as const;

export function permitRow({ callId, atMs, lines, audit, usage, key }: PermitEntry): PermitRow {
  const moves = lines.map((line) => moveOf(line, 0, line.amount, 0));
  const { before, after } = recordText(audit, "", null);
  const texts = { moves: JSON.stringify(moves), audit: `${before},${after}`, usage: JSON.stringify(usage) };
  return { kind: "permit", callId, atMs, ...texts, key: key === undefined ? "" : JSON.stringify(key) };
}

export function settleRow({ callId, lines, audit, usage, notices, key }: SettlementEntry, source: string): SettleRow {
  const moves = lines.map(({ line, posted, debt }) => moveOf(line, posted, -line.amount, debt));
  const event = usage === null ? null : eventText(usage);
  return {
    kind: "settle",
    callId,
    moves: JSON.stringify(moves),
    usage: usage === null || event === null ? null : usageRow(usage, event),
    record: recordRow(audit, source, event === null ? null : digestOfText(event.event)),
    notices: notices.map((notice) => noticeRow(notice, source)),
    key: key === undefined ? "" : JSON.stringify(key),
  };
}

export function noticeRow({ record, ...about }: Notice, source: string): NoticeRow {
  return { kind: "notice", ...about, record: recordRow(record, source) };
}

export function recordRow(record: AuditRecord, source: string, usageEvent: string | null = null): RecordRow {
  const { before, after } = recordText(record, source, usageEvent);
  return { kind: "append", recordKind: record.kind, callId: record.call_id, before, after };
}

export function bodyOf({ before, after }: RecordRow, sequence: number): string {
  return `${before},"sequence":${sequence},${after}`;
}

export function usageRow(event: UsageEvent, { attributes }: EventText = eventText(event)): UsageRow {
  const { call_id, logical_call_id, quantity } = event.data;
  const atMs = Date.parse(event.time);
  // The time is kept as a number, and must come back as the text that was digested.
  if (rfc3339(atMs) !== event.time) throw new RangeError(`${event.time} is not a time in UTC with milliseconds`);
  return {
    atMs,
    logicalCallId: logical_call_id === call_id ? null : logical_call_id,
    attributes,
    quantities: QUANTITIES.map((name) => whole(quantity[name])),
    amounts: amountsOf(quantity),
  };
}

const NOTHING_FURTHER: readonly Amount[] = [];

function amountsOf({ outcomes, outputs, cost_micros }: UsageEvent["data"]["quantity"]): readonly Amount[] {
  if (outcomes === undefined && outputs === undefined && cost_micros === undefined) return NOTHING_FURTHER;
  const cost: Amount[] = cost_micros === undefined ? [] : [["cost_micros", whole(cost_micros)]];
  const named = Object.entries(outcomes ?? {}).map(([name, amount]): Amount => [`outcome:${name}`, whole(amount)]);
  return [...cost, ...named, ...Object.entries(outputs ?? {}).map(([meter, amount]): Amount => [meter, whole(amount)])];
}

/** Of a correction: what each line changes. */
export function movesOf(lines: readonly { readonly line: HoldLine; readonly posted: number; readonly debt: number }[]): Move[] {
  return lines.map(({ line, posted, debt }) => moveOf(line, posted, 0, debt));
}

function moveOf({ draw, windowStartMs, windowEndMs }: HoldLine, committed: number, held: number, debt: number): Move {
  return [draw.budget, draw.scope, windowStartMs, windowEndMs, whole(committed), whole(held), whole(debt)];
}

/** Beyond 2^53 a JSON reader may round, and the books would no longer say what was counted. */
function whole(amount: number): number {
  if (!Number.isSafeInteger(amount)) throw new RangeError(`${amount} is not a whole amount`);
  return amount;
}
