import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { playLedger } from "./play.ts";
import { SABOTEURS } from "./saboteurs.ts";
import { memoryWorld, redisWorld } from "./worlds.ts";

const BRANCHES = [
  "held",
  "budget_exhausted",
  "budget_insufficient",
  "withheld",
  "posted",
  "unknown",
  "void",
  "dispose",
  "clock",
  "jump",
  "limit",
  "crash",
];

test("a ledger does what a list of holds summed anew does: nothing over a limit, nobody refused who fits, nothing held at rest", async () => {
  const { steps, seen, violations } = await playLedger(async () => memoryWorld(), 1, 20_000);
  expect(violations).toEqual([]);
  expect(steps).toBe(20_000);
  // Every branch was walked often: a play that only ever refuses would prove nothing.
  for (const name of BRANCHES) expect(seen[name] ?? 0, name).toBeGreaterThan(50);
});

describe.skipIf(withoutRedis)("in Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.close());

  test("a ledger does what the same list does", async () => {
    const { steps, violations } = await playLedger(() => redisWorld(redis), 2, 3_000);
    expect([violations, steps]).toEqual([[], 3_000]);
  });
});

test.each(Object.entries(SABOTEURS))("the play finds a ledger that %s", async (_, sabotaged) => {
  const { violations } = await playLedger(async () => memoryWorld(sabotaged), 3, 20_000, 1);
  expect(violations).toHaveLength(1);
});
