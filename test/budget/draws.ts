/** Draws and helpers for the words of the budget tests. */
import type { Draw } from "../../src/call/authorize/permit.ts";
import type { Ledger, Reservation, Usage } from "../../src/call/budget/reservation.ts";
import type { CallId } from "../../src/ids.ts";
import { isRefusal, type Refusal } from "../../src/refusal.ts";

export const NOON = Date.parse("2026-03-10T12:00:00Z");
export const DAY_MS = 86_400_000;
export const HOUR_MS = 3_600_000;

const PLAIN = { timeZone: "UTC", hard: true, overrun: "withhold", rollingMs: 0, overage: null, notify: [], lease: 0 } as const;

export function drawOf(changes: Partial<Draw> = {}): Draw {
  return { budget: "b", scope: "", meter: "calls", limit: 10, period: "day", ...PLAIN, ...changes };
}

export function usageOf(calls: number, toolTokens = 0): Usage {
  return { calls, tool_tokens: toolTokens };
}

let serial = 0;

export function callId(): CallId {
  return `call_test${serial++}` as CallId;
}

export async function held(ledger: Ledger, draws: readonly Draw[], amounts: Usage, nowMs = NOON): Promise<Reservation> {
  const answer = await ledger.hold(callId(), draws, amounts, nowMs);
  if (isRefusal(answer)) throw new Error(`refused: ${answer.refused} ${JSON.stringify(answer.facts)}`);
  return answer;
}

export async function refused(ledger: Ledger, draws: readonly Draw[], amounts: Usage, nowMs = NOON): Promise<Refusal> {
  const answer = await ledger.hold(callId(), draws, amounts, nowMs);
  if (!isRefusal(answer)) throw new Error("held, though a refusal was due");
  return answer;
}

export async function sentHold(ledger: Ledger, draws: readonly Draw[], amounts: Usage, nowMs = NOON): Promise<Reservation> {
  const reservation = await held(ledger, draws, amounts, nowMs);
  reservation.sent();
  return reservation;
}

/** [committed, held, debt] of one counter; all zero where there is none. */
export async function standing(ledger: Ledger, draw: Draw, nowMs = NOON): Promise<readonly [number, number, number]> {
  const row = (await ledger.balances()).find(
    (b) =>
      b.budget === draw.budget && b.scope === draw.scope && b.windowStartMs <= nowMs && (b.windowEndMs === null || nowMs < b.windowEndMs),
  );
  return row === undefined ? [0, 0, 0] : [row.committed, row.held, row.debt];
}
