/** Whatever two gateways ask of the shared ledger, one after the other, is answered as one process with one memory would answer it. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Draw } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Balance, Reservation } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { callId, drawOf, NOON, usageOf } from "./draws.ts";
import { createStage, type Sharer, TURNED_BY_TEST } from "./shared-stage.ts";

const MINUTE_MS = 60_000;
const rolling = { period: "rolling", rollingMs: 30 * MINUTE_MS } as const;
const DRAWS: readonly Draw[] = [
  drawOf({ budget: "calls-hour", period: "hour", limit: 6 }),
  drawOf({ budget: "tokens-rolling", meter: "tool_tokens", limit: 300, ...rolling }),
  drawOf({ budget: "calls-rolling", limit: 7, ...rolling, rollingMs: 25 * MINUTE_MS + 7 }),
  drawOf({ budget: "tokens-deliver", meter: "tool_tokens", limit: 250, period: "hour", overrun: "deliver" }),
  drawOf({
    budget: "tokens-overage",
    meter: "tool_tokens",
    limit: 150,
    period: "day",
    hard: false,
    overage: 100,
    timeZone: "Asia/Kathmandu",
  }),
  drawOf({ budget: "tokens-soft", meter: "tool_tokens", limit: 150, period: "hour", hard: false }),
  drawOf({ budget: "reported", meter: "llm_tokens", limit: 1, period: "total" }),
];

type Step =
  | { readonly kind: "hold"; readonly through: number; readonly draws: readonly number[]; readonly tokens: number }
  | { readonly kind: "post"; readonly pick: number; readonly tokens: number }
  | { readonly kind: "unknown" | "void"; readonly pick: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "weigh"; readonly through: number; readonly tokens: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("hold" as const),
      through: fc.nat(1),
      draws: fc.uniqueArray(fc.nat(DRAWS.length - 1), { minLength: 1, maxLength: 4 }),
      tokens: fc.integer({ min: 0, max: 120 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("post" as const), pick: fc.nat(9), tokens: fc.integer({ min: 0, max: 400 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("unknown" as const, "void" as const), pick: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 20 * MINUTE_MS }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("weigh" as const), through: fc.nat(1), tokens: fc.integer({ min: 0, max: 200 }) }),
  },
);

/** A hold is refused after a window of its budget is over. */
const OVER: Step[] = [
  { kind: "hold", through: 0, draws: [1], tokens: 100 },
  { kind: "post", pick: 0, tokens: 200 },
  { kind: "wait", ms: 40 * MINUTE_MS },
  ...Array.from({ length: 3 }, (): Step => ({ kind: "hold", through: 0, draws: [1], tokens: 120 })),
];

function shown(balances: readonly Balance[]): unknown[] {
  return balances
    .filter(({ committed, held, debt }) => committed + held + debt > 0)
    .map(({ budget, windowStartMs, windowEndMs, committed, held, debt }) => [budget, windowStartMs, windowEndMs, committed, held, debt])
    .toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
}

describe.skipIf(withoutRedis)("two gateways, one memory", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.close());

  test("every answer and every balance is the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const stage = createStage(redis);
        await stage.setClock(NOON);
        const still = { time: TURNED_BY_TEST, beatMs: 600_000 };
        const [first, second] = [await stage.join({ id: "gw-1", ...still }), await stage.join({ id: "gw-2", ...still })];
        try {
          for (const { sharing } of [first, second])
            while (!sharing.status().open) await sharing.settled().then(() => stage.setClock(NOON));
          const memory = createLedger([]);
          const open: { readonly one: Reservation; readonly two: Reservation; readonly through: Sharer }[] = [];
          // Each hears of its own postings in order; of another's, once that has.
          let acting = first;
          let nowMs = NOON;
          for (const each of steps) {
            if (each.kind === "wait") {
              nowMs += each.ms;
              await stage.setClock(nowMs);
              // A result asks Redis what time it is; the one in memory is told by whoever asks it.
              memory.weigh([], {}, nowMs);
            } else if (each.kind === "hold" || each.kind === "weigh") {
              const draws = each.kind === "weigh" ? DRAWS : each.draws.map((i) => DRAWS[i] as Draw);
              acting = each.through === 0 ? first : second;
              const shared = acting.journaled;
              const amounts = usageOf(1, each.tokens);
              if (each.kind === "weigh") expect(await shared.weigh(draws, amounts, nowMs)).toEqual(memory.weigh(draws, amounts, nowMs));
              else {
                const id = callId();
                const [one, two] = [memory.hold(id, draws, amounts, nowMs), await shared.hold(id, draws, amounts, nowMs)];
                if (isRefusal(one) || isRefusal(two)) expect(two).toEqual(one);
                else {
                  expect([two.lines, two.metersResult]).toEqual([one.lines, one.metersResult]);
                  one.sent();
                  two.sent();
                  open.push({ one, two, through: acting });
                }
              }
            } else {
              const [picked] = open.splice(each.pick % Math.max(1, open.length), 1);
              if (picked === undefined) continue;
              const { one, two } = picked;
              acting = picked.through;
              const ended = each.kind === "post" ? "post" : each.kind === "unknown" ? "postUnknown" : "voidUnsent";
              const usage = usageOf(1, each.kind === "post" ? each.tokens : 0);
              const [before, after] = ended === "post" ? [await one.post(usage), await two.post(usage)] : [one[ended](), two[ended]()];
              const told = (settlement: typeof before) => settlement.lines.map(({ posted, debt }) => [posted, debt]);
              expect([after.state, after.withheld, told(after)]).toEqual([before.state, before.withheld, told(before)]);
            }
            expect(shown(await acting.journaled.balances())).toEqual(shown(memory.balances()));
          }
        } finally {
          stage.close();
        }
      }),
      // What fails is told as it is by then, in place of a timeout while it is made smaller.
      { numRuns: Number(process.env.SHARED_RUNS ?? 25), interruptAfterTimeLimit: 60_000, examples: [[OVER]] },
    );
  });
});
