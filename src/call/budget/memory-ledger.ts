/** The ledger of one process: decides in memory, all draws of a call or none; hard budgets keep committed + held <= limit at every instant. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";
import { type Counter, judgeHold, remaining } from "./counter.ts";
import { type CountedLine, HeldCall } from "./held-call.ts";
import type { Balance, Ledger, Reservation, Usage, Weighing } from "./reservation.ts";
import { createCalendar } from "./windows.ts";

export interface MemoryLedger extends Ledger {
  /** Forgets counters of ended windows in which nothing is held any more; their rows stay in the journal. Returns how many. */
  sweep(nowMs: number): number;
}

/** Counters in memory at once, about 60 MB: without a limit, `each: subject` would let callers decide how much memory is used. */
export const COUNTERS_MAX = 200_000;

/**
 * `initial`: the balances as the journal has them at start.
 *
 * The ledger's clock never runs backwards: a call counts in the window of the latest instant that the ledger has heard of, so that a
 * system clock that jumps back cannot reopen a window that has closed. One that jumped far ahead keeps later calls in that far
 * window until the real time has caught up: budgets then reset late, never early.
 */
export function createLedger(initial: readonly Balance[], countersMax: number = COUNTERS_MAX): MemoryLedger {
  const windowOf = createCalendar();
  const counters = new Map<string, Counter>();
  let latestMs = 0;
  for (const balance of initial) {
    counters.set(keyOf(balance.budget, balance.scope, balance.windowStartMs), { ...balance, limit: 0 });
    latestMs = Math.max(latestMs, balance.windowStartMs);
  }

  function counterFor(draw: Draw): Counter | null {
    const window = windowOf(draw.period, draw.timeZone, latestMs);
    const key = keyOf(draw.budget, draw.scope, window.startMs);
    let counter = counters.get(key);
    if (counter === undefined) {
      if (counters.size >= countersMax) return null;
      counter = emptyCounter(draw, window.startMs, window.endMs);
      counters.set(key, counter);
    }
    // The policy set may have changed since: the newest limit and the newest period's end count from now on.
    counter.limit = draw.limit;
    counter.windowEndMs = window.endMs;
    return counter;
  }

  return {
    hold(callId: CallId, draws: readonly Draw[], amounts: Usage, nowMs: number): Reservation | Refusal {
      latestMs = Math.max(latestMs, nowMs);
      for (const amount of [amounts.calls, amounts.tool_tokens]) {
        if (!Number.isSafeInteger(amount) || amount < 0) throw new RangeError(`a hold of ${amount}`);
      }
      const lines: CountedLine[] = [];
      for (const draw of draws) {
        const amount = amounts[draw.meter];
        const counter = counterFor(draw);
        if (counter === null) return giveBack(lines, FULL);
        const judged = judgeHold(counter, draw, amount);
        if (judged !== "carried") return giveBack(lines, refuseHold(judged, counter, draw, amount));
        counter.held += amount;
        lines.push({ draw, windowStartMs: counter.windowStartMs, windowEndMs: counter.windowEndMs, amount, counter });
      }
      return new HeldCall(callId, lines);
    },

    weigh(draws: readonly Draw[], amounts: Usage, nowMs: number): Weighing {
      let refusal: Refusal | null = null;
      const left = draws.map((draw) => {
        const { startMs, endMs } = windowOf(draw.period, draw.timeZone, Math.max(latestMs, nowMs));
        const known = counters.get(keyOf(draw.budget, draw.scope, startMs));
        const counter = { ...(known ?? emptyCounter(draw, startMs, endMs)), limit: draw.limit, windowEndMs: endMs };
        const judged = judgeHold(counter, draw, amounts[draw.meter]);
        if (judged !== "carried") refusal ??= refuseHold(judged, counter, draw, amounts[draw.meter]);
        return { draw, remaining: remaining(draw, counter), windowEndMs: endMs };
      });
      return { refusal, left };
    },

    balances(): readonly Balance[] {
      return [...counters.values()].map(({ limit: _, ...balance }) => balance);
    },

    sweep(nowMs: number): number {
      latestMs = Math.max(latestMs, nowMs);
      let dropped = 0;
      for (const [key, counter] of counters) {
        if (counter.held > 0 || counter.windowEndMs === null || counter.windowEndMs > latestMs) continue;
        counters.delete(key);
        dropped++;
      }
      return dropped;
    },
  };
}

const FULL: Refusal = refuse("overloaded", {}, "more budget counters than the ledger keeps");

/** None of the draws, where one cannot be carried. */
function giveBack(lines: readonly CountedLine[], refusal: Refusal): Refusal {
  for (const line of lines) line.counter.held -= line.amount;
  return refusal;
}

/** The first NUL ends the budget's name and the last begins the start, so no two counters share a key, whatever a scope holds. */
function keyOf(budget: string, scope: string, windowStartMs: number): string {
  return `${budget}\0${scope}\0${windowStartMs}`;
}

function emptyCounter(draw: Draw, windowStartMs: number, windowEndMs: number | null): Counter {
  return { budget: draw.budget, scope: draw.scope, windowStartMs, windowEndMs, limit: draw.limit, committed: 0, held: 0, debt: 0 };
}

function refuseHold(judged: "exhausted" | "insufficient", counter: Counter, draw: Draw, amount: number): Refusal {
  const left = remaining(draw, counter);
  const facts = {
    budget: draw.budget,
    meter: draw.meter,
    limit: draw.limit,
    remaining: left,
    required: amount,
    ...(counter.windowEndMs === null ? {} : { resets_at: new Date(counter.windowEndMs).toISOString() }),
  };
  const note = `budget ${draw.budget}: ${left} of ${draw.limit} ${draw.meter} left, ${amount} needed`;
  return refuse(judged === "insufficient" ? "budget_insufficient" : "budget_exhausted", facts, note);
}
