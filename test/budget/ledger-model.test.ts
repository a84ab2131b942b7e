import fc from "fast-check";
import { expect, test } from "vitest";
import type { Draw } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Reservation, Usage } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { callId, DAY_MS, drawOf, HOUR_MS, NOON } from "./draws.ts";

const DRAWS: readonly Draw[] = [
  drawOf({ budget: "calls-hour", period: "hour", limit: 6 }),
  drawOf({ budget: "tokens-day", meter: "tool_tokens", limit: 300 }),
  drawOf({ budget: "tokens-deliver", meter: "tool_tokens", limit: 250, period: "hour", overrun: "deliver" }),
  drawOf({ budget: "tokens-soft", meter: "tool_tokens", limit: 150, period: "hour", hard: false }),
  drawOf({ budget: "calls-total", period: "total", limit: 40 }),
];

/** The reference: no counters, only a list of holds that is summed anew for each question. */
class Model {
  entries: { key: string; open: boolean; amount: number; committed: number; debt: number }[] = [];
  clockMs = 0;

  keyOf(draw: Draw): string {
    const lengthMs = draw.period === "hour" ? HOUR_MS : draw.period === "day" ? DAY_MS : Number.POSITIVE_INFINITY;
    return `${draw.budget}@${lengthMs === Number.POSITIVE_INFINITY ? 0 : Math.floor(this.clockMs / lengthMs) * lengthMs}`;
  }
  sums(key: string): { committed: number; held: number; debt: number } {
    const mine = this.entries.filter((entry) => entry.key === key);
    const total = (pick: (entry: (typeof mine)[number]) => number) => mine.reduce((sum, entry) => sum + pick(entry), 0);
    return { committed: total((e) => e.committed), held: total((e) => (e.open ? e.amount : 0)), debt: total((e) => e.debt) };
  }
  reserve(draws: readonly Draw[], usage: Usage, nowMs: number): { rows: Model["entries"] } | { budget: string; reason: string } {
    this.clockMs = Math.max(this.clockMs, nowMs);
    for (const draw of draws) {
      const { committed, held, debt } = this.sums(this.keyOf(draw));
      const left = Math.max(0, draw.limit - committed - held - debt);
      if (draw.hard && left < (usage[draw.meter] ?? 0))
        return { budget: draw.budget, reason: left < 1 ? "budget_exhausted" : "budget_insufficient" };
    }
    const rows = draws.map((draw) => ({ key: this.keyOf(draw), open: true, amount: usage[draw.meter] ?? 0, committed: 0, debt: 0 }));
    this.entries.push(...rows);
    return { rows };
  }
  /** First whether all budgets carry what is more than was held; if one that withholds does not, the hold is the charge on all. */
  end(rows: Model["entries"], draws: readonly Draw[], usage: Usage | "unknown" | "void"): boolean {
    const usedOn = (i: number) =>
      usage === "void" ? 0 : usage === "unknown" ? (rows[i]?.amount ?? 0) : (usage[draws[i]?.meter ?? ""] ?? 0);
    const roomOf = ({ key }: { key: string }, draw: Draw) => {
      const { committed, held, debt } = this.sums(key);
      return draw.hard ? Math.max(0, draw.limit - committed - held - debt) : Number.POSITIVE_INFINITY;
    };
    const withheld = rows.some((row, i) => {
      const draw = draws[i] as Draw;
      const mayWithhold = draw.hard && draw.overrun === "withhold" && draw.meter !== "calls";
      return mayWithhold && usedOn(i) - row.amount > roomOf(row, draw);
    });
    for (const [i, row] of rows.entries()) {
      const used = withheld ? row.amount : usedOn(i);
      row.open = false;
      const extended = Math.min(Math.max(0, used - row.amount), roomOf({ ...row }, draws[i] as Draw) - (draws[i]?.hard ? row.amount : 0));
      row.committed = Math.min(used, row.amount) + Math.max(0, extended);
      row.debt = used - row.committed;
    }
    return withheld;
  }
}

type Step =
  | { do: "reserve"; draws: number[]; tokens: number }
  | { do: "sent" | "unknown" | "void" | "dispose"; which: number }
  | { do: "post"; which: number; tokens: number }
  | { do: "clock"; byMs: number };

const which = fc.nat({ max: 5 });
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("reserve" as const),
      draws: fc.uniqueArray(fc.nat({ max: DRAWS.length - 1 }), { minLength: 1 }),
      tokens: fc.integer({ min: 1, max: 90 }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("sent" as const), which }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("post" as const), which, tokens: fc.integer({ min: 0, max: 160 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("unknown", "void", "dispose"), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clock" as const), byMs: fc.integer({ min: -2 * HOUR_MS, max: 5 * HOUR_MS }) }) },
);

type Live = { draws: readonly Draw[]; reservation: Reservation; rows: Model["entries"]; sent: boolean };

/** `seen` counts what the steps came to, so that a run that proves nothing is noticed. */
async function play(script: readonly Step[], seen: Record<string, number>): Promise<void> {
  const ledger = createLedger([]);
  const model = new Model();
  const live: Live[] = [];
  let nowMs = NOON;
  const count = (name: string) => {
    seen[name] = (seen[name] ?? 0) + 1;
  };
  for (const step of script) {
    if (step.do === "clock") nowMs += step.byMs;
    else if (step.do === "reserve") {
      const draws = step.draws.map((i) => DRAWS[i] as Draw);
      const amounts = { calls: 1, tool_tokens: step.tokens };
      const expected = model.reserve(draws, amounts, nowMs);
      const answer = ledger.hold(callId(), draws, amounts, nowMs);
      if (isRefusal(answer)) {
        count(answer.refused);
        expect({ budget: answer.facts.budget, reason: answer.refused }).toEqual(expected);
      } else {
        count("held");
        expect(expected).toHaveProperty("rows");
        if ("rows" in expected) live.push({ draws, reservation: answer, rows: expected.rows, sent: false });
      }
    } else {
      const index = step.which % Math.max(1, live.length);
      const one = live[index];
      if (one === undefined) continue;
      if (step.do === "sent" || !one.sent) {
        if (step.do === "sent" && !one.sent) {
          one.reservation.sent();
          one.sent = true;
          continue;
        }
        if (step.do !== "void" && step.do !== "dispose") continue;
      }
      live.splice(index, 1);
      count(step.do);
      if (step.do === "post") {
        const usage = { calls: 1, tool_tokens: step.tokens };
        const settlement = await one.reservation.post(usage);
        if (settlement.withheld !== null) count("withheld");
        expect(settlement.withheld !== null).toBe(model.end(one.rows, one.draws, usage));
      } else if (step.do === "unknown") {
        one.reservation.postUnknown();
        model.end(one.rows, one.draws, "unknown");
      } else if (step.do === "void") {
        one.reservation.voidUnsent();
        model.end(one.rows, one.draws, "void");
      } else {
        one.reservation[Symbol.dispose]();
        model.end(one.rows, one.draws, one.sent ? "unknown" : "void");
      }
    }
    for (const row of ledger.balances()) {
      const { committed, held, debt } = row;
      expect({ committed, held, debt }).toEqual(model.sums(`${row.budget}@${row.windowStartMs}`));
      const draw = DRAWS.find((one) => one.budget === row.budget) as Draw;
      if (draw.hard) expect(committed + held).toBeLessThanOrEqual(draw.limit);
    }
  }
  for (const one of live) one.reservation[Symbol.dispose]();
  expect(ledger.balances().filter((row) => row.held !== 0)).toEqual([]);
}

test("a ledger does what a list of holds summed anew does: hard limits hold at every instant, nobody is refused who fits, nothing stays held", async () => {
  const seen: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 120, size: "max" }), (script) => play(script, seen)),
    { numRuns: 600 },
  );
  // Every branch was walked often: a script that only ever refuses would prove nothing.
  for (const name of ["held", "budget_exhausted", "budget_insufficient", "withheld", "post", "unknown", "void", "dispose"]) {
    expect(seen[name] ?? 0, name).toBeGreaterThan(100);
  }
});
