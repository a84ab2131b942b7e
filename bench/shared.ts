/** `npm run bench:shared [-- --quick | --json]`: what a hold and a settlement cost on a real Redis: questions, waiting, processor time, memory. */
import { parseArgs } from "node:util";
import type { Draw } from "../src/call/authorize/permit.ts";
import { createOwnShares } from "../src/call/budget/own-shares.ts";
import { createSharedLedger } from "../src/call/budget/shared-ledger.ts";
import { openSharing } from "../src/call/budget/sharing.ts";
import { isRefusal } from "../src/refusal.ts";
import { callId, drawOf, usageOf } from "../test/budget/draws.ts";
import { startRedis } from "../test/fixtures/redis.ts";
import { percentile } from "./percentile.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" } } });
const CALLS = values.quick === true ? 2_000 : 20_000;
const AT_ONCE = 32;
const GATEWAYS = 4;

const redis = await startRedis();
const gateways = Array.from({ length: GATEWAYS }, (_, i) => `gw-${i + 1}`);
const mono = () => performance.now();
const ledgers = await Promise.all(
  gateways.map(async (gateway) => {
    const shares = createOwnShares([]);
    const sharing = await openSharing({
      ...{ url: redis.url, namespace: "bench", gateway, timeoutMs: 10_000, lapseMs: 300_000, shares, now: Date.now, mono },
      ...{
        registered: async () => ({ gateways, epoch: 0, nowMs: Date.now() }),
        told: async () => {},
        journaled: async () => [],
        onState: () => {},
      },
    });
    return { ledger: createSharedLedger({ sharing, shares, mono, onReached: () => {} }), sharing };
  }),
);
while (ledgers.some(({ sharing }) => !sharing.status().open)) await new Promise((resolve) => setTimeout(resolve, 20));

const info = async (section: string, name: string) =>
  Number(new RegExp(`^${name}:(?:calls=)?([0-9.]+)`, "m").exec(String(await redis.command("INFO", section)))?.[1] ?? 0);
const processorMs = async () => 1_000 * ((await info("cpu", "used_cpu_user")) + (await info("cpu", "used_cpu_sys")));

async function play(name: string, draws: readonly Draw[]) {
  const before = { questions: await info("commandstats", "cmdstat_evalsha"), ms: await processorMs(), own: process.cpuUsage() };
  const waits: number[] = [];
  const startedMs = mono();
  let next = 0;
  const work = async (through: number) => {
    for (let i = next++; i < CALLS; i = next++) {
      const { ledger } = ledgers[(i + through) % GATEWAYS] as (typeof ledgers)[number];
      const askedMs = mono();
      const held = await ledger.hold(callId(), draws, usageOf(1, 100), Date.now());
      waits.push(mono() - askedMs);
      if (isRefusal(held)) throw new Error(`refused: ${held.refused} ${held.note}`);
      held.sent();
      await held.post(usageOf(1, 60));
      ledger.settled(held.callId);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => work(i)));
  const seconds = (mono() - startedMs) / 1_000;
  // Each answers after what it was told before.
  for (const { ledger } of ledgers) await ledger.balances();
  const own = process.cpuUsage(before.own);
  waits.sort((a, b) => a - b);
  // Signs of life and balances are questions as well, and few.
  const questions = ((await info("commandstats", "cmdstat_evalsha")) - before.questions) / CALLS;
  return {
    ...{
      name,
      calls: CALLS,
      at_once: AT_ONCE,
      calls_per_second: Math.round(CALLS / seconds),
      questions: Math.round(questions * 100) / 100,
    },
    ...{ wait_ms_p50: round(percentile(waits, 50)), wait_ms_p99: round(percentile(waits, 99)) },
    redis_us: Math.round((1_000 * ((await processorMs()) - before.ms)) / CALLS),
    gateway_us: Math.round((own.user + own.system) / CALLS),
  };
}

const round = (ms: number) => Math.round(ms * 100) / 100;
const tokens = drawOf({ budget: "month", meter: "tool_tokens", period: "month", limit: 1e12 });
const rows = [
  await play("one budget, a month", [tokens]),
  await play("three budgets", [
    tokens,
    drawOf({ budget: "day", limit: 1e9 }),
    drawOf({ budget: "agent", scope: "agent=a", period: "hour", limit: 1e9 }),
  ]),
  await play("one rolling budget", [drawOf({ budget: "rolling", period: "rolling", rollingMs: 3_600_000, limit: 1e9 })]),
];
const bytes = Number(await redis.command("MEMORY", "USAGE", `{bench}:e1:c:day\0\0${Math.floor(Date.now() / 86_400_000) * 86_400_000}`));
if (values.json === true) process.stdout.write(`${JSON.stringify({ rows, counter_bytes: bytes })}\n`);
else {
  for (const row of rows)
    process.stdout.write(
      `${row.name}: ${row.calls_per_second} calls/s at ${AT_ONCE} at once, ${row.questions} questions a call, hold p50 ${row.wait_ms_p50} ms p99 ${row.wait_ms_p99} ms, CPU a call: Redis ${row.redis_us} us, gateway ${row.gateway_us} us\n`,
    );
  process.stdout.write(`a counter in which ${GATEWAYS} gateways have a share: ${bytes} bytes\n`);
}
for (const { sharing } of ledgers) await sharing.close();
await redis.close();
