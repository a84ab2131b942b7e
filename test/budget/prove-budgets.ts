/** `npm run prove:budgets`: limits that hold under races, kills, clocks and a Redis that fails; retries that run once; and bugs that are found. */
import { parseArgs } from "node:util";
import { proveRetries } from "../call/prove-retries.ts";
import { startRedis } from "../fixtures/redis.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { playLedger } from "./play.ts";
import { cost } from "./prove-cost.ts";
import { type Costs, costs } from "./prove-costs.ts";
import { race } from "./prove-race.ts";
import { trouble } from "./prove-trouble.ts";
import { SABOTEURS } from "./saboteurs.ts";
import { memoryWorld, redisWorld } from "./worlds.ts";

type Size = {
  readonly steps: number;
  readonly races: number;
  readonly sharedRaces: number;
  readonly gateways: number;
  readonly kills: number;
  readonly troubles: number;
  /** Whose cost only the result says, on one process and as many on several. */
  readonly costs: number;
  readonly keys: number;
  readonly keyKills: number;
  readonly rounds: number;
};

const FULL: Size = {
  steps: 100_000,
  races: 20,
  sharedRaces: 10,
  gateways: 4,
  kills: 30,
  troubles: 20,
  costs: 20_000,
  keys: 10_000,
  keyKills: 20,
  rounds: 200_000,
};
const QUICK: Size = {
  steps: 3_000,
  races: 2,
  sharedRaces: 0,
  gateways: 4,
  kills: 1,
  troubles: 4,
  costs: 500,
  keys: 60,
  keyKills: 1,
  rounds: 20_000,
};

type Part = {
  readonly name: string;
  run(size: Size, seed: number): Promise<{ readonly trials: string; readonly violations: readonly string[] }>;
};
const progress = (line: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`);

const PARTS: readonly Part[] = [
  {
    name: "model",
    async run({ steps }, seed) {
      const memory = await playLedger(async () => memoryWorld(), seed, steps);
      const redis = await startRedis();
      const shared = await playLedger(() => redisWorld(redis), seed + 1, steps).finally(() => redis.close());
      const seen = Object.entries(memory.seen).map(([what, count]) => `${count} ${what}`);
      return {
        trials: `${memory.steps} steps in memory (${seen.join(", ")}), ${shared.steps} in Redis`,
        violations: [...memory.violations, ...shared.violations],
      };
    },
  },
  {
    name: "bugs",
    async run({ steps }, seed) {
      const missed: string[] = [];
      for (const [name, sabotaged] of Object.entries(SABOTEURS)) {
        const { violations } = await playLedger(async () => memoryWorld(sabotaged), seed, Math.max(20_000, steps), 1);
        if (violations.length === 0) missed.push(`a ledger that ${name} was not found`);
      }
      return {
        trials: `${Object.keys(SABOTEURS).length} planted bugs, ${Object.keys(SABOTEURS).length - missed.length} found`,
        violations: missed,
      };
    },
  },
  {
    name: "race",
    async run({ races, kills }, seed) {
      const { trials, calls, kills: killed, violations } = await race(1, races, kills, seededRandom(seed), progress);
      return { trials: `${trials} rounds of 200 calls at once against 100 on one process, ${calls} calls, ${killed} kills`, violations };
    },
  },
  {
    name: "shared-race",
    async run({ sharedRaces, gateways, kills }, seed) {
      if (sharedRaces === 0) return { trials: "not in --quick", violations: [] };
      const { trials, calls, kills: killed, violations } = await race(gateways, sharedRaces, kills, seededRandom(seed), progress);
      return {
        trials: `${trials} rounds of 200 calls at once against 100 on ${gateways} processes and Redis, ${calls} calls, ${killed} kills`,
        violations,
      };
    },
  },
  {
    name: "costs",
    async run({ costs: calls, sharedRaces, gateways }, seed) {
      const alone = await costs(1, calls, seededRandom(seed), progress);
      const shared = sharedRaces === 0 ? null : await costs(gateways, calls, seededRandom(seed + 1), progress);
      const words = (each: Costs) => `${each.calls} calls of 1 to 100, ${each.ran} ran, ${each.kills} kills, ${each.looks} looks meanwhile`;
      return {
        trials: `one process: ${words(alone)}${shared === null ? "" : `; ${gateways} processes and Redis: ${words(shared)}`}`,
        violations: [...alone.violations, ...(shared?.violations ?? [])],
      };
    },
  },
  {
    name: "redis",
    async run({ troubles }, seed) {
      const none = await trouble(troubles, 0, seededRandom(seed), progress);
      const leased = await trouble(troubles, 20, seededRandom(seed + 1), progress);
      const words = (each: typeof none) =>
        `${each.trials} troubles with ${each.holds} holds, overspend ${each.overspend} (leases ${each.leases})`;
      return {
        trials: `killed, paused, emptied, failed over: ${words(none)}; ${words(leased)}`,
        violations: [...none.violations, ...leased.violations],
      };
    },
  },
  {
    name: "retries",
    async run({ keys, keyKills }, seed) {
      const { executions, requests, cut, kills, usageEvents, neverRan, violations } = await proveRetries({
        keys,
        seed,
        kills: keyKills,
        progress,
      });
      return {
        trials: `${keys} keys, ${requests} requests, ${cut} cut, ${kills} kills: ${executions} ran, ${neverRan} may have and did not, ${usageEvents} usage events`,
        violations,
      };
    },
  },
  {
    name: "cost",
    async run({ rounds }) {
      const { localMicros, redisTrips, decideMicros } = await cost(rounds);
      const told = (micros: Readonly<Record<string, number>>) =>
        Object.entries(micros)
          .map(([name, each]) => `${name} ${each.toFixed(2)} us`)
          .join(", ");
      const violations: string[] = [];
      if (redisTrips.hold !== 1 || redisTrips.settle !== 1)
        violations.push(`${redisTrips.hold} questions a hold and ${redisTrips.settle} a settlement in Redis`);
      return {
        trials: `processor time of hold and settlement: ${told(localMicros)}; Redis: ${redisTrips.hold} question a hold, ${redisTrips.settle} a settlement; a decision beside 0 and 1000 budgets that do not match: ${told(decideMicros)}`,
        violations,
      };
    },
  },
];

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    seed: { type: "string", default: "20261129" },
    only: { type: "string" },
    calls: { type: "string" },
    help: { type: "boolean" },
  },
});
if (values.help === true) {
  console.log(`npm run prove:budgets -- [--quick] [--seed N] [--calls N] [--only ${PARTS.map(({ name }) => name).join("|")}]`);
  process.exit(0);
}
const seed = Number(values.seed);
const parts = PARTS.filter(({ name }) => values.only === undefined || values.only.split(",").includes(name));
let bad = 0;
for (const part of parts) {
  const startMs = performance.now();
  const size = values.quick === true ? QUICK : FULL;
  const { trials, violations } = await part.run({ ...size, costs: Number(values.calls ?? size.costs) }, seed);
  progress("");
  console.log(`${part.name}: ${trials}: ${violations.length} violations (${((performance.now() - startMs) / 1000).toFixed(0)} s)`);
  for (const violation of violations.slice(0, 20)) console.log(`  ${violation}`);
  bad += violations.length;
}
console.log(`seed ${seed}: ${bad} violations`);
process.exit(bad === 0 ? 0 : 1);
