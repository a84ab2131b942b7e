import { describe, expect, test } from "vitest";
import type { AgentProfile } from "../../src/call/authenticate/agent.ts";
import type { Budget } from "../../src/call/authorize/policy-set.ts";
import type { Who } from "../../src/call/authorize/who.ts";
import type { Balance } from "../../src/call/budget/reservation.ts";
import { type BudgetFacts, budgetRows, budgetRowsOf } from "../../src/control/admin/budget-rows.ts";
import { drawOf } from "../budget/draws.ts";

const NOW_MS = Date.UTC(2026, 10, 15, 12);
const month: BudgetFacts = {
  draw: { ...drawOf({ budget: "month", meter: "tool_tokens", limit: 1_000, period: "month" }) },
  each: ["team"],
};

const balance = (changes: Partial<Balance> = {}): Balance => ({
  budget: "month",
  scope: "support",
  windowStartMs: Date.UTC(2026, 10, 1),
  windowEndMs: Date.UTC(2026, 11, 1),
  committed: 0,
  held: 0,
  debt: 0,
  ...changes,
});

describe("a budget's row", () => {
  test("has what is spent, held and owed taken off its limit, and its window in UTC", () => {
    expect(budgetRows([month], [balance({ committed: 300, held: 200, debt: 50 })], NOW_MS)).toEqual([
      {
        name: "month",
        scope: "support",
        meter: "tool_tokens",
        limit: 1_000,
        committed: 300,
        held: 200,
        debt: 50,
        ceiling: 1_000,
        overage: 0,
        forecast: null,
        remaining: 450,
        window: { start: "2026-11-01T00:00:00.000Z", end: "2026-12-01T00:00:00.000Z" },
      },
    ]);
  });

  test("never shows less than nothing as remaining", () => {
    expect(budgetRows([month], [balance({ committed: 900, held: 500 })], NOW_MS)[0]?.remaining).toBe(0);
  });

  test("is one for each counter, in the order of their scopes", () => {
    const rows = budgetRows([month], [balance({ scope: "support" }), balance({ scope: "billing" })], NOW_MS);
    expect(rows.map(({ scope }) => scope)).toEqual(["billing", "support"]);
  });

  test("is there before anybody has drawn on it, and says who will have a counter", () => {
    const unused = { scope: "each team", committed: 0, held: 0, debt: 0, remaining: 1_000, window: { start: null, end: null } };
    expect(budgetRows([month], [], NOW_MS)).toMatchObject([unused]);
    expect(budgetRows([{ ...month, each: [] }], [], NOW_MS)).toMatchObject([{ scope: "" }]);
  });

  test("sums the slots of a rolling window, and ends when the oldest of them does", () => {
    const rolling = { ...month, draw: { ...month.draw, period: "rolling" as const, rollingMs: 3_600_000 } };
    const slot = (minutes: number, committed: number) =>
      balance({ committed, windowStartMs: NOW_MS - minutes * 60_000, windowEndMs: NOW_MS + (61 - minutes) * 60_000 });
    expect(budgetRows([rolling], [slot(2, 30), slot(50, 20)], NOW_MS)).toMatchObject([
      { committed: 50, remaining: 950, window: { start: "2026-11-15T11:10:00.000Z", end: "2026-11-15T12:11:00.000Z" } },
    ]);
  });

  test("says how far a soft budget is beyond its limit, and where it ends", () => {
    const soft = { ...month, draw: { ...month.draw, hard: false, overage: 500 } };
    expect(budgetRows([soft], [balance({ committed: 1_200, debt: 50 })], NOW_MS)).toMatchObject([
      { overage: 250, ceiling: 1_500, remaining: 0 },
    ]);
  });

  test("foretells when nothing is left at the pace of late, unless the window ends before", () => {
    const spent = (amount: number) => [{ budget: "month", scope: "support", spent: amount, sinceMs: NOW_MS - 86_400_000 }];
    const forecast = (amount: number, committed: number) =>
      budgetRows([month], [balance({ committed })], NOW_MS, spent(amount))[0]?.forecast;
    expect(forecast(100, 500)).toBe("2026-11-20T12:00:00.000Z");
    expect(forecast(10, 500)).toBeNull();
    expect(forecast(0, 500)).toBeNull();
    expect(forecast(100, 1_000)).toBe("2026-11-15T12:00:00.000Z");
  });

  test("foretells nothing of a rolling window that the pace of late never fills, and a time where it does", () => {
    const rolling = { ...month, draw: { ...month.draw, period: "rolling" as const, rollingMs: 3_600_000 } };
    const slot = balance({ committed: 400, windowStartMs: NOW_MS - 600_000, windowEndMs: NOW_MS + 3_000_000 });
    const forecast = (spent: number, sinceMs: number, committed = 400) =>
      budgetRows([rolling], [{ ...slot, committed }], NOW_MS, [{ budget: "month", scope: "support", spent, sinceMs }])[0]?.forecast;
    // 1,000 an hour fill 1,000 and are never refused; 1,200 an hour have used the 600 that are left in half an hour.
    expect(forecast(24_000, NOW_MS - 86_400_000)).toBeNull();
    expect(forecast(200, NOW_MS - 600_000)).toBe("2026-11-15T12:30:00.000Z");
    expect(forecast(1, NOW_MS - 600_000, 1_000)).toBe("2026-11-15T12:00:00.000Z");
  });

  test("is not of a window that is over, to the millisecond", () => {
    const over = balance({ committed: 999, windowEndMs: NOW_MS });
    expect(budgetRows([month], [over], NOW_MS)).toMatchObject([{ committed: 0, remaining: 1_000 }]);
    expect(budgetRows([month], [over], NOW_MS - 1)).toMatchObject([{ committed: 999, remaining: 1 }]);
  });

  test("has no end where the budget has none", () => {
    expect(budgetRows([month], [balance({ windowEndMs: null })], NOW_MS)[0]?.window.end).toBeNull();
  });

  test("is not of a budget that no policy names any more, and takes its limit from the policy of today", () => {
    const rows = budgetRows(
      [{ ...month, draw: { ...month.draw, limit: 10 } }],
      [balance({ budget: "gone" }), balance({ committed: 4 })],
      NOW_MS,
    );
    expect(rows).toMatchObject([{ name: "month", limit: 10, remaining: 6 }]);
    expect(rows).toHaveLength(1);
  });
});

describe("the budgets of one agent", () => {
  const profile = { id: "agt_1", name: "bot", team: "a=b", workflow: null, customer: "acme", kind: "service" } as AgentProfile;
  const budget = (each: string[], who: Who = () => true) =>
    ({ who, targets: null, each, draw: { budget: "month", meter: "calls", limit: 10 } }) as unknown as Budget;
  const scopes = (each: string[], counters: string[]) =>
    budgetRowsOf(
      { budgets: [budget(each)] },
      profile,
      counters.map((scope) => balance({ scope, committed: 1 })),
      NOW_MS,
      [],
    ).map(({ scope }) => scope);

  test.each<[string[], string[], string[]]>([
    [["agent"], ["agent=agt_1", "agent=agt_2"], ["agent=agt_1"]],
    [["team"], ["team=a%3Db", "team=a"], ["team=a%3Db"]],
    [["workflow"], ["workflow=", "workflow=x"], ["workflow="]],
    [["customer", "tool"], ["customer=acme&tool=x/y", "customer=globex&tool=x/y"], ["customer=acme&tool=x/y"]],
    [["agent", "subject"], ["agent=agt_1&subject=s", "agent=agt_2&subject=s"], ["agent=agt_1&subject=s"]],
    // Persons and instances that may be another customer's are nobody's business here.
    [["subject"], ["subject=s"], ["each subject"]],
    [["team", "instance"], ["team=a%3Db&instance=i"], ["each team, instance"]],
    [[], [""], [""]],
  ])("each %j: of the counters %j it sees %j", (each, counters, seen) => expect(scopes(each, counters)).toEqual(seen));

  test("are those whose `who` it matches", () => {
    const rows = budgetRowsOf({ budgets: [budget([], ({ team }) => team === "other")] }, profile, [], NOW_MS, []);
    expect(rows).toEqual([]);
  });

  test("are foretold as in the list of all", () => {
    const counters = [balance({ scope: "team=a%3Db", committed: 4 })];
    const paces = [{ budget: "month", scope: "team=a%3Db", spent: 4, sinceMs: NOW_MS - 3_600_000 }];
    const rows = budgetRowsOf({ budgets: [budget(["team"])] }, profile, counters, NOW_MS, paces);
    expect(rows[0]?.forecast).not.toBeNull();
    expect(rows).toEqual(budgetRows([budget(["team"])], counters, NOW_MS, paces));
  });
});
