/** Windows of a shared ledger go by the clock of Redis, whatever the clocks of gateways say, now or when they wrote their journals. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { isRefusal } from "../../src/refusal.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { callId, DAY_MS, drawOf, HOUR_MS, held, NOON, refused, sentHold, usageOf } from "./draws.ts";
import { createStage, type Joining, type Sharer, TURNED_BY_TEST } from "./shared-stage.ts";

const once = usageOf(1, 100);
const daily = drawOf({ limit: 3 });
const MIDNIGHT = Date.parse("2026-03-10T00:00:00Z");
const TODAY = { windowStartMs: MIDNIGHT, windowEndMs: MIDNIGHT + DAY_MS };
const rowOf = (committed: number, changes = {}) => ({ budget: "b", scope: "", ...TODAY, committed, held: 0, debt: 0, ...changes });
const TEN_YEARS_MS = 3_650 * DAY_MS;

describe.skipIf(withoutRedis)("the clock of a shared ledger", () => {
  let redis: RedisServer;
  let stage: ReturnType<typeof createStage>;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(() => stage.close());
  afterAll(() => redis?.close());

  const opened = (sharer: Sharer) => expect.poll(() => sharer.sharing.status().open, { timeout: 20_000, interval: 5 }).toBe(true);
  const join = async (changes: Joining = {}) => {
    const sharer = await stage.join({ time: TURNED_BY_TEST, ...changes });
    await opened(sharer);
    return sharer;
  };
  const stageAt = async (redisMs: number) => {
    stage = createStage(redis);
    await stage.setClock(redisMs);
  };

  test("a gateway that starts with its clock ahead tells all that its journal has of the windows that are open by the clock of Redis", async () => {
    await stageAt(NOON);
    const asked: [number, number][] = [];
    const sinceMs = NOON + 2 * DAY_MS;
    const journaled = async (...span: [number, number]) => {
      asked.push(span);
      return [rowOf(2)];
    };
    const { ledger } = await join({ now: () => sinceMs + HOUR_MS, sinceMs, journaled });
    expect(asked).toEqual([[NOON - HOUR_MS, sinceMs]]);
    expect(await ledger.balances()).toMatchObject([{ committed: 2, ...TODAY }]);
    await held(ledger, [daily], once);
    await refused(ledger, [daily], once);
  });

  test("what is known of a window already is newer than what the journal had", async () => {
    await stageAt(NOON);
    const { ledger } = await join({ initial: [rowOf(3)], sinceMs: NOON + DAY_MS, journaled: async () => [rowOf(1)] });
    await refused(ledger, [daily], once);
  });

  test("a gateway whose journal cannot be read then holds nothing", async () => {
    await stageAt(NOON);
    const journaled = async () => Promise.reject(new Error("the journal cannot write"));
    const { ledger, states } = await stage.join({ time: TURNED_BY_TEST, sinceMs: NOON + DAY_MS, journaled });
    expect(await refused(ledger, [daily], once)).toMatchObject({ refused: "store_unavailable" });
    expect(states).toContainEqual(["away", "the journal cannot write"]);
  });

  test("a window of ten years ahead in a journal takes nobody there: no gateway's clock moves that of the ledger", async () => {
    await stageAt(NOON);
    const ahead = Date.parse("2036-03-07T00:00:00Z");
    const { ledger } = await join({ initial: [rowOf(1, { windowStartMs: ahead, windowEndMs: ahead + DAY_MS })] });
    expect((await held(ledger, [daily], once)).lines).toMatchObject([TODAY]);
  });

  test("gateways that run put the clock of a Redis that has lost its memory on to where it was: rolling windows forget nothing", async () => {
    await stageAt(NOON);
    // Nobody but the gateway itself remembers.
    const one = await join({ registered: async () => ({ gateways: ["gw-1"], epoch: 0, nowMs: 0 }) });
    const rolling = drawOf({ limit: 1, period: "rolling", rollingMs: HOUR_MS });
    await (await sentHold(one.journaled, [rolling], once)).post(once);
    await redis.command("FLUSHALL");
    await stage.setClock(NOON - DAY_MS);
    const reasonOf = async () => {
      const answer = await one.journaled.hold(callId(), [rolling], once, 0);
      return isRefusal(answer) ? answer.refused : "held";
    };
    const answers: string[] = [];
    const next = async () => answers[answers.push(await reasonOf()) - 1];
    await expect.poll(next, { timeout: 20_000, interval: 20 }).toBe("budget_exhausted");
    expect(answers).not.toContain("held");
  });

  test("a clock of Redis that was far ahead is left behind once all have stopped, Redis has forgotten and all start again", async () => {
    await stageAt(NOON);
    const use = async ({ journaled }: Sharer) => {
      const hold = await sentHold(journaled, [daily], once);
      await hold.post(once);
      return hold.lines[0]?.windowStartMs;
    };
    const one = await join();
    expect(await use(one)).toBe(MIDNIGHT);
    await stage.setClock(NOON + TEN_YEARS_MS);
    expect(await use(one)).toBe(MIDNIGHT + TEN_YEARS_MS);
    await stage.setClock(NOON);
    expect(await use(one)).toBe(MIDNIGHT + TEN_YEARS_MS);
    await one.sharing.close();
    await redis.command("UNLINK", `{${stage.namespace}}:control`);
    // As the journal has it.
    const initial = [rowOf(1), rowOf(2, { windowStartMs: MIDNIGHT + TEN_YEARS_MS, windowEndMs: MIDNIGHT + TEN_YEARS_MS + DAY_MS })];
    const again = await join({ initial });
    expect([await use(again), await use(again)]).toEqual([MIDNIGHT, MIDNIGHT]);
    await refused(again.ledger, [daily], once);
  });

  test("until Redis was heard the present is not known, and this machine's clock is not put back", async () => {
    await stageAt(NOON);
    let nowMs = NOON + TEN_YEARS_MS;
    const soft = drawOf({ hard: false });
    const { sharing, ledger } = await stage.join({ url: "redis://127.0.0.1:1", now: () => nowMs });
    expect(sharing.clock.heardMs).toBeNull();
    const [before] = (await held(ledger, [soft], once)).lines;
    nowMs = NOON;
    const [after] = (await held(ledger, [soft], once)).lines;
    expect(after?.windowStartMs).toBe(before?.windowStartMs);
  });
});
