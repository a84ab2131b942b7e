/** The ledger of several gateways keeps the promises of every ledger, on a real Redis. */
import { afterAll, afterEach, beforeAll, describe } from "vitest";
import type { Adjusting, Ledger } from "../../src/call/budget/reservation.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { NOON } from "./draws.ts";
import { ledgerContract } from "./ledger-contract.ts";
import { createStage, TURNED_BY_TEST } from "./shared-stage.ts";

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

  ledgerContract("in Redis", async (initial): Promise<Ledger & Pick<Adjusting, "apply">> => {
    const stage = createStage(redis);
    stages.push(stage);
    await stage.setClock(NOON);
    // No sweep in the middle of a test that asks for windows of yesterday.
    const { journaled, ledger, sharing } = await stage.join({ initial, time: TURNED_BY_TEST, beatMs: 600_000 });
    await openedBy(sharing);
    return {
      ...journaled,
      apply: ledger.apply,
      async hold(callId, draws, amounts, nowMs) {
        await stage.setClock(nowMs);
        return journaled.hold(callId, draws, amounts, nowMs);
      },
    };
  });
});

async function openedBy(sharing: { status(): { readonly open: boolean } }): Promise<void> {
  while (!sharing.status().open) await new Promise((resolve) => setTimeout(resolve, 1));
}
