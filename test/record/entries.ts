/** Entries for the journal as the life of a call writes them, with every field of a real one. */
import type { Draw } from "../../src/call/authorize/permit.ts";
import type { HoldLine } from "../../src/call/budget/reservation.ts";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { blankRecord } from "../../src/call/record/compose.ts";
import type { HeldUsage, PermitEntry, SettlementEntry } from "../../src/call/record/journal.ts";
import type { UsageEvent } from "../../src/call/record/usage-event.ts";
import { type CallId, mintId } from "../../src/ids.ts";

export const NOW_MS = Date.UTC(2026, 10, 23, 10, 0, 0);
const MONTH_START_MS = Date.UTC(2026, 10, 1);
const MONTH_END_MS = Date.UTC(2026, 11, 1);

export const newCallId = (): CallId => mintId("call", NOW_MS);

export function holdLine(
  budget: string,
  scope: string,
  meter: Draw["meter"],
  amount: number,
  endMs: number | null = MONTH_END_MS,
): HoldLine {
  const draw: Draw = {
    budget,
    scope,
    meter,
    limit: 1_000_000,
    period: endMs === null ? "total" : "month",
    timeZone: "UTC",
    hard: true,
    overrun: "withhold",
    rollingMs: 0,
    overage: null,
    notify: [],
    lease: 0,
  };
  return { draw, windowStartMs: endMs === null ? 0 : MONTH_START_MS, windowEndMs: endMs, amount };
}

export const LINES: readonly HoldLine[] = [
  holdLine("support-month", "team=support", "calls", 1),
  holdLine("tokens-month", "", "tool_tokens", 2000),
];

const HELD_USAGE: HeldUsage = { target_kind: "tool", tool: "search_tickets", calls: 1, tool_tokens: 2000, bytes_out: 210 };

export function permitEntry(callId: CallId, lines: readonly HoldLine[] = LINES): PermitEntry {
  return { callId, atMs: NOW_MS, lines, audit: auditOf(callId, lines, null, 0), usage: HELD_USAGE };
}

/** Settled with `tokens` on the token meter and one call. */
export function settlementEntry(
  callId: CallId,
  tokens = 120,
  state: SettlementEntry["state"] = "posted",
  lines: readonly HoldLine[] = LINES,
): SettlementEntry {
  const used = (line: HoldLine) => (state === "unknown" ? line.amount : state === "voided" ? 0 : line.draw.meter === "calls" ? 1 : tokens);
  return {
    callId,
    atMs: NOW_MS + 12,
    state,
    lines: lines.map((line) => ({ line, posted: used(line), debt: 0, spent: 0, remaining: 0, crossed: [] })),
    notices: [],
    audit: auditOf(callId, lines, state, tokens),
    usage: state === "voided" ? null : usageOf(callId, state === "unknown", tokens),
  };
}

export function auditOf(
  callId: CallId | null,
  lines: readonly HoldLine[],
  state: SettlementEntry["state"] | null,
  tokens: number,
): AuditRecord {
  const time = new Date(NOW_MS).toISOString();
  const posted = (line: HoldLine) =>
    state === null || state === "voided" ? 0 : state === "unknown" ? line.amount : line.draw.meter === "calls" ? 1 : tokens;
  return {
    ...blankRecord("call"),
    call_id: callId,
    logical_call_id: callId,
    time_start: time,
    time_end: time,
    duration_ms: 12,
    agent: {
      id: "agt_01k9x3v7m2q8r5t1w4y6z0abcd",
      name: "support-bot",
      kind: "autonomous",
      instance: null,
      client_id: "agt_01k9x3v7m2q8r5t1w4y6z0abcd",
      customer: "acme",
      team: "support",
      workflow: null,
      owner: "ada@example.com",
      purpose: "answers tickets",
      risk_class: "limited",
    },
    token: { issuer: "http://127.0.0.1:8080", id: "8xJ1kQz0o3" },
    request: {
      http_method: "POST",
      method: "tools/call",
      era: "2026-07-28",
      revision: "2026-07-28",
      id: "7",
      user_agent: "node",
      view: null,
    },
    server: "tickets",
    server_version: "1.4.0",
    target: { kind: "tool", name: "search_tickets" },
    definition: `sha256:${"ab".repeat(32)}`,
    arguments: { hmac: `hmac-sha256:${"cd".repeat(32)}`, bytes: 48 },
    result: state === null ? null : { hmac: `hmac-sha256:${"ef".repeat(32)}`, bytes: 480 },
    decision: "permit",
    rule: { name: "support reads tickets", file: "policies/support.yaml", line: 12 },
    policy_version: "p-1f2e3d4c",
    config_version: "c-9a8b7c6d",
    entitlement_result: "permitted",
    budget: lines.map((line) => ({
      budget: line.draw.budget,
      scope: line.draw.scope,
      meter: line.draw.meter,
      window_start: new Date(line.windowStartMs).toISOString(),
      window_end: line.windowEndMs === null ? null : new Date(line.windowEndMs).toISOString(),
      held: line.amount,
      posted: posted(line),
      debt: 0,
    })),
    settlement: state,
    usage: state === "posted" ? { calls: 1, tool_tokens: tokens } : null,
    token_count: state === "posted" ? { source: "estimated", encoding: "o200k_base", counter: "gpt-tokenizer@4.0.0" } : null,
    outcome: state === null ? null : state === "posted" ? "ok" : state,
    upstream: state === null ? null : { status: 200, credential: "none", bytes_in: 480, bytes_out: 210, duration_ms: 9 },
  };
}

function usageOf(callId: CallId, provisional: boolean, tokens: number): UsageEvent {
  return {
    id: `${callId}.settled`,
    type: "io.tollgate.call.settled.v1",
    time: new Date(NOW_MS).toISOString(),
    subject: "acme",
    data: {
      call_id: callId,
      logical_call_id: callId,
      agent_id: "agt_01k9x3v7m2q8r5t1w4y6z0abcd",
      agent: "support-bot",
      instance: null,
      team: "support",
      workflow: null,
      server: "tickets",
      target_kind: "tool",
      tool: "search_tickets",
      definition: `sha256:${"ab".repeat(32)}`,
      outcome: provisional ? "unknown" : "ok",
      provisional,
      quantity: { calls: 1, tool_tokens: tokens, input_tokens: 20, output_tokens: 100, bytes_in: 480, bytes_out: 210, duration_ms: 12 },
      token_source: provisional ? "held" : "estimated",
      token_encoding: "o200k_base",
      token_counter: "gpt-tokenizer@4.0.0",
      definition_version: "2026-11-01",
      definition_digest: `sha256:${"12".repeat(32)}`,
      environment: "live",
      region: null,
      use: ["chargeback", "policy"],
    },
  };
}
