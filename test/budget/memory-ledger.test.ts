import { expect, test } from "vitest";
import { remaining } from "../../src/call/budget/counter.ts";
import { createLedger, type MemoryLedger } from "../../src/call/budget/memory-ledger.ts";
import { DAY_MS, drawOf, held, NOON, refused, sentHold, standing, usageOf } from "./draws.ts";
import { ledgerContract } from "./ledger-contract.ts";

ledgerContract("in memory", (initial) => createLedger(initial));

const once = usageOf(1, 100);

test("a sweep forgets ended windows, but not while something is held in them", async () => {
  const ledger = createLedger([]);
  const open = await sentHold(ledger, [drawOf({ scope: "agent=a" })], once);
  await (await sentHold(ledger, [drawOf({ scope: "agent=b" })], once)).post(once);
  await (await sentHold(ledger, [drawOf({ scope: "agent=c", period: "total" })], once)).post(once);
  expect(ledger.sweep(NOON)).toBe(0);
  expect(ledger.sweep(NOON + DAY_MS)).toBe(1);
  open.post(once);
  expect(await standing(ledger, drawOf({ scope: "agent=a" }))).toEqual([1, 0, 0]);
  expect(ledger.sweep(NOON + DAY_MS)).toBe(1);
  expect(ledger.balances().map((row) => row.scope)).toEqual(["agent=c"]);
});

test("a window that was swept stays closed when the clock jumps back into it", async () => {
  const ledger = createLedger([]);
  const draw = drawOf({ limit: 1 });
  await (await sentHold(ledger, [draw], once)).post(once);
  ledger.sweep(NOON + DAY_MS);
  await held(ledger, [draw], once, NOON);
  expect(await standing(ledger, draw, NOON)).toEqual([0, 0, 0]);
  expect(await standing(ledger, draw, NOON + DAY_MS)).toEqual([0, 1, 0]);
});

test("a clock that somebody vouches for leaves later windows until their time comes, and goes on with what the present ones counted", async () => {
  const later = NOON + 3650 * DAY_MS;
  for (const draw of [drawOf({ limit: 3, period: "hour" }), drawOf({ limit: 3, period: "rolling", rollingMs: 60_000 })]) {
    const before = createLedger([]);
    for (const nowMs of [NOON, later, later]) await (await sentHold(before, [draw], once, nowMs)).post(once);
    const balances = before.balances();
    const left = (ledger: MemoryLedger, nowMs: number) => ledger.weigh([draw], once, nowMs).left[0]?.remaining;
    // By itself it would go on in the far window.
    expect(left(createLedger(balances, { nowMs: NOON }), NOON)).toBe(1);
    const ledger = createLedger(balances, { clockMs: NOON });
    expect(left(ledger, NOON)).toBe(2);
    for (let i = 0; i < 2; i += 1) await (await sentHold(ledger, [draw], once, NOON)).post(once);
    expect((await refused(ledger, [draw], once, NOON)).facts).toMatchObject({ remaining: 0 });
    expect(left(ledger, NOON + DAY_MS)).toBe(3);
    ledger.sweep(NOON + DAY_MS);
    expect(left(ledger, later)).toBe(1);
  }
});

test("its present is the latest that it has heard of, or that of the clock where that is later", async () => {
  const ledger = createLedger([], { clockMs: NOON });
  await held(ledger, [drawOf()], once, NOON + DAY_MS);
  expect([NOON, NOON + 2 * DAY_MS, NOON].map(ledger.presentMs)).toEqual([NOON + DAY_MS, NOON + 2 * DAY_MS, NOON + DAY_MS]);
});

test("more counters than the ledger keeps are refused as overload, and counters that exist go on", async () => {
  const ledger = createLedger([], { countersMax: 2 });
  await held(ledger, [drawOf({ scope: "a" }), drawOf({ scope: "b" })], once);
  expect((await refused(ledger, [drawOf({ scope: "a" }), drawOf({ scope: "c" })], once)).refused).toBe("overloaded");
  expect(await standing(ledger, drawOf({ scope: "a" }))).toEqual([0, 1, 0]);
  await held(ledger, [drawOf({ scope: "a" })], once);
});

test("what is durable counts also where there is no room for another counter: only calls are refused", async () => {
  const ledger = createLedger([], { countersMax: 1, ownMax: 1, ownMin: 1 });
  await held(ledger, [drawOf({ scope: "a" })], once);
  const draw = drawOf({ scope: "agent=b", owner: "b" });
  const line = { draw, windowStartMs: NOON - DAY_MS / 2, windowEndMs: NOON + DAY_MS / 2, amount: 0 };
  ledger.apply([{ line, posted: 0, debt: 1_000 }]);
  expect(await standing(ledger, draw)).toEqual([0, 0, 1_000]);
  // The agent may always have a counter: it is the one that is there.
  expect((await refused(ledger, [draw], once)).refused).toBe("budget_exhausted");
  expect((await refused(ledger, [drawOf({ scope: "c" })], once)).refused).toBe("overloaded");
});

test("a call that is refused leaves no counter behind, of none of its budgets, whatever instance it says that it is", async () => {
  const ledger = createLedger([], { countersMax: 3 });
  const spent = drawOf({ budget: "spent", limit: 1, period: "total" });
  (await sentHold(ledger, [spent], once)).post(once);
  for (let i = 0; i < 5; i += 1) {
    const draws = [
      spent,
      drawOf({ budget: "open", scope: `instance=i${i}` }),
      drawOf({ budget: "shut", scope: `instance=i${i}`, limit: 0 }),
    ];
    for (const some of [draws, draws.slice(1)]) expect((await refused(ledger, some, once)).refused).toBe("budget_exhausted");
  }
  expect(ledger.balances()).toHaveLength(1);
  await held(ledger, [drawOf({ budget: "other" })], once);
});

test("one agent makes its share of the counters, and leaves the others their own; some it may always have", async () => {
  const ledger = createLedger([], { countersMax: 6, ownMax: 4, ownMin: 2 });
  const ofAgent = (owner: string, i: number) => [drawOf({ scope: `agent=${owner}&instance=i${i}`, owner })];
  for (let i = 0; i < 4; i += 1) (await sentHold(ledger, ofAgent("a", i), once)).post(once);
  expect((await refused(ledger, ofAgent("a", 4), once)).refused).toBe("overloaded");
  for (const owner of ["b", "c"]) {
    for (let i = 0; i < 2; i += 1) (await sentHold(ledger, ofAgent(owner, i), once)).post(once);
    expect((await refused(ledger, ofAgent(owner, 2), once)).refused).toBe("overloaded");
  }
  await held(ledger, ofAgent("a", 0), once);
  // What has ended makes room, without waiting for a sweep.
  await held(ledger, ofAgent("a", 4), once, NOON + DAY_MS);
});

test("a sweep forgets counters in which nothing was used, a grant's too, but none that a call has in hand", async () => {
  const ledger = createLedger([]);
  const draws = [drawOf({ budget: "grant", period: "total" }), drawOf({ budget: "tokens", meter: "llm_tokens" })];
  const voided = await held(ledger, draws, once);
  expect(ledger.sweep(NOON)).toBe(0);
  voided[Symbol.dispose]();
  const open = await sentHold(ledger, [drawOf({ budget: "tokens", meter: "llm_tokens" })], once);
  expect(ledger.sweep(NOON)).toBe(1);
  open.post({ ...once, llm_tokens: 7 });
  expect(await standing(ledger, drawOf({ budget: "tokens", meter: "llm_tokens" }))).toEqual([7, 0, 0]);
});

test("remaining is what committed, held and debt leave of the limit, and never negative", async () => {
  const cases: [number, number, number, number, number][] = [
    [100, 0, 0, 0, 100],
    [100, 20, 30, 10, 40],
    [100, 100, 0, 0, 0],
    [100, 90, 20, 0, 0],
    [0, 0, 0, 0, 0],
  ];
  for (const [limit, committed, held, debt, left] of cases) expect(remaining({ limit }, { committed, held, debt })).toBe(left);
});
