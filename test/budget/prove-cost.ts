/** What a hold and its settlement cost: processor time in memory, questions in Redis; and that budgets which do not match cost nothing. */
import { viewOf } from "../../src/call/authorize/candidates.ts";
import { decide } from "../../src/call/authorize/decide.ts";
import type { Draw } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import { isRefusal } from "../../src/refusal.ts";
import { agentOf, asked as askedAt, policies } from "../authorize/fixture.ts";
import { startRedis } from "../fixtures/redis.ts";
import { callId, drawOf, usageOf } from "./draws.ts";
import { createStage } from "./shared-stage.ts";

export type Cost = {
  /** Microseconds of processor time of one hold with its settlement, by draws. */
  readonly localMicros: Readonly<Record<string, number>>;
  /** EVALSHA for each hold and each settlement. */
  readonly redisTrips: { readonly hold: number; readonly settle: number };
  /** Microseconds of a decision, by budgets that do not match beside two that do. */
  readonly decideMicros: Readonly<Record<string, number>>;
};

export async function cost(rounds: number): Promise<Cost> {
  return { localMicros: await local(rounds), redisTrips: await trips(), decideMicros: decisions(rounds) };
}

async function local(rounds: number): Promise<Record<string, number>> {
  const draws: Record<string, readonly Draw[]> = {
    "one draw": [drawOf({ limit: Number.MAX_SAFE_INTEGER })],
    "three draws": ["a", "b", "c"].map((budget) =>
      drawOf({ budget, meter: "tool_tokens", limit: Number.MAX_SAFE_INTEGER, notify: [50, 80, 100] }),
    ),
    "a rolling one": [drawOf({ period: "rolling", rollingMs: 3_600_000, limit: Number.MAX_SAFE_INTEGER })],
  };
  const micros: Record<string, number> = {};
  for (const [name, drawn] of Object.entries(draws)) {
    const ledger = createLedger([]);
    const once = (nowMs: number) => {
      const held = ledger.hold(callId(), drawn, usageOf(1, 100), nowMs);
      if (isRefusal(held)) throw new Error(held.refused);
      held.sent();
      held.post(usageOf(1, 60));
    };
    // A rolling window with all its slots in use.
    for (let i = 0; i < 2_000; i++) once(i * 1_800);
    const before = process.cpuUsage();
    for (let i = 0; i < rounds; i++) once(3_600_000);
    const { user, system } = process.cpuUsage(before);
    micros[name] = (user + system) / rounds;
  }
  return micros;
}

async function trips(): Promise<Cost["redisTrips"]> {
  const redis = await startRedis();
  const stage = createStage(redis);
  try {
    const { journaled, sharing } = await stage.join({ beatMs: 3_600_000 });
    while (!sharing.status().open) await new Promise((resolve) => setTimeout(resolve, 5));
    const draws = ["a", "b", "c"].map((budget) => drawOf({ budget, limit: 1_000_000, period: "total" }));
    const evals = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await redis.command("INFO", "commandstats")))?.[1] ?? 0);
    const count = 100;
    const start = await evals();
    const held = [];
    for (let i = 0; i < count; i++) held.push(await journaled.hold(callId(), draws, usageOf(1), Date.now()));
    const afterHolds = await evals();
    for (const each of held) {
      if (isRefusal(each)) throw new Error(each.refused);
      each.sent();
      await each.post(usageOf(1));
    }
    await journaled.balances();
    const end = await evals();
    // The balances are one question of their own.
    return { hold: (afterHolds - start) / count, settle: (end - afterHolds - 1) / count };
  } finally {
    stage.close();
    await redis.close();
  }
}

function decisions(rounds: number): Record<string, number> {
  const micros: Record<string, number> = {};
  for (const others of [0, 1_000]) {
    const lines = Array.from(
      { length: others },
      (_, i) => `  - { name: other-${i}, who: { team: "team-${i}" }, meter: calls, limit: 100, period: day }`,
    );
    const set = policies(`entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
  - { name: one, meter: calls, limit: 1_000_000, period: day }
  - { name: two, who: { team: support }, meter: calls, limit: 1_000_000, period: day }
${lines.join("\n")}
`);
    const agent = agentOf({ team: "support" });
    viewOf(set, agent);
    const asked = askedAt("tickets/search");
    for (let i = 0; i < 1_000; i++) decide(set, agent, asked, 0);
    const before = process.cpuUsage();
    for (let i = 0; i < rounds; i++) {
      const permit = decide(set, agent, asked, 0);
      if (isRefusal(permit) || permit.draws.length !== 2) throw new Error("two budgets match");
    }
    const { user, system } = process.cpuUsage(before);
    micros[String(others)] = (user + system) / rounds;
  }
  return micros;
}
