/** Gateways of one shared ledger whose Redis is killed, paused, emptied and replaced by a lagging replica while they count. */
import type { Reservation } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type RedisServer, startRedis } from "../fixtures/redis.ts";
import type { Random } from "../fixtures/seeded-random.ts";
import { callId, drawOf, usageOf } from "./draws.ts";
import { createStage, type Sharer } from "./shared-stage.ts";

export type Trouble = {
  readonly trials: number;
  readonly holds: number;
  readonly overspend: number;
  readonly leases: number;
  readonly violations: readonly string[];
};

export const TROUBLES = ["killed", "paused", "emptied", "failed over"] as const;
const LIMIT = 300;
const GATEWAYS = 3;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** `lease`: what each gateway may set aside of the budget. */
export async function trouble(rounds: number, lease: number, random: Random, progress: (line: string) => void): Promise<Trouble> {
  const violations: string[] = [];
  let holds = 0;
  let overspend = 0;
  for (let round = 0; round < rounds; round++) {
    const kind = TROUBLES[round % TROUBLES.length] ?? "killed";
    const redis = await startRedis();
    const replica = kind === "failed over" ? await startRedis() : null;
    const stage = createStage(redis);
    const draw = drawOf({ limit: LIMIT, period: "total", lease });
    let used = 0;
    let over = false;
    try {
      let sharers = await Promise.all(Array.from({ length: GATEWAYS }, (_, i) => stage.join({ id: `gw-${i}`, timeoutMs: 300 })));
      await isOpen(sharers);
      if (replica !== null) await replica.command("REPLICAOF", "127.0.0.1", String(redis.port));
      const open: Reservation[] = [];
      const work = async (index: number): Promise<void> => {
        while (!over && used < LIMIT) {
          const sharer = sharers[index % GATEWAYS] as Sharer;
          const held = await sharer.journaled.hold(callId(), [draw], usageOf(1), Date.now());
          if (isRefusal(held)) await sleep(5);
          else {
            holds += 1;
            used += 1;
            held.sent();
            await sleep(random() * 4);
            await (random() < 0.9 ? held.post(usageOf(1)) : Promise.resolve(held.postUnknown()));
          }
        }
      };
      const workers = Promise.all(Array.from({ length: 12 }, (_, i) => work(i)));
      await sleep(20 + random() * 100);
      if (kind === "paused") await redis.command("CLIENT", "PAUSE", "1500", "ALL");
      else if (kind === "emptied") await redis.command("FLUSHALL");
      else if (kind === "killed") {
        await redis.kill();
        await sleep(random() * 500);
        await redis.start();
      } else if (replica !== null) sharers = await moved(stage, sharers, redis, replica);
      await Promise.race([workers, sleep(20_000)]);
      over = true;
      await workers;
      for (const one of open) one[Symbol.dispose]();
      const told = sharers.reduce(
        (sum, { shares }) => sum + [...shares.all()].reduce((all, share) => all + share.committed + share.held, 0),
        0,
      );
      overspend = Math.max(overspend, used - LIMIT);
      if (used > LIMIT + lease * GATEWAYS) violations.push(`${kind}, round ${round}: ${used} of ${LIMIT} were used`);
      if (kind !== "failed over" && told !== used)
        violations.push(`${kind}, round ${round}: ${used} were used, the gateways' books say ${told}`);
      if (used < LIMIT) violations.push(`${kind}, round ${round}: after the trouble nobody could use the ${LIMIT - used} that were left`);
      progress(`Redis ${kind}${lease > 0 ? ` with leases of ${lease}` : ""}: ${used} of ${LIMIT} used`);
    } finally {
      stage.close();
      await redis.close();
      await replica?.close();
    }
  }
  return { trials: rounds, holds, overspend, leases: lease * GATEWAYS, violations };
}

async function isOpen(sharers: readonly Sharer[]): Promise<void> {
  while (!sharers.every(({ sharing }) => sharing.status().open)) await sleep(5);
}

/** The replica hears of some postings and not of the last ones; then every gateway goes there, with its books. */
async function moved(
  stage: ReturnType<typeof createStage>,
  sharers: readonly Sharer[],
  redis: RedisServer,
  replica: RedisServer,
): Promise<Sharer[]> {
  await replica.command("REPLICAOF", "NO", "ONE");
  await sleep(50);
  await redis.kill();
  // What is under way ends on the books of the gateway that had it.
  await sleep(400);
  const again = sharers.map(({ shares, sharing }, i) => {
    sharing.close();
    const initial = [...shares.all()].map((share) => ({ ...share, held: 0, committed: share.committed + share.held }));
    return stage.join({ id: `gw-${i}`, initial, url: replica.url, timeoutMs: 300 });
  });
  const joined = await Promise.all(again);
  await isOpen(joined);
  return joined;
}
