/** The ledger of one process: decides in memory, all draws of a call or none; hard budgets keep committed + held <= limit at every instant. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";
import { type Counter, ceilingOf, crossedBy, judgeHold, remaining, type Standing, usedOf } from "./counter.ts";
import { creditOver } from "./credit.ts";
import { assertWhole, type CountedLine, HeldCall } from "./held-call.ts";
import type { Adjusting, Adjustment, Amounts, Balance, HoldLine, Ledger, Settlement, Weighing } from "./reservation.ts";
import { COUNTER_BOUNDS, createRoom, type RoomBounds } from "./room.ts";
import { createCalendar, freedAt, type Window } from "./windows.ts";

/** At once, since nothing has to be asked. */
export interface MemoryLedger extends Ledger, Adjusting {
  hold(callId: CallId, draws: readonly Draw[], amounts: Amounts, nowMs: number): LocalReservation | Refusal;
  weigh(draws: readonly Draw[], amounts: Amounts, nowMs: number): Weighing;
  balances(): readonly Balance[];
  plan(draw: Draw, change: "credit" | "debit", amount: number, nowMs: number): readonly Adjustment[] | null;
  /** The present that its windows go by: that of the caller's clock, or the latest that it has heard of. */
  presentMs(nowMs: number): number;
  /** Forgets counters that are empty or of ended windows, and that no call has in hand; their rows stay in the journal. Returns how many. */
  sweep(nowMs: number): number;
}

export type LocalReservation = HeldCall & { post(usage: Amounts): Settlement };

/** Counters in memory at once. */
export const COUNTERS_MAX = COUNTER_BOUNDS.countersMax;
/** A sweep of all counters takes some 10 ms. */
const SWEEP_PAUSE_MS = 1_000;

/** `uses`: calls under way that count in it, also those that hold nothing there. */
type Kept = Counter & { readonly owner: string | null; uses: number };
type Line = CountedLine & { readonly counter: Kept };

export type LedgerOptions = Partial<RoomBounds> & {
  /** When `initial` was read: windows that had ended by then are not in it, and never count again, whatever the clock says later. */
  readonly nowMs?: number;
  /** Where the ledger's clock starts; windows that begin later are left until their time comes. Default: at `nowMs`, or at the latest window. */
  readonly clockMs?: number;
  /** Hears of thresholds, in percent, that a change which is no settlement has crossed. */
  readonly onCrossed?: (line: HoldLine, percents: readonly number[], spent: number) => void;
  /** Hears of the first call that each window of a budget refuses because nothing is left, and may hear of it again. */
  readonly onExhausted?: (draw: Draw, windowStartMs: number, windowEndMs: number | null, spent: number) => void;
};

/**
 * `initial`: the balances as the journal has them at start.
 *
 * The ledger's clock never runs backwards: a call counts in the window of the latest instant that the ledger has heard of, so that a
 * system clock that jumps back cannot reopen a window that has closed. One that jumped far ahead keeps later calls in that far
 * window until the real time has caught up: budgets then reset late, never early. `clockMs` ends that, where somebody vouches for it.
 */
export function createLedger(
  initial: readonly Balance[],
  { nowMs: startedMs = 0, clockMs, onCrossed, onExhausted, ...bounds }: LedgerOptions = {},
): MemoryLedger {
  const windowOf = createCalendar();
  /** By budget and scope: the windows of one share, the oldest first. */
  const shares = new Map<string, Kept[]>();
  const room = createRoom({ ...COUNTER_BOUNDS, ...bounds });
  let sweptAtMs = Number.NEGATIVE_INFINITY;
  let latestMs = clockMs ?? initial.reduce((latest, { windowStartMs }) => Math.max(latest, windowStartMs), startedMs);
  const add = (counter: Kept): Kept => {
    const share = shares.get(keyOf(counter));
    if (share === undefined) shares.set(keyOf(counter), [counter]);
    else share.push(counter);
    room.made(counter.owner);
    return counter;
  };
  for (const balance of initial.toSorted((a, b) => a.windowStartMs - b.windowStartMs)) {
    add({ ...balance, owner: null, uses: 0 });
  }

  /** What nobody can be told of any more goes when room is needed. */
  function hasRoom(owner: string | null): boolean {
    if (room.fits(owner, 1)) return true;
    if (latestMs - sweptAtMs < SWEEP_PAUSE_MS) return false;
    sweep();
    return room.fits(owner, 1);
  }

  function counterFor(draw: Draw): Kept | null {
    const window = windowOf(draw, latestMs);
    const known = shares.get(keyOf(draw))?.findLast(({ windowStartMs }) => windowStartMs === window.startMs);
    if (known === undefined) return hasRoom(draw.owner ?? null) ? add(emptyCounter(draw, window)) : null;
    // The policy set may have changed since: the newest period's end counts from now on.
    known.windowEndMs = window.endMs;
    return known;
  }

  /**
   * Of a change that is durable already: it may be the first of its window, and that of a rolling one may be before now. It does not
   * ask for room: what the journal has must count here, or a call would find its budget unspent.
   */
  function counterAt({ draw, windowStartMs, windowEndMs }: HoldLine): Kept | null {
    const known = shares.get(keyOf(draw))?.find((counter) => counter.windowStartMs === windowStartMs);
    if (known !== undefined) return known;
    if (windowEndMs !== null && windowEndMs <= latestMs) return null;
    const added = add(emptyCounter(draw, { startMs: windowStartMs, endMs: windowEndMs }));
    shares.get(keyOf(draw))?.sort((a, b) => a.windowStartMs - b.windowStartMs);
    return added;
  }

  function standingOf(draw: Draw, counter: Counter | undefined): Readonly<Standing> {
    return draw.period === "rolling" ? sumOf(countingSlots(draw)) : (counter ?? NOTHING);
  }

  /** A slot of another length is of another window: a budget whose window changes begins anew. */
  function countingSlots(draw: Draw): readonly Counter[] {
    const { startMs, endMs } = windowOf(draw, latestMs);
    const span = (endMs ?? 0) - startMs;
    const share = shares.get(keyOf(draw)) ?? [];
    return share.filter(
      ({ windowStartMs, windowEndMs }) =>
        windowStartMs <= latestMs && windowEndMs !== null && windowEndMs > latestMs && windowEndMs - windowStartMs === span,
    );
  }

  /** When as much as is needed is there again: at the end of a window, or when enough of a rolling one has gone by. */
  function resetOf(draw: Draw, amount: number): number | null {
    if (draw.period !== "rolling") return windowOf(draw, latestMs).endMs;
    return freedAt(countingSlots(draw), draw, amount);
  }

  function sweep(): number {
    sweptAtMs = latestMs;
    const before = room.size;
    for (const key of shares.keys()) forget(key, (counter) => isEmpty(counter) || isOver(counter));
    return before - room.size;
  }

  const isOver = ({ windowEndMs }: Counter) => windowEndMs !== null && windowEndMs <= latestMs;

  /** Of one share, what is in no call's hands and `goes`. */
  function forget(key: string, goes: (counter: Counter) => boolean): void {
    const share = shares.get(key) ?? [];
    const kept = share.filter((counter) => {
      const keeps = counter.held > 0 || counter.uses > 0 || !goes(counter);
      if (!keeps) room.gone(counter.owner);
      return keeps;
    });
    if (kept.length === 0) shares.delete(key);
    else if (kept.length < share.length) shares.set(key, kept);
  }

  function letGo(lines: readonly Line[]): void {
    for (const { counter } of lines) counter.uses -= 1;
  }

  /** None of the draws, where one cannot be carried. No counter stays for what was refused: callers would decide how many there are. */
  function giveBack(lines: readonly Line[], refused: Draw, refusal: Refusal): Refusal {
    letGo(lines);
    for (const { counter, amount } of lines) counter.held -= amount;
    for (const draw of [...lines.map((line) => line.draw), refused]) forget(keyOf(draw), isEmpty);
    return refusal;
  }

  return {
    hold(callId, draws, amounts, nowMs) {
      latestMs = Math.max(latestMs, nowMs);
      assertWhole(amounts);
      const lines: Line[] = [];
      for (const draw of draws) {
        const amount = amounts[draw.meter] ?? null;
        const counter = counterFor(draw);
        if (counter === null) return giveBack(lines, draw, FULL);
        const standing = () => standingOf(draw, counter);
        const judged = judgeHold(standing(), draw, amount);
        if (judged !== "carried") {
          const { committed, debt } = standing();
          if (judged === "exhausted") onExhausted?.(draw, counter.windowStartMs, counter.windowEndMs, committed + debt);
          return giveBack(lines, draw, refuseHold(judged, draw, standing(), amount ?? 1, resetOf(draw, amount ?? 1)));
        }
        counter.held += amount ?? 0;
        counter.uses += 1;
        lines.push({
          draw,
          windowStartMs: counter.windowStartMs,
          windowEndMs: counter.windowEndMs,
          amount: amount ?? 0,
          counter,
          standing,
        });
      }
      return new HeldCall(callId, lines, () => letGo(lines));
    },

    weigh(draws, amounts, nowMs) {
      latestMs = Math.max(latestMs, nowMs);
      let refusal: Refusal | null = null;
      const left = draws.map((draw) => {
        const amount = amounts[draw.meter] ?? null;
        const { startMs } = windowOf(draw, latestMs);
        const known = shares.get(keyOf(draw))?.findLast(({ windowStartMs }) => windowStartMs === startMs);
        const standing = standingOf(draw, known);
        const judged = judgeHold(standing, draw, amount);
        if (judged !== "carried") refusal ??= refuseHold(judged, draw, standing, amount ?? 1, resetOf(draw, amount ?? 1));
        return { draw, remaining: remaining(draw, standing), held: standing.held, windowEndMs: resetOf(draw, 1) };
      });
      return { refusal, left };
    },

    balances: () =>
      [...shares.values()].flatMap((share) =>
        share.filter(({ windowStartMs }) => windowStartMs <= latestMs).map(({ owner, uses, ...balance }) => balance),
      ),

    plan(draw, change, amount, nowMs) {
      latestMs = Math.max(latestMs, nowMs);
      const current = counterFor(draw);
      if (current === null) return null;
      const { windowStartMs, windowEndMs } = current;
      // Beyond 2^53 - 1 a sum is no longer exact, so it is not begun.
      if (change === "debit" && amount > Number.MAX_SAFE_INTEGER - usedOf(standingOf(draw, current))) return null;
      if (change === "debit") return [{ line: { draw, windowStartMs, windowEndMs, amount: 0 }, posted: 0, debt: amount }];
      return creditOver(draw, draw.period === "rolling" ? countingSlots(draw) : [current], amount);
    },

    apply(adjustments) {
      for (const { line, posted, debt } of adjustments) {
        const counter = counterAt(line);
        // Of a window that is over and forgotten only the journal knows.
        if (counter === null) continue;
        const before = standingOf(line.draw, counter);
        const spent = before.committed + before.debt;
        counter.committed += posted;
        counter.debt += debt;
        const crossed = crossedBy(line.draw, spent, spent + posted + debt);
        if (crossed.length > 0) onCrossed?.(line, crossed, spent + posted + debt);
      }
    },

    presentMs: (nowMs) => Math.max(latestMs, nowMs),

    sweep(nowMs) {
      latestMs = Math.max(latestMs, nowMs);
      return sweep();
    },
  };
}

const FULL: Refusal = refuse("overloaded", {}, "more budget counters than the ledger keeps");
const isEmpty = ({ committed, debt }: Counter) => committed === 0 && debt === 0;
const NOTHING: Readonly<Standing> = Object.freeze({ committed: 0, held: 0, debt: 0 });

/** No name of a budget holds a NUL, so no two shares have one key, whatever a scope holds. */
function keyOf({ budget, scope }: { readonly budget: string; readonly scope: string }): string {
  return `${budget}\0${scope}`;
}

function emptyCounter({ budget, scope, owner }: Draw, { startMs, endMs }: Window): Kept {
  return { budget, scope, owner: owner ?? null, uses: 0, windowStartMs: startMs, windowEndMs: endMs, committed: 0, held: 0, debt: 0 };
}

function sumOf(counters: readonly Counter[]): Standing {
  const sum: Standing = { committed: 0, held: 0, debt: 0 };
  for (const { committed, held, debt } of counters) {
    sum.committed += committed;
    sum.held += held;
    sum.debt += debt;
  }
  return sum;
}

/** `resetsAtMs` null: never by itself. */
export function refuseHold(
  judged: "exhausted" | "insufficient",
  draw: Draw,
  standing: Readonly<Standing>,
  amount: number,
  resetsAtMs: number | null,
): Refusal {
  const left = remaining(draw, standing);
  const ceiling = ceilingOf(draw);
  // What no window carries, waiting does not help.
  const hint =
    draw.hint ?? (ceiling !== null && amount > ceiling ? "It needs more than the whole budget: waiting does not help." : undefined);
  const facts = {
    budget: draw.budget,
    meter: draw.meter,
    limit: draw.limit,
    remaining: left,
    required: amount,
    ...(resetsAtMs === null ? {} : { resets_at: new Date(resetsAtMs).toISOString() }),
    ...(hint === undefined ? {} : { hint }),
  };
  const note = `budget ${draw.budget}: ${left} of ${draw.limit} ${draw.meter} left, ${amount} needed`;
  return refuse(judged === "insufficient" ? "budget_insufficient" : "budget_exhausted", facts, note);
}
