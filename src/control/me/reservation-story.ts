/** Pure. A reservation as the call that it stands for: the same record and the same usage event, told by whoever does the work. */
import type { McpRequest } from "../../call/accept/request.ts";
import type { Amounts, Reservation, Settlement, Usage } from "../../call/budget/reservation.ts";
import type { Outcome, OutcomeKind } from "../../call/forward/outcome.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import { auditOfCall, permitOf, type Scribe, settlementOf } from "../../call/record/compose.ts";
import type { PermitEntry, SettlementEntry } from "../../call/record/journal.ts";
import { type Measures, namedIn } from "../../call/record/measures.ts";
import type { Story } from "../../call/record/story.ts";
import type { CallId, ServerName } from "../../ids.ts";

/** What stands in a record as the request's method. */
const METHOD = "reservation";
/** Policies name what is no tool of a server `feature/NAME`. */
export const FEATURES = "feature" as ServerName;
const NOTHING = Buffer.alloc(0);

export type Place = {
  readonly callId: CallId;
  readonly server: ServerName;
  readonly tool: string;
  readonly atMs: number;
  readonly monoMs: number;
};

export function requestOf({ callId, server, tool, atMs, monoMs }: Place): McpRequest {
  const spans = { idSpan: null, targetSpan: null, argumentsSpan: null, progressTokenSpan: null };
  const mcp = { revision: null, idText: null, followUp: null, idempotencyKey: null, sessionId: null, lastEventId: null, view: null };
  return {
    ...spans,
    ...mcp,
    callId,
    receivedAtMs: atMs,
    receivedMonoMs: monoMs,
    server,
    httpMethod: "POST",
    course: "metered",
    era: "modern",
    method: METHOD,
    target: { kind: "tool", name: tool },
    body: NOTHING,
    authorization: null,
    accept: "",
    forwarded: {},
    userAgent: null,
    remoteAddress: "",
  };
}

/** What becomes durable before the reservation is told: a crash charges just this. */
export function permitEntry(
  story: Story,
  request: McpRequest,
  reservation: Reservation,
  by: string,
  held: Usage,
  scribe: Scribe,
): PermitEntry {
  const entry = permitOf(story, request, reservation, scribe);
  const { calls, tool_tokens, cost_micros } = held;
  const billed = { calls, tool_tokens, ...(cost_micros === undefined ? {} : { cost_micros }) };
  return { ...entry, audit: { ...entry.audit, administrator: by }, usage: { ...entry.usage, ...billed } };
}

export function settlementEntry(story: Story, request: McpRequest, settlement: Settlement, by: string, scribe: Scribe): SettlementEntry {
  const entry = settlementOf(story, request, settlement, scribe);
  const note = settlement.state === "unknown" ? "the reservation ended before it was settled" : entry.audit.note;
  return { ...entry, audit: { ...entry.audit, administrator: by, note } };
}

export function refusedEntry(story: Story, by: string, scribe: Scribe): AuditRecord {
  return { ...auditOfCall(story, scribe), administrator: by };
}

export function outcomeOf(kind: OutcomeKind): Outcome {
  const nothing = {
    status: null,
    headers: {},
    last: null,
    withReceipt: null,
    result: null,
    resultTexts: [],
    toolResult: null,
    bytesIn: 0,
    upstreamMs: 0,
  };
  return {
    ...nothing,
    kind,
    sent: kind !== "not_sent",
    refusal: null,
    serverVersion: null,
    requestState: null,
    cameTo: null,
    task: null,
  };
}

/** What the usage event tells beyond its columns. */
export function furtherOf(amounts: Amounts): Measures | null {
  const all = Object.entries(amounts).filter(([meter]) => !COLUMNS.has(meter));
  if (all.length === 0) return null;
  return { ...namedIn(all), given: {}, note: null };
}

const COLUMNS = new Set(["calls", "tool_tokens", "cost_micros"]);

/** Told alike while the record is being written and ever after. */
export type Settled = {
  readonly reservation_id: string | null;
  /** `unknown`: nobody settled it in time, so that it is charged as held. */
  readonly state: "posted" | "voided" | "unknown";
  /** With outcomes and further meters where there were any, as a receipt has them. */
  readonly usage: (AuditRecord["usage"] & Partial<Pick<Measures, "outcomes" | "outputs">>) | null;
  readonly charged: readonly {
    readonly budget: string;
    readonly meter: string;
    readonly held: number;
    readonly posted: number;
    readonly debt: number;
  }[];
};

/** `quantity`: of its usage event. Null: the record of something else. */
export function settledOf(record: AuditRecord, quantity: Partial<Pick<Measures, "outcomes" | "outputs">>): Settled | null {
  if (record.kind !== "call" || record.request?.method !== METHOD || record.settlement === null) return null;
  const charged = record.budget.map(({ budget, meter, held, posted, debt }) => ({ budget, meter, held, posted, debt }));
  const { outcomes, outputs } = quantity;
  const further = outcomes === undefined && outputs === undefined ? {} : { outcomes: outcomes ?? {}, outputs: outputs ?? {} };
  const usage = record.usage === null ? null : { ...record.usage, ...further };
  return { reservation_id: record.call_id, state: record.settlement, usage, charged };
}
