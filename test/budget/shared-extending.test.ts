/** A result that is larger than its hold, in a ledger of several gateways: carried by what all of them have left, or not at all. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Draw } from "../../src/call/authorize/permit.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { callId, drawOf, sentHold, usageOf } from "./draws.ts";
import { createStage, type Joining, type Sharer } from "./shared-stage.ts";

const draw = drawOf({ meter: "tool_tokens", limit: 10_000, period: "total" });
const UNASKED = "The shared budget ledger could not be asked: whether enough is left is not known.";

describe.skipIf(withoutRedis)("a result beyond its hold", () => {
  let redis: RedisServer;
  let stage: ReturnType<typeof createStage>;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(() => stage.close());
  afterAll(() => redis?.close());

  const eventually = (asked: () => unknown) => expect.poll(asked, { timeout: 20_000, interval: 5 });
  const opened = (sharer: Sharer) => eventually(() => sharer.sharing.status().open).toBe(true);
  const used = async ({ journaled }: Sharer, tokens: number, on: Draw = draw) => {
    await (await sentHold(journaled, [on], usageOf(1, tokens))).post(usageOf(1, tokens));
  };
  const journalOf = ({ shares }: Sharer) => [...shares.all()].map((share) => ({ ...share, held: 0 }));
  /** [committed, held, debt] of the one counter, as Redis has it. */
  const counted = async ({ journaled }: Sharer) => {
    const [row] = await journaled.balances();
    return [row?.committed, row?.held, row?.debt];
  };
  /** The second has used 9,000 of 10,000; then Redis forgets everything, and only the first has told it what it has used. */
  const forgotten = async (first: Joining = {}, on: Draw = draw, held = 500) => {
    stage = createStage(redis);
    const [one, other] = [await stage.join({ id: "gw-1", ...first }), await stage.join({ id: "gw-2" })];
    await Promise.all([opened(one), opened(other)]);
    await used(other, 9_000, on);
    const open = await sentHold(one.journaled, [on], usageOf(1, held));
    await other.sharing.close();
    await redis.command("FLUSHALL");
    await eventually(() => one.sharing.status().waitingFor).toEqual(["gw-2"]);
    await eventually(() => one.sharing.isReady).toBe(true);
    const comesBack = async () => {
      const back = await stage.join({ id: "gw-2", initial: journalOf(other) });
      await Promise.all([opened(one), opened(back)]);
    };
    return { one, open, comesBack };
  };

  test("is withheld while the sums are those of some gateways, and what is left is then not said", async () => {
    const { one, open, comesBack } = await forgotten({ timeoutMs: 400 });
    const { withheld, lines } = await open.post(usageOf(1, 9_500));
    expect(withheld).toMatchObject({ refused: "result_over_budget", facts: { budget: "b", required: 9_000, hint: UNASKED } });
    expect(withheld?.facts).not.toHaveProperty("remaining");
    expect(lines).toMatchObject([{ posted: 500, debt: 0 }]);
    await comesBack();
    expect(await counted(one)).toEqual([9_500, 0, 0]);
  });

  test("waits until every gateway has told its share, and is then carried by what is left", async () => {
    const { one, open, comesBack } = await forgotten();
    const posted = open.post(usageOf(1, 900));
    await comesBack();
    expect(await posted).toMatchObject({ withheld: null, lines: [{ posted: 900, debt: 0 }] });
    await eventually(() => counted(one)).toEqual([9_900, 0, 0]);
  });

  test("waits, and is withheld with the truth where too little is left", async () => {
    const { open, comesBack } = await forgotten();
    const posted = open.post(usageOf(1, 9_500));
    await comesBack();
    expect((await posted).withheld).toMatchObject({ refused: "result_over_budget", facts: { remaining: 500, required: 9_000 } });
  });

  test("is debt while the sums are those of some gateways, where it is delivered all the same", async () => {
    const { one, open, comesBack } = await forgotten({ timeoutMs: 400 }, { ...draw, overrun: "deliver" });
    expect(await open.post(usageOf(1, 9_500))).toMatchObject({ withheld: null, lines: [{ posted: 500, debt: 9_000 }] });
    await comesBack();
    await eventually(() => counted(one)).toEqual([9_500, 0, 9_000]);
  });

  test("is carried by what was set aside before, also while the ledger is being filled again", async () => {
    const { one, open, comesBack } = await forgotten({ timeoutMs: 400 }, { ...draw, lease: 200 });
    expect(one.sharing.status().setAside).toBe(200);
    expect(await open.post(usageOf(1, 600))).toMatchObject({ withheld: null, lines: [{ posted: 600, debt: 0 }] });
    expect(one.sharing.status().setAside).toBe(100);
    await comesBack();
    await eventually(() => counted(one)).toEqual([9_600, 100, 0]);
  });

  test("waits for a connection that broke for a moment", async () => {
    stage = createStage(redis);
    const one = await stage.join();
    await opened(one);
    const open = await sentHold(one.journaled, [draw], usageOf(1, 100));
    await redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await eventually(() => one.sharing.status().connected).toBe(false);
    expect(await open.post(usageOf(1, 110))).toMatchObject({ withheld: null, lines: [{ posted: 110, debt: 0 }] });
    await eventually(() => counted(one)).toEqual([110, 0, 0]);
  });

  test("is carried by what was set aside while Redis is away, and by no more than that", async () => {
    stage = createStage(redis);
    const one = await stage.join({ timeoutMs: 400 });
    await opened(one);
    const leased = { ...draw, lease: 50 };
    const [small, large] = [
      await sentHold(one.journaled, [leased], usageOf(1, 100)),
      await sentHold(one.journaled, [leased], usageOf(1, 100)),
    ];
    await redis.kill();
    try {
      await eventually(() => one.sharing.status().connected).toBe(false);
      expect(await small.post(usageOf(1, 130))).toMatchObject({ withheld: null, lines: [{ posted: 130, debt: 0 }] });
      const { withheld } = await large.post(usageOf(1, 130));
      expect(withheld).toMatchObject({ refused: "result_over_budget", facts: { required: 30, hint: UNASKED } });
      expect(withheld?.facts).not.toHaveProperty("remaining");
      expect(one.sharing.status().setAside).toBe(20);
    } finally {
      await redis.start();
    }
    await opened(one);
    await eventually(() => counted(one)).toEqual([230, 20, 0]);
  });

  test("what some gateways have used is not told as what is left", async () => {
    const { one, comesBack } = await forgotten();
    expect(await one.ledger.weigh([draw], usageOf(1, 1), 0)).toMatchObject({ refusal: { refused: "store_unavailable" }, left: [] });
    await comesBack();
    expect(await one.ledger.weigh([draw], usageOf(1, 1), 0)).toMatchObject({ refusal: null, left: [{ remaining: 500 }] });
  });

  test("a limit lowered below what is used carries nothing new on what was set aside while Redis is away", async () => {
    stage = createStage(redis);
    const [one, other] = [await stage.join({ id: "gw-1" }), await stage.join({ id: "gw-2" })];
    await Promise.all([opened(one), opened(other)]);
    const leased = { ...draw, limit: 1_000, lease: 500 };
    await used(other, 300);
    await used(one, 100, leased);
    await redis.kill();
    try {
      await eventually(() => one.sharing.status().connected).toBe(false);
      const reasonOf = async (limit: number, tokens: number) => {
        const answer = await one.journaled.hold(callId(), [{ ...leased, limit }], usageOf(1, tokens), 0);
        if (!isRefusal(answer)) answer[Symbol.dispose]();
        return isRefusal(answer) ? answer.refused : "held";
      };
      // 100 here and 300 there are used.
      expect([await reasonOf(0, 1), await reasonOf(400, 1), await reasonOf(450, 51)]).toEqual(Array(3).fill("store_unavailable"));
      expect([await reasonOf(450, 50), await reasonOf(1_000, 10)]).toEqual(["held", "held"]);
      expect(await reasonOf(1_000, 501)).toBe("store_unavailable");
    } finally {
      await redis.start();
    }
  });
});
