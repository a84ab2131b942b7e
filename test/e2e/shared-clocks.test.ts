/** Two gateways of one shared ledger, one of which has a clock that is two years ahead: what is counted goes by the clock of Redis. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { type GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer, type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: yearly, who: { team: crowd }, meter: calls, limit: 30, period: year }
  - { name: model, who: { team: readers }, meter: llm_tokens, limit: 1_000, period: year }
`;
const TWO_YEARS_MS = 731 * 86_400_000;
const PRELOAD = join(import.meta.dirname, "../fixtures/shifted-clock.ts");

type BudgetRow = { name: string; committed: number; held: number; debt: number };

describe.skipIf(withoutPostgres || withoutRedis)("a gateway whose clock is ahead, in a shared ledger", () => {
  let redis: RedisServer;
  let upstream: Upstream;
  let stage: SharedRegistry;
  let first: GatewayProcess;
  let second: GatewayProcess;

  beforeAll(async () => {
    [redis, upstream] = await Promise.all([startRedis(), startHttpUpstream()]);
    stage = await startSharedRegistry(
      { policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}", timeout: 20s }` },
      `, redis: "${redis.url}"`,
    );
    ({ first, second } = stage);
    await Promise.all([first, second].map(isOpen));
  }, 120_000);

  afterAll(async () => {
    await stage?.close();
    await Promise.all([redis?.close(), upstream?.close()]);
  });

  const isOpen = (gateway: GatewayProcess) =>
    vi.waitFor(async () => expect(await (await administer(gateway, "GET", "/budgets/shared")).json()).toMatchObject({ open: true }), {
      timeout: 30_000,
      interval: 100,
    });
  const caller = async (team: string) => {
    const accessToken = await first.accessToken(await first.createAgent(`${team}-bot`, team), "up");
    const call = async (gateway: GatewayProcess, name = "echo") => {
      const answer = await modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", { name, arguments: { text: "x" } });
      const body = (await answer.json()) as { error?: { data: { reason: string } }; reason?: string };
      return body.error?.data.reason ?? body.reason ?? "ran";
    };
    await expect.poll(() => call(second, "no_such_tool"), { timeout: 20_000 }).toBe("tool_unknown");
    return call;
  };
  const rows = async (name: string): Promise<BudgetRow[]> =>
    ((await (await administer(first, "GET", "/budgets")).json()) as { items: BudgetRow[] }).items.filter((row) => row.name === name);

  test("what it had used before counts for all after its start, and what is reported to it counts now", async () => {
    const [call, reader] = [await caller("crowd"), await caller("readers")];
    for (let i = 0; i < 20; i++) expect(await call(second)).toBe("ran");
    await second.stop();
    Object.assign(second.env, { NODE_OPTIONS: `--import ${PRELOAD}`, SHIFTED_CLOCK_MS: String(TWO_YEARS_MS) });
    await second.serve();
    await isOpen(second);
    expect(await rows("yearly")).toMatchObject([{ committed: 20, held: 0 }]);
    const answers = await Promise.all(Array.from({ length: 30 }, () => call(first)));
    expect(answers.filter((answer) => answer === "ran")).toHaveLength(10);

    expect(await reader(first)).toBe("ran");
    const event = { agent_id: "readers-bot", event_type: "tokens.consumed", quantity: 5_000, metadata: { model: "m" }, id: "e1" };
    const said = await administer(second, "POST", "/metering/events", event);
    expect(await said.json()).toMatchObject({ accepted: 1 });
    await expect.poll(() => rows("model"), { timeout: 20_000 }).toMatchObject([{ committed: 0, debt: 5_000 }]);
    expect(await reader(first)).toBe("budget_exhausted");
  });
});
