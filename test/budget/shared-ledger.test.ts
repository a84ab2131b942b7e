/** The ledger of several gateways keeps the promises of every ledger, on a real Redis. */
import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { ledgerContract } from "./ledger-contract.ts";
import { createStage, ledgerOn } from "./shared-stage.ts";

describe.skipIf(withoutRedis)("a ledger in Redis", () => {
  let redis: RedisServer;
  const stages: { close(): void }[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(() => {
    for (const stage of stages.splice(0)) stage.close();
  });
  afterAll(() => redis?.close());

  ledgerContract("in Redis", (initial) => {
    const stage = createStage(redis);
    stages.push(stage);
    return ledgerOn(stage, initial);
  });
});
