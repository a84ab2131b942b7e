import { expect, test } from "vitest";
import { reachedIn } from "../../src/control/budgets/reached.ts";
import { drawOf, HOUR_MS, NOON } from "../budget/draws.ts";

const facts = (changes: Parameters<typeof drawOf>[0]) => ({ each: [], draw: drawOf(changes) });
const balance = (budget: string, scope: string, startMs: number, endMs: number | null, committed: number, debt = 0) => ({
  ...{ budget, scope, windowStartMs: startMs, windowEndMs: endMs, committed, held: 5, debt },
});

test("what is committed and owed reaches the percents of each counter that counts now; what is held does not", () => {
  const budgets = [
    facts({ budget: "a", notify: [50, 80, 100] }),
    facts({ budget: "silent" }),
    facts({ budget: "nothing", limit: 0, notify: [50] }),
  ];
  const balances = [
    balance("a", "team=x", NOON, NOON + HOUR_MS, 4, 1),
    balance("a", "team=y", NOON, NOON + HOUR_MS, 9),
    balance("a", "team=z", NOON, NOON + HOUR_MS, 4),
    balance("a", "team=past", NOON - HOUR_MS, NOON, 10),
    balance("silent", "", NOON, null, 10),
    balance("nothing", "", NOON, null, 0),
    balance("gone", "", NOON, null, 10),
  ];
  const told = reachedIn(budgets, balances, NOON).map(({ line, percent, spent }) => [line.draw.scope, percent, spent]);
  expect(told).toEqual([
    ["team=x", 50, 5],
    ["team=y", 50, 9],
    ["team=y", 80, 9],
  ]);
});

test("a rolling window is what all of its slots come to, and is named by the latest", () => {
  const rolling = facts({ budget: "r", period: "rolling", rollingMs: HOUR_MS, notify: [50] });
  const slots = [0, 2, 1].map((i) => balance("r", "", NOON + i * 60_000, NOON + HOUR_MS + (i + 1) * 60_000, 2));
  const [reached, ...others] = reachedIn([rolling], slots, NOON + 3 * 60_000);
  expect([reached?.percent, reached?.spent, reached?.line.windowStartMs, others]).toEqual([50, 6, NOON + 120_000, []]);
  expect(reachedIn([rolling], slots, NOON + HOUR_MS + 90_000)).toEqual([]);
});
