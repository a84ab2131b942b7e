/** Several gateways of one shared ledger: what each has used is counted once, whatever becomes of Redis, of a connection, of a gateway. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Balance, Reservation } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { callId, drawOf, usageOf } from "./draws.ts";
import { createStage, type Sharer, TURNED_BY_TEST } from "./shared-stage.ts";

const once = usageOf(1, 100);
const draw = drawOf({ limit: 100, period: "total" });

describe.skipIf(withoutRedis)("gateways of one ledger in Redis", () => {
  let redis: RedisServer;
  let stage: ReturnType<typeof createStage>;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(() => stage.close());
  afterAll(() => redis?.close());

  const opened = (sharer: Sharer) => expect.poll(() => sharer.sharing.status().open, { timeout: 20_000, interval: 10 }).toBe(true);
  const awayFrom = (sharer: Sharer) => expect.poll(() => sharer.sharing.status().connected, { timeout: 20_000, interval: 10 }).toBe(false);
  const hold = (sharer: Sharer, on = draw) => sharer.journaled.hold(callId(), [on], once, Date.now());
  const held = async (sharer: Sharer, on = draw): Promise<Reservation> => {
    const answer = await hold(sharer, on);
    if (isRefusal(answer)) throw new Error(`refused: ${answer.refused} ${answer.note}`);
    return answer;
  };
  const used = async (sharer: Sharer, count: number, on = draw): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const reservation = await held(sharer, on);
      reservation.sent();
      await reservation.post(once);
    }
  };
  const reasonOf = async (sharer: Sharer, on = draw) => {
    const answer = await hold(sharer, on);
    return isRefusal(answer) ? answer.refused : "held";
  };
  /** [committed, held] of the one counter, as Redis has it. */
  const counted = async (sharer: Sharer, budget = draw.budget): Promise<readonly [number, number]> => {
    const row = (await sharer.journaled.balances()).find((each) => each.budget === budget);
    return [row?.committed ?? 0, row?.held ?? 0];
  };
  const pair = async (changes: Parameters<ReturnType<typeof createStage>["join"]>[0] = {}) => {
    stage = createStage(redis);
    const [first, second] = [await stage.join({ id: "gw-1", ...changes }), await stage.join({ id: "gw-2", ...changes })];
    await Promise.all([opened(first), opened(second)]);
    return [first, second] as const;
  };
  /** As the journal of that gateway has it. */
  const journalOf = ({ shares }: Sharer) => [...shares.all()].map((share) => ({ ...share, held: 0 }));

  test("200 calls at once through two gateways against a limit of 100 give exactly 100 holds", async () => {
    const gateways = await pair();
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => hold(gateways[i % 2 === 0 ? 0 : 1])));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(100);
    expect(answers.filter((answer) => isRefusal(answer) && answer.refused === "budget_exhausted")).toHaveLength(100);
    expect(await counted(gateways[0])).toEqual([0, 100]);
  });

  test("a gateway that dies with calls under way and starts again has charged each once, and holds nothing", async () => {
    const [first, second] = await pair();
    await used(second, 10);
    const open = await Promise.all(Array.from({ length: 5 }, () => held(second)));
    expect(await counted(first)).toEqual([10, 5]);
    expect(open).toHaveLength(5);
    await stage.kill("gw-2", second);
    // Its journal has found five calls open, and posted them as unknown.
    const initial = journalOf(second).map((share) => ({ ...share, committed: share.committed + 5 }));
    const again = await stage.join({ id: "gw-2", initial });
    await opened(again);
    expect(await counted(first)).toEqual([15, 0]);
  });

  test("a word of the session before changes nothing", async () => {
    const [first, second] = await pair();
    const reservation = await held(second);
    const again = await stage.join({ id: "gw-2", initial: [] });
    await opened(again);
    expect(await counted(first)).toEqual([0, 0]);
    reservation.sent();
    await reservation.post(once);
    await awayFrom(second);
    expect(await counted(first)).toEqual([0, 0]);
  });

  test("Redis that starts again empty is filled again by every gateway before anything is held", async () => {
    const [first, second] = await pair();
    await Promise.all([used(first, 30), used(second, 40)]);
    const open = await held(first);
    await redis.kill();
    await awayFrom(first);
    expect(await reasonOf(first)).toBe("store_unavailable");
    // What was under way ends meanwhile.
    open.sent();
    await open.post(once);
    await redis.start();
    await Promise.all([opened(first), opened(second)]);
    expect(await counted(second)).toEqual([71, 0]);
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => hold(i % 2 === 0 ? first : second)));
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(29);
  });

  test("Redis that was emptied under way is filled again, too", async () => {
    const [first, second] = await pair();
    await Promise.all([used(first, 30), used(second, 40)]);
    await redis.command("FLUSHALL");
    await expect.poll(() => reasonOf(first), { timeout: 20_000, interval: 20 }).toBe("held");
    expect(await counted(first)).toEqual([70, 1]);
  });

  test("a new epoch waits for a gateway that is registered and not there, and says for whom", async () => {
    const [first, second] = await pair();
    await used(second, 60);
    await second.sharing.close();
    await redis.kill();
    await redis.start();
    await expect.poll(() => first.sharing.status().waitingFor, { timeout: 20_000 }).toEqual(["gw-2"]);
    const refusal = await hold(first);
    expect(refusal).toMatchObject({
      refused: "store_unavailable",
      facts: { retry_after_ms: 1_000 },
      note: "the shared ledger is being filled again: waiting for gw-2",
    });
    expect(await reasonOf(first, { ...draw, budget: "soft", hard: false })).toBe("held");
    const again = await stage.join({ id: "gw-2", initial: journalOf(second) });
    await Promise.all([opened(first), opened(again)]);
    expect(await counted(first)).toEqual([60, 0]);
  });

  test("an operator's force opens the epoch without it, and it is counted when it comes", async () => {
    const [first, second] = await pair();
    await used(second, 60);
    await second.sharing.close();
    await redis.kill();
    await redis.start();
    await expect.poll(() => first.sharing.status().waitingFor, { timeout: 20_000 }).toEqual(["gw-2"]);
    expect(await first.sharing.force()).toEqual(["gw-2"]);
    await used(first, 50);
    const again = await stage.join({ id: "gw-2", initial: journalOf(second) });
    await opened(again);
    expect(await counted(first)).toEqual([110, 0]);
    expect(await reasonOf(first)).toBe("budget_exhausted");
  });

  test("a gateway without a sign of life lapses: what it holds counts as used, and it says the truth when it returns", async () => {
    const [first, second] = await pair({ lapseMs: 300 });
    await used(second, 3);
    const open = await Promise.all([held(second), held(second)]);
    expect(await second.sharing.forget("gw-1")).toBe("alive");
    await stage.kill("gw-2", second);
    await expect.poll(() => counted(first), { timeout: 20_000 }).toEqual([5, 0]);
    expect(first.states.at(-1)).toEqual(["lapsed", "gw-2"]);
    // One of the two calls was never sent, says its journal.
    expect(open).toHaveLength(2);
    const again = await stage.join({ id: "gw-2", lapseMs: 300, initial: journalOf(second).map((share) => ({ ...share, committed: 4 })) });
    await opened(again);
    expect(await counted(first)).toEqual([4, 0]);
    await again.sharing.close();
    expect(await first.sharing.forget("gw-2")).toBe("forgotten");
    expect(await counted(first)).toEqual([4, 0]);
  });

  test("a Redis that stalls is away after the time limit, and the connection after it tells the truth", async () => {
    const [first, second] = await pair({ timeoutMs: 200 });
    await used(first, 5);
    const open = await held(first);
    await redis.command("CLIENT", "PAUSE", "1500", "ALL");
    expect(await reasonOf(first)).toBe("store_unavailable");
    open.sent();
    await open.post(once);
    await expect.poll(() => reasonOf(first), { timeout: 20_000, interval: 50 }).toBe("held");
    // Holds that were asked for and never answered are not there: one was answered.
    await expect.poll(() => counted(second), { timeout: 20_000 }).toEqual([6, 1]);
  });

  test("a promoted replica that has not heard of the last postings is filled again before anything is held", async () => {
    stage = createStage(redis);
    const replica = await startRedis();
    try {
      const first = await stage.join({ id: "gw-1", registered: async () => ({ gateways: ["gw-1"], epoch: 1, nowMs: 0 }) });
      await opened(first);
      await used(first, 10);
      await replica.command("REPLICAOF", "127.0.0.1", String(redis.port));
      await expect.poll(async () => String(await replica.command("INFO", "replication")), { timeout: 20_000 }).toContain("link_status:up");
      await replica.command("REPLICAOF", "NO", "ONE");
      await used(first, 50);
      const before = first.sharing.status().epoch;
      const initial = journalOf(first);
      await first.sharing.close();
      const moved = await stage.join({ id: "gw-1", initial, url: replica.url });
      await opened(moved);
      expect(moved.sharing.status().epoch).toBeGreaterThan(before);
      expect(await counted(moved)).toEqual([60, 0]);
      await replica.command("REPLICAOF", "127.0.0.1", String(redis.port));
      await awayFrom(moved);
      expect(await reasonOf(moved)).toBe("store_unavailable");
    } finally {
      await replica.close();
    }
  });

  test("a ledger that is being filled again forgets nobody: what that gateway has used would be spent twice", async () => {
    const [first, second] = await pair();
    await used(second, 90);
    second.sharing.close();
    await redis.command("FLUSHALL");
    await expect
      .poll(async () => [await reasonOf(first), first.sharing.status().waitingFor.join()], { timeout: 20_000 })
      .toEqual(["store_unavailable", "gw-2"]);
    expect(await first.sharing.forget("gw-2")).toBe("awaited");
    expect(await reasonOf(first)).toBe("store_unavailable");
  });

  test("scripts that Redis has forgotten are told again, and the call goes on", async () => {
    const [first] = await pair();
    await redis.command("SCRIPT", "FLUSH");
    expect(await reasonOf(first)).toBe("held");
  });

  test("a Redis that would evict counters, and one that is a replica, refuse the start", async () => {
    stage = createStage(redis);
    const evicting = await startRedis("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb");
    try {
      await expect(stage.join({ url: evicting.url })).rejects.toThrow(/maxmemory-policy is allkeys-lru.*set noeviction/);
      await evicting.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
      await evicting.command("REPLICAOF", "127.0.0.1", String(redis.port));
      await expect(stage.join({ url: evicting.url })).rejects.toThrow("it is a slave");
    } finally {
      await evicting.close();
    }
  });

  test("a Redis without memory refuses, and holds nothing", async () => {
    const [first] = await pair();
    await redis.command("CONFIG", "SET", "maxmemory", "1mb");
    try {
      expect(await reasonOf(first)).toBe("store_unavailable");
    } finally {
      await redis.command("CONFIG", "SET", "maxmemory", "0");
    }
    await expect.poll(() => reasonOf(first), { timeout: 20_000, interval: 50 }).toBe("held");
    expect(await counted(first)).toEqual([0, 1]);
  });

  const watched = { ...draw, hard: false, limit: 10, notify: [50, 80, 100] };
  /** Percents, with a sign where the posting has crossed them. */
  const heard = ({ told }: Sharer) => told.map(([, percent, , isCrossing]) => `${percent}${isCrossing ? "!" : ""}`).join(" ");

  test("whose posting it is hears of what is reached over all gateways, and of what it has crossed", async () => {
    const [first, second] = await pair();
    await used(first, 4, watched);
    expect([heard(first), heard(second)]).toEqual(["", ""]);
    await used(second, 3, watched);
    await used(first, 3, watched);
    await expect.poll(() => [heard(first), heard(second)]).toEqual(["50 80! 50 80 50 80 100!", "50! 50 50"]);
    expect(first.told.at(-1)).toMatchObject([{ draw: { budget: draw.budget } }, 100, 10, true]);
  });

  test("what was crossed unheard, while Redis was away or by a crash, is reached at the next posting", async () => {
    const [first, second] = await pair();
    await used(first, 4, watched);
    await redis.kill();
    await awayFrom(first);
    await used(first, 1, watched);
    await redis.start();
    await Promise.all([opened(first), opened(second)]);
    await stage.kill("gw-2", second);
    const back = await stage.join({ id: "gw-2", initial: [{ ...(journalOf(first)[0] as Balance), committed: 2 }] });
    await opened(back);
    expect([heard(first), heard(back)]).toEqual(["", ""]);
    await used(first, 1, watched);
    await expect.poll(() => heard(first)).toBe("50 80!");
  });

  test("nobody hears of the sums of some gateways", async () => {
    const [first, second] = await pair();
    await used(second, 5, watched);
    await second.sharing.close();
    await redis.command("FLUSHALL");
    await expect.poll(() => first.sharing.status().waitingFor.join()).toBe("gw-2");
    await used(first, 5, watched);
    await opened(await stage.join({ id: "gw-2", initial: journalOf(second) }));
    expect(heard(first)).toBe("");
    await used(first, 1, watched);
    await expect.poll(() => heard(first)).toBe("50 80 100");
  });

  test("a soft budget goes on while Redis is away, and is counted when it returns", async () => {
    const [first, second] = await pair();
    const soft = { ...draw, budget: "soft", hard: false };
    await redis.kill();
    await awayFrom(first);
    await used(first, 7, soft);
    await redis.start();
    await Promise.all([opened(first), opened(second)]);
    expect(await counted(second, "soft")).toEqual([7, 0]);
  });

  test("what is set aside carries calls while Redis is away, and no more than that; over all gateways nothing is exceeded", async () => {
    const [first, second] = await pair();
    const leased = { ...draw, limit: 20, lease: 5 };
    await used(first, 1, leased);
    await used(second, 1, leased);
    expect(first.sharing.status().setAside).toBe(5);
    const answers = await Promise.all(Array.from({ length: 30 }, () => hold(first, leased)));
    // 18 are left; 5 of them are set aside for the other.
    expect(answers.filter((answer) => !isRefusal(answer))).toHaveLength(13);
    await redis.kill();
    await Promise.all([awayFrom(first), awayFrom(second)]);
    expect(await reasonOf(first, leased)).toBe("store_unavailable");
    await used(second, 5, leased);
    expect(await reasonOf(second, leased)).toBe("store_unavailable");
    await redis.start();
    await Promise.all([opened(first), opened(second)]);
    expect(await counted(first)).toEqual([7, 13]);
    expect(await reasonOf(second, leased)).toBe("budget_exhausted");
  });

  test("room is free for others only once the journal has how a call ended; a permit of doubtful fate keeps its hold until that is known", async () => {
    const [first, second] = await pair();
    const three = { ...draw, limit: 3, meter: "tool_tokens" };
    const asked = (id = callId()) => first.ledger.hold(id, [three], usageOf(1, 3), Date.now());
    const posted = await asked();
    if (isRefusal(posted)) throw new Error("refused");
    posted.sent();
    expect((await posted.post(usageOf(1, 1))).lines).toMatchObject([{ posted: 1 }]);
    expect(await counted(first)).toEqual([0, 3]);
    first.ledger.settled(posted.callId);
    expect(await counted(first)).toEqual([1, 0]);
    const doubtful = await first.ledger.hold(callId(), [three], usageOf(1, 2), Date.now());
    if (isRefusal(doubtful)) throw new Error("refused");
    first.ledger.doubt(doubtful.callId);
    doubtful[Symbol.dispose]();
    expect(await counted(first)).toEqual([1, 2]);
    first.ledger.settled(doubtful.callId);
    expect(await counted(first)).toEqual([1, 0]);
    expect(await reasonOf(second, { ...three, limit: 101 })).toBe("held");
  });

  test("gateways whose clocks are minutes apart count in one window: that of the clock of Redis", async () => {
    stage = createStage(redis);
    await stage.setClock(Date.parse("2026-03-10T12:59:59Z"));
    const clocks = [-5, 5].map((minutes) => () => Date.parse("2026-03-10T12:59:59Z") + minutes * 60_000);
    const [first, second] = await Promise.all(
      clocks.map((now, i) => stage.join({ id: `gw-${i + 1}`, now, time: TURNED_BY_TEST, beatMs: 600_000 })),
    );
    if (first === undefined || second === undefined) throw new Error("nobody joined");
    await Promise.all([opened(first), opened(second)]);
    const hourly = { ...draw, limit: 2, period: "hour" as const };
    expect([await reasonOf(first, hourly), await reasonOf(second, hourly), await reasonOf(first, hourly)]).toEqual([
      "held",
      "held",
      "budget_exhausted",
    ]);
    await stage.setClock(Date.parse("2026-03-10T13:00:00Z"));
    expect([await reasonOf(second, hourly), await reasonOf(first, hourly), await reasonOf(second, hourly)]).toEqual([
      "held",
      "held",
      "budget_exhausted",
    ]);
  });

  test("a correction counts at once for all, never below zero, and is of the gateway that made it", async () => {
    const [first, second] = await pair();
    await used(first, 2);
    // What another gateway has posted is not this one's to give back.
    expect(await second.ledger.plan(draw, "credit", 1, 0)).toBeNull();
    for (const [{ ledger }, change, amount] of [
      [second, "debit", 4],
      [first, "credit", 1],
    ] as const) {
      const planned = await ledger.plan(draw, change, amount, 0);
      if (planned === null || isRefusal(planned)) throw new Error("refused");
      ledger.apply(planned);
    }
    await expect.poll(() => counted(first)).toEqual([1, 0]);
    const again = await stage.join({ id: "gw-2", initial: journalOf(second) });
    await opened(again);
    expect(await first.journaled.balances()).toMatchObject([{ committed: 1, held: 0, debt: 4 }]);
  });

  test("each gateway notes the epoch to which it has told its share, so that older memories are known for what they are", async () => {
    stage = createStage(redis);
    const noted: [string, number][] = [];
    const joining = (id: string) => stage.join({ id, told: async (epoch) => void noted.push([id, epoch]) });
    const [first] = [await joining("gw-1"), await joining("gw-2")];
    await expect
      .poll(() => noted)
      .toEqual([
        ["gw-1", 1],
        ["gw-2", 1],
      ]);
    await first.sharing.close();
    const back = await stage.join({ id: "gw-1", registered: async () => ({ gateways: ["gw-1"], epoch: 7, nowMs: 0 }) });
    expect(back.sharing.status().epoch).toBe(8);
  });

  test("more counters than the shared ledger keeps are refused as overload", async () => {
    stage = createStage(redis);
    const first = await stage.join({ countersMax: 2 });
    await opened(first);
    const answers = [];
    for (const scope of ["a", "b", "c", "a"]) answers.push(await reasonOf(first, { ...draw, scope }));
    expect(answers).toEqual(["held", "held", "overloaded", "held"]);
  });
});
