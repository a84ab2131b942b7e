/** What one gateway is told, every gateway of the registry knows; and what each of them does when the registry is away. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { doorTo } from "../fixtures/database-door.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer, type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
agents:
  declared-bot: { customer: acme, team: support, owner: ops@example.com, purpose: "sort tickets" }
entitlements: [{ name: all, permit: ["*/*"] }]
`;
const TOOLS = [{ name: "echo", inputSchema: { type: "object" } }];

let door: Door;
let stage: SharedRegistry;
let first: GatewayProcess;
let second: GatewayProcess;

describe.skipIf(withoutPostgres)("two gateways of one registry in PostgreSQL", () => {
  beforeAll(async () => {
    door = await openDoor((req, res, body) => {
      if (req.method === "GET") return void res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      const { id, method } = JSON.parse(body.toString());
      const result = method === "tools/list" ? { tools: TOOLS } : { content: [{ type: "text", text: "done" }] };
      res
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ jsonrpc: "2.0", id, result: { resultType: "complete", ...result } }));
    });
    stage = await startSharedRegistry({ policies: POLICIES, servers: `  up: { url: "${door.url}/mcp" }` });
    ({ first, second } = stage);
  }, 120_000);

  afterAll(async () => {
    await stage?.close();
    await door?.close();
  });

  const call = (gateway: GatewayProcess, accessToken: string) =>
    modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: {} });
  const reasonAt = async (gateway: GatewayProcess, accessToken: string): Promise<string> => {
    const body = (await (await call(gateway, accessToken)).json()) as { error?: { data: { reason: string } }; reason?: string };
    return body.error?.data.reason ?? body.reason ?? "allowed";
  };
  const becomes = (gateway: GatewayProcess, accessToken: string, reason: string) =>
    expect.poll(() => reasonAt(gateway, accessToken), { timeout: 10_000, interval: 20 }).toBe(reason);
  const created = async (at: GatewayProcess, name: string): Promise<{ agent: Credentials; accessToken: string }> => {
    const agent = await at.createAgent(name);
    return { agent, accessToken: await at.accessToken(agent, "up") };
  };

  test("a budget that one of them makes, changes or ends counts at the other, too", async () => {
    const { accessToken } = await created(first, "budgeted");
    await becomes(second, accessToken, "allowed");
    const body = { name: "made-here", who: { agent: "budgeted" }, meter: "calls", limit: 0, period: "day" };
    expect((await administer(first, "POST", "/budgets", body)).status).toBe(201);
    expect(await reasonAt(first, accessToken)).toBe("budget_exhausted");
    await becomes(second, accessToken, "budget_exhausted");
    expect((await administer(second, "POST", "/budgets", body)).status).toBe(409);
    expect((await administer(second, "PATCH", "/budgets/made-here", { limit: 1000 })).status).toBe(200);
    await becomes(first, accessToken, "allowed");
    expect((await administer(second, "POST", "/budgets/made-here/end", {})).status).toBe(200);
    await expect.poll(async () => (await administer(first, "GET", "/budgets/made-here")).status, { timeout: 10_000 }).toBe(404);
  });

  test("an agent that one of them registers calls through both, and a declared one has one id in both", async () => {
    const { accessToken } = await created(second, "everywhere");
    expect(await reasonAt(second, accessToken)).toBe("allowed");
    await becomes(first, accessToken, "allowed");
    const ids = await Promise.all([first, second].map((each) => each.json<{ id: string }>("agent", "show", "declared-bot")));
    expect(ids[0]?.id).toBe(ids[1]?.id);
  });

  test("an agent that one of them has just registered logs in at the other, at once", async () => {
    for (let i = 0; i < 20; i++) {
      // Its token is asked for at the public URL: the first's.
      const { accessToken } = await created(second, `fresh-${i}`);
      expect(await reasonAt(first, accessToken)).toBe("allowed");
    }
  });

  test("to suspend at one refuses the very next call there, soon the calls at the other, and ends the streams at both", async () => {
    const { agent, accessToken } = await created(first, "stopped");
    await becomes(second, accessToken, "allowed");
    const streams = await Promise.all(
      [first, second].map((gateway) =>
        fetch(`${gateway.listenUrl}/mcp/up`, {
          headers: { accept: "text/event-stream", "mcp-protocol-version": "2025-11-25", authorization: `Bearer ${accessToken}` },
        }),
      ),
    );
    expect(streams.map(({ status }) => status)).toEqual([200, 200]);
    expect((await administer(first, "POST", `/agents/${agent.id}/suspend`, { reason: "under review" })).status).toBe(200);
    expect(await reasonAt(first, accessToken)).toBe("agent_suspended");
    await becomes(second, accessToken, "agent_suspended");
    for (const stream of streams) await stream.text();
    expect((await administer(second, "POST", `/agents/${agent.id}/reinstate`, { reason: "cleared" })).status).toBe(200);
    expect(await reasonAt(second, accessToken)).toBe("allowed");
    await becomes(first, accessToken, "allowed");
  });

  test("the key that one of them makes first is in its own data folder, and each names its own acts", async () => {
    const keys = [first, second].map(({ folder }) => readFileSync(join(folder, "data", "admin.key"), "utf8"));
    expect(new Set(keys).size).toBe(2);
    const { agent } = await created(second, "attributed");
    const shown = await first.json<{ id: string }>("agent", "show", "attributed");
    expect(shown.id).toBe(agent.id);
  });

  test("while the registry is away calls go on from memory for so long, nothing is changed, and afterwards all is well without a restart", async () => {
    const { agent, accessToken } = await created(first, "patient");
    await becomes(second, accessToken, "allowed");
    await stage.postgres.kill();
    expect(await reasonAt(second, accessToken)).toBe("allowed");
    const refused = await administer(first, "POST", `/agents/${agent.id}/suspend`, { reason: "cannot be heard" });
    expect(refused.status).toBe(503);
    await becomes(second, accessToken, "store_unavailable");
    await becomes(first, accessToken, "store_unavailable");
    expect((await fetch(`${second.probesUrl}/readyz`)).status).toBe(503);
    expect((await call(second, accessToken)).headers.get("retry-after")).not.toBeNull();
    await stage.postgres.start();
    await becomes(second, accessToken, "allowed");
    await becomes(first, accessToken, "allowed");
    expect((await administer(first, "POST", `/agents/${agent.id}/suspend`, { reason: "now" })).status).toBe(200);
    await becomes(second, accessToken, "agent_suspended");
  });
});

test.skipIf(withoutPostgres)(
  "a gateway whose registry's database hangs without a word still ends when it is told to, with 0",
  async () => {
    const postgres = await startPostgres();
    const frozen = await doorTo(new URL(await postgres.database()));
    const gateway = await GatewayProcess.start({
      policies: POLICIES,
      servers: '  up: { url: "http://127.0.0.1:1/mcp" }',
      more: `gatewayId: gw\nkeys: file:${mkdtempSync(join(tmpdir(), "tollgate-keys-"))}\nshared: { postgres: env:REGISTRY, staleAfter: 2s }\n`,
      env: { REGISTRY: frozen.url },
    });
    frozen.freeze();
    expect(await gateway.stop()).toBe(0);
    await frozen.close();
    await postgres.close();
  },
  40_000,
);
