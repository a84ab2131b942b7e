/** What every ledger promises, wherever it counts: run against each implementation. */
import { expect, test } from "vitest";
import type { Balance, Ledger } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { callId, DAY_MS, drawOf, HOUR_MS, held, NOON, refused, sentHold, standing, usageOf } from "./draws.ts";

export function ledgerContract(name: string, make: (initial: readonly Balance[]) => Ledger): void {
  const promise = (text: string, body: () => void) => test(`${name}: ${text}`, body);
  const once = usageOf(1, 100);

  promise("200 calls at once against a limit of 100 give exactly 100 holds", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 100 });
    const answers = Array.from({ length: 200 }, () => ledger.hold(callId(), [draw], once, NOON));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(100);
    expect(answers.filter((answer) => isRefusal(answer) && answer.refused === "budget_exhausted")).toHaveLength(100);
    expect(standing(ledger, draw)).toEqual([0, 100, 0]);
  });

  promise("the first calls of a counter that never existed share one limit", () => {
    const ledger = make([]);
    const draw = drawOf({ scope: "agent=agt_new", limit: 3 });
    const answers = Array.from({ length: 8 }, () => ledger.hold(callId(), [draw], once, NOON));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(3);
  });

  promise("all draws or none: a refusal gives back what earlier draws held", () => {
    const ledger = make([]);
    const wide = drawOf({ budget: "wide", limit: 1000 });
    const narrow = drawOf({ budget: "narrow", limit: 1 });
    const last = drawOf({ budget: "last", limit: 1000 });
    held(ledger, [wide, narrow, last], once);
    refused(ledger, [wide, narrow, last], once);
    expect([wide, narrow, last].map((draw) => standing(ledger, draw))).toEqual([
      [0, 1, 0],
      [0, 1, 0],
      [0, 1, 0],
    ]);
  });

  promise("the refusal names the first budget, in the order given, that cannot carry the call", () => {
    const ledger = make([]);
    const full = [drawOf({ budget: "z", limit: 0 }), drawOf({ budget: "a", limit: 0 })];
    expect(refused(ledger, [drawOf({ budget: "open" }), ...full], once).facts.budget).toBe("z");
  });

  promise("a refusal says budget, meter, limit, remaining, required and when the window ends", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 150, timeZone: "Europe/Berlin" });
    held(ledger, [draw], once);
    const refusal = refused(ledger, [draw], once);
    expect(refusal.refused).toBe("budget_insufficient");
    expect(refusal.facts).toEqual({
      budget: "b",
      meter: "tool_tokens",
      limit: 150,
      remaining: 50,
      required: 100,
      resets_at: "2026-03-10T23:00:00.000Z",
    });
  });

  promise("exhausted: not one unit is left; insufficient: a unit fits, the hold does not", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 101 });
    const reservation = sentHold(ledger, [draw], once);
    expect(refused(ledger, [draw], once).refused).toBe("budget_insufficient");
    reservation.post(usageOf(1, 101));
    expect(refused(ledger, [draw], once).refused).toBe("budget_exhausted");
  });

  promise("a budget without an end names no reset", () => {
    expect(refused(make([]), [drawOf({ period: "total", limit: 0 })], once).facts.resets_at).toBeUndefined();
  });

  promise("posting less than the hold gives the rest back", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 100 });
    const settlement = sentHold(ledger, [draw], once).post(usageOf(1, 30));
    expect(settlement).toMatchObject({ state: "posted", lines: [{ posted: 30, debt: 0 }], withheld: null });
    expect(standing(ledger, draw)).toEqual([30, 0, 0]);
  });

  promise("a usage above the hold extends it as far as the limit carries it", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 250 });
    expect(sentHold(ledger, [draw], once).post(usageOf(1, 250))).toMatchObject({ lines: [{ posted: 250, debt: 0 }], withheld: null });
  });

  promise("a result that a hard budget cannot carry is withheld, and its hold is posted in full", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 250 });
    const settlement = sentHold(ledger, [draw], once).post(usageOf(1, 251));
    expect(settlement.lines).toMatchObject([{ posted: 100, debt: 0 }]);
    expect(settlement.withheld?.refused).toBe("result_over_budget");
    expect(settlement.withheld?.facts).toMatchObject({ budget: "b", meter: "tool_tokens", remaining: 150, required: 251 });
    expect(standing(ledger, draw)).toEqual([100, 0, 0]);
  });

  promise("the hold of another call is never taken for an extension", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    const first = sentHold(ledger, [draw], once);
    const second = sentHold(ledger, [draw], once);
    expect(first.post(usageOf(1, 101)).withheld?.refused).toBe("result_over_budget");
    expect(second.post(usageOf(1, 100)).withheld).toBeNull();
    expect(standing(ledger, draw)).toEqual([200, 0, 0]);
  });

  promise("overrun deliver: the result passes, the excess is debt, and nothing new is held while it stands", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200, overrun: "deliver" });
    const settlement = sentHold(ledger, [draw], once).post(usageOf(1, 500));
    expect(settlement).toMatchObject({ lines: [{ posted: 200, debt: 300 }], withheld: null });
    expect(refused(ledger, [draw], once).facts.remaining).toBe(0);
    expect(refused(ledger, [{ ...draw, limit: 500 }], once).refused).toBe("budget_exhausted");
    held(ledger, [{ ...draw, limit: 600 }], once);
  });

  promise("a withheld result still counts in full on the budgets that can carry it", () => {
    const ledger = make([]);
    const tight = drawOf({ budget: "tight", meter: "tool_tokens", limit: 100 });
    const wide = drawOf({ budget: "wide", meter: "tool_tokens", limit: 1000 });
    expect(
      sentHold(ledger, [tight, wide], once)
        .post(usageOf(1, 400))
        .lines.map((line) => line.posted),
    ).toEqual([100, 400]);
  });

  promise("where several budgets withhold a result, the first in the order given is named", () => {
    const ledger = make([]);
    const tight = drawOf({ budget: "tight", meter: "tool_tokens", limit: 100 });
    const tighter = drawOf({ budget: "tighter", meter: "tool_tokens", limit: 100 });
    expect(sentHold(ledger, [tight, tighter], once).post(usageOf(1, 101)).withheld?.facts.budget).toBe("tight");
  });

  promise("a soft budget counts and never refuses; what is over its limit stands as debt", () => {
    const ledger = make([]);
    const draw = drawOf({ hard: false, limit: 2 });
    const reservations = Array.from({ length: 5 }, () => sentHold(ledger, [draw], once));
    for (const reservation of reservations) expect(reservation.post(once).withheld).toBeNull();
    expect(standing(ledger, draw)).toEqual([2, 0, 3]);
  });

  promise("only a hard token budget that withholds makes the final message wait", () => {
    const tokens = drawOf({ meter: "tool_tokens", limit: 1000 });
    const asks = (draw: typeof tokens) => held(make([]), [draw], once).metersResult;
    expect([asks(tokens), asks(drawOf()), asks({ ...tokens, hard: false }), asks({ ...tokens, overrun: "deliver" })]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  promise("leaving the scope before sending gives the hold back, also when it is left by an exception", () => {
    const ledger = make([]);
    const draw = drawOf();
    expect(() => {
      using reservation = held(ledger, [draw], once);
      throw new Error(`a fault within ${reservation.callId}`);
    }).toThrow("a fault within");
    expect(standing(ledger, draw)).toEqual([0, 0, 0]);
  });

  promise("leaving the scope after sending posts the hold in full", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    {
      using reservation = held(ledger, [draw], once);
      reservation.sent();
    }
    expect(standing(ledger, draw)).toEqual([100, 0, 0]);
  });

  promise("disposing twice, or after the end, changes nothing", () => {
    const ledger = make([]);
    const draw = drawOf();
    const posted = sentHold(ledger, [draw], once);
    posted.post(once);
    posted[Symbol.dispose]();
    const unsent = held(ledger, [draw], once);
    unsent[Symbol.dispose]();
    unsent[Symbol.dispose]();
    expect(standing(ledger, draw)).toEqual([1, 0, 0]);
  });

  promise("an unknown fate costs the whole hold", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    expect(sentHold(ledger, [draw], once).postUnknown()).toMatchObject({
      state: "unknown",
      lines: [{ posted: 100, debt: 0 }],
      withheld: null,
    });
  });

  promise("what was marked sent and still never left is given back", () => {
    const ledger = make([]);
    const draw = drawOf();
    expect(sentHold(ledger, [draw], once).voidUnsent()).toMatchObject({ state: "voided", lines: [{ posted: 0, debt: 0 }] });
    expect(standing(ledger, draw)).toEqual([0, 0, 0]);
  });

  promise("a hold ends once: a settled one cannot be voided, a voided one cannot be posted, and neither twice", () => {
    const ledger = make([]);
    const draw = drawOf();
    const posted = sentHold(ledger, [draw], once);
    posted.post(once);
    expect(() => posted.post(once)).toThrow("ended");
    expect(() => posted.postUnknown()).toThrow("ended");
    expect(() => posted.voidUnsent()).toThrow("ended");
    expect(() => posted.sent()).toThrow("ended");
    const voided = held(ledger, [draw], once);
    voided.voidUnsent();
    expect(() => voided.post(once)).toThrow("ended");
    expect(() => voided.voidUnsent()).toThrow("ended");
    expect(() => held(ledger, [draw], once).post(once)).toThrow("held");
    expect(standing(ledger, draw)).toEqual([1, 1, 0]);
  });

  promise("a call that ends after the turn of the period is charged to the window of its hold", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    const reservation = sentHold(ledger, [draw], once);
    const tomorrow = NOON + DAY_MS;
    held(ledger, [draw], once, tomorrow);
    reservation.post(usageOf(1, 120));
    expect(standing(ledger, draw, NOON)).toEqual([120, 0, 0]);
    expect(standing(ledger, draw, tomorrow)).toEqual([0, 100, 0]);
  });

  promise("a new window starts empty", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 1, period: "hour" });
    sentHold(ledger, [draw], once).post(once);
    refused(ledger, [draw], once);
    held(ledger, [draw], once, NOON + HOUR_MS);
  });

  promise("a clock that jumps back does not reopen a window that has closed", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 1 });
    held(ledger, [draw], once, NOON + DAY_MS);
    expect(refused(ledger, [draw], once, NOON).facts.resets_at).toBe("2026-03-12T00:00:00.000Z");
    expect(standing(ledger, draw, NOON)).toEqual([0, 0, 0]);
  });

  promise("after a restart, too, a clock that went back meets the window that was open last", () => {
    const start = Date.parse("2026-03-11T00:00:00Z");
    const row = { budget: "b", scope: "", windowStartMs: start, windowEndMs: start + DAY_MS, committed: 1, held: 0, debt: 0 };
    refused(make([row]), [drawOf({ limit: 1 })], once, NOON);
  });

  promise("a restart carries on with the balances it is given", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 3 });
    sentHold(ledger, [draw], once).post(once);
    sentHold(ledger, [draw], once).post(once);
    const again = make(ledger.balances());
    expect(standing(again, draw)).toEqual([2, 0, 0]);
    held(again, [draw], once);
    refused(again, [draw], once);
  });

  promise("a limit lowered below what is spent leaves 0, never less, and refuses what is new", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 10 });
    for (let i = 0; i < 8; i++) sentHold(ledger, [draw], once).post(once);
    expect(refused(ledger, [{ ...draw, limit: 5 }], once)).toMatchObject({
      refused: "budget_exhausted",
      facts: { remaining: 0, limit: 5 },
    });
    expect(standing(ledger, draw)).toEqual([8, 0, 0]);
  });

  promise("what was held when the limit was lowered ends as debt above the new limit, and is delivered", () => {
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 300 });
    const reservation = sentHold(ledger, [draw], once);
    refused(ledger, [{ ...draw, limit: 60 }], once);
    expect(reservation.post(once)).toMatchObject({ lines: [{ posted: 60, debt: 40 }], withheld: null });
  });

  promise("two draws on the same counter are held and given back together", () => {
    const ledger = make([]);
    const draw = drawOf({ limit: 3 });
    held(ledger, [draw, draw], once);
    refused(ledger, [draw, draw], once);
    expect(standing(ledger, draw)).toEqual([0, 2, 0]);
  });

  promise("sums never leave the whole numbers: a hold beyond 2^53 - 1 is refused, also on a soft budget", () => {
    const most = Number.MAX_SAFE_INTEGER;
    const ledger = make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: most, hard: false });
    const reservation = sentHold(ledger, [draw], usageOf(1, most - 10));
    refused(ledger, [draw], usageOf(1, 11));
    reservation.post(usageOf(1, most));
    expect(standing(ledger, draw)).toEqual([most, 0, 0]);
    for (const wrong of [-1, 0.5, most + 1, Number.NaN]) expect(() => held(ledger, [draw], usageOf(1, wrong))).toThrow(RangeError);
  });

  promise("a call without budgets is held on nothing", () => {
    expect(sentHold(make([]), [], once).post(once)).toEqual({ state: "posted", lines: [], withheld: null });
  });
}
