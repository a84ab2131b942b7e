import { expect, test } from "vitest";
import { remaining } from "../../src/call/budget/counter.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import { DAY_MS, drawOf, held, NOON, refused, sentHold, standing, usageOf } from "./draws.ts";
import { ledgerContract } from "./ledger-contract.ts";

ledgerContract("in memory", createLedger);

const once = usageOf(1, 100);

test("a sweep forgets ended windows, but not while something is held in them", () => {
  const ledger = createLedger([]);
  const open = sentHold(ledger, [drawOf({ scope: "agent=a" })], once);
  sentHold(ledger, [drawOf({ scope: "agent=b" })], once).post(once);
  sentHold(ledger, [drawOf({ scope: "agent=c", period: "total" })], once).post(once);
  expect(ledger.sweep(NOON)).toBe(0);
  expect(ledger.sweep(NOON + DAY_MS)).toBe(1);
  open.post(once);
  expect(standing(ledger, drawOf({ scope: "agent=a" }))).toEqual([1, 0, 0]);
  expect(ledger.sweep(NOON + DAY_MS)).toBe(1);
  expect(ledger.balances().map((row) => row.scope)).toEqual(["agent=c"]);
});

test("a window that was swept stays closed when the clock jumps back into it", () => {
  const ledger = createLedger([]);
  const draw = drawOf({ limit: 1 });
  sentHold(ledger, [draw], once).post(once);
  ledger.sweep(NOON + DAY_MS);
  held(ledger, [draw], once, NOON);
  expect(standing(ledger, draw, NOON)).toEqual([0, 0, 0]);
  expect(standing(ledger, draw, NOON + DAY_MS)).toEqual([0, 1, 0]);
});

test("more counters than the ledger keeps are refused as overload, and counters that exist go on", () => {
  const ledger = createLedger([], 2);
  held(ledger, [drawOf({ scope: "a" }), drawOf({ scope: "b" })], once);
  expect(refused(ledger, [drawOf({ scope: "a" }), drawOf({ scope: "c" })], once).refused).toBe("overloaded");
  expect(standing(ledger, drawOf({ scope: "a" }))).toEqual([0, 1, 0]);
  held(ledger, [drawOf({ scope: "a" })], once);
});

test("remaining is what committed, held and debt leave of the limit, and never negative", () => {
  const cases: [number, number, number, number, number][] = [
    [100, 0, 0, 0, 100],
    [100, 20, 30, 10, 40],
    [100, 100, 0, 0, 0],
    [100, 90, 20, 0, 0],
    [0, 0, 0, 0, 0],
  ];
  for (const [limit, committed, held, debt, left] of cases) expect(remaining({ limit }, { committed, held, debt })).toBe(left);
});
