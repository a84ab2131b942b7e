/** What every ledger promises, wherever it counts: run against each implementation. */
import { expect, test } from "vitest";
import type { Adjusting, Balance, Ledger } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { callId, DAY_MS, drawOf, HOUR_MS, held, NOON, refused, sentHold, standing, usageOf } from "./draws.ts";

type Counting = Ledger & Pick<Adjusting, "apply">;

export function ledgerContract(name: string, make: (initial: readonly Balance[]) => Counting | Promise<Counting>): void {
  const promise = (text: string, body: () => Promise<void>) => test(`${name}: ${text}`, body);
  const once = usageOf(1, 100);

  promise("200 calls at once against a limit of 100 give exactly 100 holds", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 100 });
    const answers = await Promise.all(Array.from({ length: 200 }, () => ledger.hold(callId(), [draw], once, NOON)));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(100);
    expect(answers.filter((answer) => isRefusal(answer) && answer.refused === "budget_exhausted")).toHaveLength(100);
    expect(await standing(ledger, draw)).toEqual([0, 100, 0]);
  });

  promise("a debt that is reported counts, also on a counter that nobody has held on", async () => {
    const ledger = await make([]);
    const draw = drawOf({ scope: "agent=agt_reported", limit: 3 });
    const midnight = NOON - 12 * HOUR_MS;
    ledger.apply([{ line: { draw, windowStartMs: midnight, windowEndMs: midnight + DAY_MS, amount: 0 }, posted: 0, debt: 2 }]);
    await held(ledger, [draw], once);
    expect((await refused(ledger, [draw], once)).facts).toMatchObject({ remaining: 0, required: 1 });
    expect(await standing(ledger, draw)).toEqual([0, 1, 2]);
    ledger.apply([{ line: { draw, windowStartMs: midnight, windowEndMs: midnight + DAY_MS, amount: 0 }, posted: 0, debt: -1 }]);
    await held(ledger, [draw], once);
    expect(await standing(ledger, draw)).toEqual([0, 2, 1]);
  });

  promise("the first calls of a counter that never existed share one limit", async () => {
    const ledger = await make([]);
    const draw = drawOf({ scope: "agent=agt_new", limit: 3 });
    const answers = await Promise.all(Array.from({ length: 8 }, () => ledger.hold(callId(), [draw], once, NOON)));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(3);
  });

  promise("all draws or none: a refusal gives back what earlier draws held", async () => {
    const ledger = await make([]);
    const wide = drawOf({ budget: "wide", limit: 1000 });
    const narrow = drawOf({ budget: "narrow", limit: 1 });
    const last = drawOf({ budget: "last", limit: 1000 });
    await held(ledger, [wide, narrow, last], once);
    await refused(ledger, [wide, narrow, last], once);
    expect(await Promise.all([wide, narrow, last].map((draw) => standing(ledger, draw)))).toEqual([
      [0, 1, 0],
      [0, 1, 0],
      [0, 1, 0],
    ]);
  });

  promise("the refusal names the first budget, in the order given, that cannot carry the call", async () => {
    const ledger = await make([]);
    const full = [drawOf({ budget: "z", limit: 0 }), drawOf({ budget: "a", limit: 0 })];
    expect((await refused(ledger, [drawOf({ budget: "open" }), ...full], once)).facts.budget).toBe("z");
  });

  promise("a refusal says budget, meter, limit, remaining, required and when the window ends", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 150, timeZone: "Europe/Berlin" });
    await held(ledger, [draw], once);
    const refusal = await refused(ledger, [draw], once);
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

  promise("exhausted: not one unit is left; insufficient: a unit fits, the hold does not", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 101 });
    const reservation = await sentHold(ledger, [draw], once);
    expect((await refused(ledger, [draw], once)).refused).toBe("budget_insufficient");
    await reservation.post(usageOf(1, 101));
    expect((await refused(ledger, [draw], once)).refused).toBe("budget_exhausted");
  });

  promise("a budget without an end names no reset", async () => {
    expect((await refused(await make([]), [drawOf({ period: "total", limit: 0 })], once)).facts.resets_at).toBeUndefined();
  });

  promise("posting less than the hold gives the rest back", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 100 });
    const settlement = await (await sentHold(ledger, [draw], once)).post(usageOf(1, 30));
    expect(settlement).toMatchObject({ state: "posted", lines: [{ posted: 30, debt: 0 }], withheld: null });
    expect(await standing(ledger, draw)).toEqual([30, 0, 0]);
  });

  promise("a usage above the hold extends it as far as the limit carries it", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 250 });
    expect(await (await sentHold(ledger, [draw], once)).post(usageOf(1, 250))).toMatchObject({
      lines: [{ posted: 250, debt: 0 }],
      withheld: null,
    });
  });

  promise("a result that a hard budget cannot carry is withheld, and its hold is posted in full", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 250 });
    const settlement = await (await sentHold(ledger, [draw], once)).post(usageOf(1, 251));
    expect(settlement.lines).toMatchObject([{ posted: 100, debt: 0 }]);
    expect(settlement.withheld?.refused).toBe("result_over_budget");
    expect(settlement.withheld?.facts).toMatchObject({ budget: "b", meter: "tool_tokens", remaining: 150, required: 151 });
    expect(await standing(ledger, draw)).toEqual([100, 0, 0]);
  });

  promise("the hold of another call is never taken for an extension", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    const first = await sentHold(ledger, [draw], once);
    const second = await sentHold(ledger, [draw], once);
    expect((await first.post(usageOf(1, 101))).withheld?.refused).toBe("result_over_budget");
    expect((await second.post(usageOf(1, 100))).withheld).toBeNull();
    expect(await standing(ledger, draw)).toEqual([200, 0, 0]);
  });

  promise("overrun deliver: the result passes, the excess is debt, and nothing new is held while it stands", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200, overrun: "deliver" });
    const settlement = await (await sentHold(ledger, [draw], once)).post(usageOf(1, 500));
    expect(settlement).toMatchObject({ lines: [{ posted: 200, debt: 300 }], withheld: null });
    expect((await refused(ledger, [draw], once)).facts.remaining).toBe(0);
    expect((await refused(ledger, [{ ...draw, limit: 500 }], once)).refused).toBe("budget_exhausted");
    await held(ledger, [{ ...draw, limit: 600 }], once);
  });

  promise("a withheld result is charged as held on every budget, also where it could have been carried", async () => {
    const ledger = await make([]);
    const tight = drawOf({ budget: "tight", meter: "tool_tokens", limit: 100 });
    const wide = drawOf({ budget: "wide", meter: "tool_tokens", limit: 1000 });
    const { lines } = await (await sentHold(ledger, [tight, wide], once)).post(usageOf(1, 400));
    expect(lines.map((line) => line.posted)).toEqual([100, 100]);
  });

  promise("where several budgets withhold a result, the first in the order given is named", async () => {
    const ledger = await make([]);
    const tight = drawOf({ budget: "tight", meter: "tool_tokens", limit: 100 });
    const tighter = drawOf({ budget: "tighter", meter: "tool_tokens", limit: 100 });
    const { withheld } = await (await sentHold(ledger, [tight, tighter], once)).post(usageOf(1, 101));
    expect(withheld?.facts.budget).toBe("tight");
  });

  promise("a soft budget counts and never refuses", async () => {
    const ledger = await make([]);
    const draw = drawOf({ hard: false, limit: 2 });
    const reservations = await Promise.all(Array.from({ length: 5 }, () => sentHold(ledger, [draw], once)));
    for (const reservation of reservations) expect((await reservation.post(once)).withheld).toBeNull();
    expect(await standing(ledger, draw)).toEqual([5, 0, 0]);
  });

  promise("only a hard token budget that withholds makes the final message wait", async () => {
    const tokens = drawOf({ meter: "tool_tokens", limit: 1000 });
    const asks = async (draw: typeof tokens) => held(await make([]), [draw], once).then(({ metersResult }) => metersResult);
    expect(await Promise.all([tokens, drawOf(), { ...tokens, hard: false }, { ...tokens, overrun: "deliver" as const }].map(asks))).toEqual(
      [true, false, false, false],
    );
  });

  promise("leaving the scope before sending gives the hold back, also when it is left by an exception", async () => {
    const ledger = await make([]);
    const draw = drawOf();
    await expect(async () => {
      using reservation = await held(ledger, [draw], once);
      throw new Error(`a fault within ${reservation.callId}`);
    }).rejects.toThrow("a fault within");
    expect(await standing(ledger, draw)).toEqual([0, 0, 0]);
  });

  promise("leaving the scope after sending posts the hold in full", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    {
      using reservation = await held(ledger, [draw], once);
      reservation.sent();
    }
    expect(await standing(ledger, draw)).toEqual([100, 0, 0]);
  });

  promise("disposing twice, or after the end, changes nothing", async () => {
    const ledger = await make([]);
    const draw = drawOf();
    const posted = await sentHold(ledger, [draw], once);
    await posted.post(once);
    posted[Symbol.dispose]();
    const unsent = await held(ledger, [draw], once);
    unsent[Symbol.dispose]();
    unsent[Symbol.dispose]();
    expect(await standing(ledger, draw)).toEqual([1, 0, 0]);
  });

  promise("an unknown fate costs the whole hold", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    expect((await sentHold(ledger, [draw], once)).postUnknown()).toMatchObject({
      state: "unknown",
      lines: [{ posted: 100, debt: 0 }],
      withheld: null,
    });
  });

  promise("what was marked sent and still never left is given back", async () => {
    const ledger = await make([]);
    const draw = drawOf();
    expect((await sentHold(ledger, [draw], once)).voidUnsent()).toMatchObject({ state: "voided", lines: [{ posted: 0, debt: 0 }] });
    expect(await standing(ledger, draw)).toEqual([0, 0, 0]);
  });

  promise("a hold ends once: a settled one cannot be voided, a voided one cannot be posted, and neither twice", async () => {
    const ledger = await make([]);
    const draw = drawOf();
    const posted = await sentHold(ledger, [draw], once);
    await posted.post(once);
    await expect(async () => posted.post(once)).rejects.toThrow("ended");
    expect(() => posted.postUnknown()).toThrow("ended");
    expect(() => posted.voidUnsent()).toThrow("ended");
    expect(() => posted.sent()).toThrow("ended");
    const voided = await held(ledger, [draw], once);
    voided.voidUnsent();
    await expect(async () => voided.post(once)).rejects.toThrow("ended");
    expect(() => voided.voidUnsent()).toThrow("ended");
    const unsent = await held(ledger, [draw], once);
    await expect(async () => unsent.post(once)).rejects.toThrow("held");
    expect(await standing(ledger, draw)).toEqual([1, 1, 0]);
  });

  promise("a call that ends after the turn of the period is charged to the window of its hold", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 200 });
    const reservation = await sentHold(ledger, [draw], once);
    const tomorrow = NOON + DAY_MS;
    await held(ledger, [draw], once, tomorrow);
    await reservation.post(usageOf(1, 120));
    expect(await standing(ledger, draw, NOON)).toEqual([120, 0, 0]);
    expect(await standing(ledger, draw, tomorrow)).toEqual([0, 100, 0]);
  });

  promise("a new window starts empty", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 1, period: "hour" });
    await (await sentHold(ledger, [draw], once)).post(once);
    await refused(ledger, [draw], once);
    await held(ledger, [draw], once, NOON + HOUR_MS);
  });

  promise("a clock that jumps back does not reopen a window that has closed", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 1 });
    await held(ledger, [draw], once, NOON + DAY_MS);
    expect((await refused(ledger, [draw], once, NOON)).facts.resets_at).toBe("2026-03-12T00:00:00.000Z");
    expect(await standing(ledger, draw, NOON)).toEqual([0, 0, 0]);
  });

  promise("after a restart, too, a clock that went back meets the window that was open last", async () => {
    const start = Date.parse("2026-03-11T00:00:00Z");
    const row = { budget: "b", scope: "", windowStartMs: start, windowEndMs: start + DAY_MS, committed: 1, held: 0, debt: 0 };
    await refused(await make([row]), [drawOf({ limit: 1 })], once, NOON);
  });

  promise("a restart carries on with the balances it is given", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 3 });
    await (await sentHold(ledger, [draw], once)).post(once);
    await (await sentHold(ledger, [draw], once)).post(once);
    const again = await make(await ledger.balances());
    expect(await standing(again, draw)).toEqual([2, 0, 0]);
    await held(again, [draw], once);
    await refused(again, [draw], once);
  });

  promise("a limit lowered below what is spent leaves 0, never less, and refuses what is new", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 10 });
    for (let i = 0; i < 8; i++) await (await sentHold(ledger, [draw], once)).post(once);
    expect(await refused(ledger, [{ ...draw, limit: 5 }], once)).toMatchObject({
      refused: "budget_exhausted",
      facts: { remaining: 0, limit: 5 },
    });
    expect(await standing(ledger, draw)).toEqual([8, 0, 0]);
  });

  promise("what was held when the limit was lowered is carried all the same, and delivered", async () => {
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: 300 });
    const reservation = await sentHold(ledger, [draw], once);
    await refused(ledger, [{ ...draw, limit: 60 }], once);
    expect(await reservation.post(once)).toMatchObject({ lines: [{ posted: 100, debt: 0 }], withheld: null });
  });

  promise("two draws on the same counter are held and given back together", async () => {
    const ledger = await make([]);
    const draw = drawOf({ limit: 3 });
    await held(ledger, [draw, draw], once);
    await refused(ledger, [draw, draw], once);
    expect(await standing(ledger, draw)).toEqual([0, 2, 0]);
  });

  promise("sums never leave the whole numbers: a hold beyond 2^53 - 1 is refused, also on a soft budget", async () => {
    const most = Number.MAX_SAFE_INTEGER;
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: most, hard: false });
    const reservation = await sentHold(ledger, [draw], usageOf(1, most - 10));
    await refused(ledger, [draw], usageOf(1, 11));
    await reservation.post(usageOf(1, most));
    expect(await standing(ledger, draw)).toEqual([most, 0, 0]);
    for (const wrong of [-1, 0.5, most + 1, Number.NaN]) await expect(held(ledger, [draw], usageOf(1, wrong))).rejects.toThrow(RangeError);
  });

  promise("limit and overage end at 2^53 - 1 together: nothing is posted beyond it", async () => {
    const most = Number.MAX_SAFE_INTEGER;
    const ledger = await make([]);
    const draw = drawOf({ meter: "tool_tokens", limit: most, hard: false, overage: most, overrun: "deliver" });
    const reservations = [await sentHold(ledger, [draw], usageOf(1, 10)), await sentHold(ledger, [draw], usageOf(1, 10))];
    for (const reservation of reservations) await reservation.post(usageOf(1, most));
    expect(await standing(ledger, draw)).toEqual([most, 0, 0]);
    await refused(ledger, [draw], usageOf(1, 1));
  });

  promise("a call without budgets is held on nothing", async () => {
    expect(await (await sentHold(await make([]), [], once)).post(once)).toEqual({ state: "posted", lines: [], withheld: null });
  });
}
