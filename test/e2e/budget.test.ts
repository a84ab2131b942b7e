import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: hundred, who: { team: crowd }, meter: calls, limit: 100, period: total }
  - { name: roomy, who: { team: crowd }, meter: tool_tokens, limit: 100_000_000, period: month }
  - { name: few-tokens, who: { team: frugal }, meter: tool_tokens, limit: 3000, period: total }
  - { name: trusting, who: { team: trusting }, meter: tool_tokens, limit: 2100, period: total, overrun: deliver }
`;

let upstream: Upstream;
let gateway: GatewayProcess;

type BudgetRow = { name: string; scope: string; limit: number; committed: number; held: number; remaining: number };
type Answer = { result?: { content: { text: string }[] }; error?: { code: number; data: Record<string, unknown> } };

beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
});

async function budget(name: string): Promise<BudgetRow> {
  const rows = await gateway.json<BudgetRow[]>("budget", "list");
  const row = rows.find((each) => each.name === name);
  if (row === undefined) throw new Error(`no budget ${name}`);
  return row;
}

async function caller(name: string, team: string): Promise<(tool: string, args: object, id?: number) => Promise<Answer>> {
  const agent: Credentials = await gateway.createAgent(name, team);
  const accessToken = await gateway.accessToken(agent, "up");
  return async (tool, args, id = 1) =>
    (await (
      await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: tool, arguments: args }, id)
    ).json()) as Answer;
}

test("of 200 concurrent calls against a limit of 100, exactly 100 run and 100 are refused", async () => {
  const call = await caller("crowd-bot", "crowd");
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => call("echo", { text: "x", nonce: `n${i}` }, i)));
  expect(answers.filter((answer) => answer.result !== undefined).length).toBe(100);
  expect(answers.filter((answer) => answer.error?.code === 42910).length).toBe(100);
  expect(upstream.executions.filter((execution) => execution.id?.startsWith("n")).length).toBe(100);
  expect(await budget("hundred")).toMatchObject({ limit: 100, committed: 100, held: 0, remaining: 0 });
  expect((await budget("roomy")).held).toBe(0);
});

test("a refused call draws nothing, on none of its budgets", async () => {
  const before = await budget("roomy");
  const call = await caller("crowd-bot-2", "crowd");
  expect((await call("echo", { text: "x" })).error?.data).toMatchObject({ reason: "budget_exhausted", budget: "hundred" });
  expect(await budget("roomy")).toEqual(before);
});

test("a result larger than a hard budget can carry is withheld, charged as held, and says so", async () => {
  const call = await caller("frugal-bot", "frugal");
  const large = await call("big", { bytes: 60_000 });
  expect(large.error).toMatchObject({ code: 40322, data: { reason: "result_over_budget", budget: "few-tokens" } });
  expect(JSON.stringify(large)).not.toContain("lorem");
  const row = await budget("few-tokens");
  expect(row).toMatchObject({ committed: 2000, held: 0, remaining: 1000 });
  expect((await call("echo", { text: "x" })).error?.data).toMatchObject({ reason: "budget_insufficient", remaining: 1000 });
  // What is billed is what the ledger has posted.
  const { rows } = await gateway.json<{ rows: { agent: string; calls: number; tool_tokens: number }[] }>("usage", "--by", "agent");
  expect(rows.find(({ agent }) => agent === "frugal-bot")).toMatchObject({ calls: 1, tool_tokens: 2000 });
});

test("overrun: deliver lets the result pass and keeps the excess as debt", async () => {
  const call = await caller("trusting-bot", "trusting");
  expect((await call("big", { bytes: 60_000 })).result?.content[0]?.text.length).toBe(60_000);
  const row = await budget("trusting");
  expect(row.committed).toBeLessThanOrEqual(2100);
  expect(row.remaining).toBe(0);
  expect((await call("echo", { text: "x" })).error?.data).toMatchObject({ reason: "budget_exhausted" });
});

test("a client that leaves in the middle of a call of 2026-07-28 cancels it upstream; the hold is charged and marked", async () => {
  const agent = await gateway.createAgent("leaver", "crowd-free");
  const accessToken = await gateway.accessToken(agent, "up");
  const controller = new AbortController();
  const call = fetch(`${gateway.publicUrl}/mcp/up`, {
    method: "POST",
    signal: controller.signal,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${accessToken}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "slow",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: {
        name: "slow",
        arguments: { ms: 5000, nonce: "left" },
        _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} },
      },
    }),
  }).catch(() => null);
  for (let i = 0; i < 100 && !upstream.executions.some((execution) => execution.id === "left"); i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort();
  await call;
  for (let i = 0; i < 100 && !upstream.cancelled.includes("left"); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(upstream.cancelled).toContain("left");
  const records = await gateway.json<{ agent: { name: string }; outcome: string; settlement: string }[]>("audit", "tail", "--limit", "50");
  expect(records.filter((record) => record.agent?.name === "leaver" && record.outcome === "cancelled")).toMatchObject([
    { settlement: "unknown" },
  ]);
});

test("lists and handshakes are free", async () => {
  const agent = await gateway.createAgent("lister", "crowd");
  const accessToken = await gateway.accessToken(agent, "up");
  expect((await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/list")).status).toBe(200);
  expect((await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "server/discover")).status).toBe(200);
  expect(
    (
      await legacyRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "initialize", {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "x", version: "1" },
      })
    ).status,
  ).toBe(200);
  expect(await budget("hundred")).toMatchObject({ committed: 100, held: 0 });
});
