import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: purse, who: { team: paying }, meter: cost_micros, limit: 10_000, period: total, notify: [50%, 100%] }
  - { name: wire, who: { team: wired }, meter: bytes, limit: 400_000, period: day }
  - { name: clock, who: { team: timed }, meter: duration_ms, limit: 70_000, period: total }
  - { name: rolling, who: { team: rolling }, meter: calls, limit: 3, rolling: 1h }
  - { name: soft, who: { team: soft }, meter: calls, limit: 2, overage: 2, hard: false, period: month, notify: [50%, 100%, 150%] }
  - { name: done, who: { team: results }, meter: "outcome:greeted", limit: 2, period: total }
  - { name: models, who: { team: modelled }, meter: llm_tokens, limit: 10, period: total }
`;
const SECRET = Buffer.alloc(32, 7).toString("base64");
const MORE = `prices:
  - { tool: "up/*", perCall: 1_000, per1kTokens: 100_000, currency: EUR, from: 2020-01-01 }
  - { tool: up/echo, perCall: 3_000, currency: EUR }
  - { tool: up/echo, perCall: 2_000, currency: EUR, from: 2026-01-01 }
  - { tool: up/echo, perCall: 999_000, currency: EUR, from: 2999-01-01 }
outcomes:
  - { name: greeted, tool: up/echo, when: "args.text == 'hello'" }
receipts: true
`;

let upstream: Upstream;
let gateway: GatewayProcess;
const told: { id: string; kind: string; details: Record<string, unknown> }[] = [];
const receiver = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature } = request.headers;
  const due = createHmac("sha256", Buffer.from(SECRET, "base64")).update(`${id}.${at}.${body}`).digest("base64");
  expect(signature).toBe(`v1,${due}`);
  const { type, data } = JSON.parse(body) as { type: string; data: { details: Record<string, unknown> } };
  told.push({ id: String(id), kind: type, details: data.details });
  response.writeHead(204).end();
});

type Budget = { name: string; committed: number; held: number; debt: number; remaining: number; overage: number; forecast: string | null };
type Answer = {
  result?: { _meta?: Record<string, { usage: object; remaining: object[] }> };
  error?: { code: number; data: Record<string, unknown> };
};

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  upstream = await startHttpUpstream();
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}", reserve: { tool_tokens: 20 } }`,
    more: `${MORE}webhooks:\n  - { name: ops, url: "${url}", secret: env:HOOK, events: ["budget.*"] }\n`,
    env: { HOOK: `whsec_${SECRET}` },
  });
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
  receiver.close();
});

async function budget(name: string): Promise<Budget> {
  const { items } = (await (await administer(gateway, "GET", "/budgets")).json()) as { items: Budget[] };
  const row = items.find((each) => each.name === name);
  if (row === undefined) throw new Error(`no budget ${name}`);
  return row;
}

let agents = 0;

async function caller(team: string): Promise<(tool: string, args: object) => Promise<Answer>> {
  const agent: Credentials = await gateway.createAgent(`${team}-${agents++}`, team);
  const accessToken = await gateway.accessToken(agent, "up");
  return async (tool, args) =>
    (await (
      await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: tool, arguments: args }, 1)
    ).json()) as Answer;
}

test("money: the nearest price of today counts, is on the bill, in the receipt and in the record, and never exceeds its budget", async () => {
  const call = await caller("paying");
  const first = await call("echo", { text: "a" });
  expect(first.result?._meta?.["io.tollgate/receipt"]).toMatchObject({
    usage: { calls: 1, cost_micros: 2_000 },
    remaining: [{ budget: "purse", meter: "cost_micros", limit: 10_000, remaining: 8_000 }],
  });
  for (let i = 0; i < 4; i++) expect((await call("echo", { text: "a" })).result).toBeDefined();
  const { error } = await call("echo", { text: "a" });
  expect(error).toMatchObject({ code: 42910, data: { reason: "budget_exhausted", budget: "purse", meter: "cost_micros", remaining: 0 } });
  expect(await budget("purse")).toMatchObject({ committed: 10_000, held: 0, debt: 0, remaining: 0 });
  const { rows } = await gateway.json<{ rows: { team: string; cost_micros: number; calls: number }[] }>("usage", "--by", "team");
  expect(rows.find(({ team }) => team === "paying")).toMatchObject({ calls: 5, cost_micros: 10_000 });
  const records = await gateway.json<{ agent: { team: string } | null; usage: { cost_micros: number } | null; prices_version: string }[]>(
    "audit",
    "tail",
  );
  const mine = records.find(({ agent, usage }) => agent?.team === "paying" && usage !== null);
  expect(mine).toMatchObject({ usage: { cost_micros: 2_000 }, prices_version: expect.stringMatching(/^EUR sha256:[0-9a-f]{16}$/) });
});

test("each threshold of a window is told once, signed, and so is the first refusal", async () => {
  await expect.poll(() => told.filter(({ details }) => details.budget === "purse").length, { timeout: 15_000 }).toBe(3);
  const mine = told.filter(({ details }) => details.budget === "purse");
  expect(mine.map(({ kind, details }) => [kind, details.percent ?? null, details.spent])).toEqual([
    ["budget.threshold", 50, 6_000],
    ["budget.threshold", 100, 10_000],
    ["budget.exhausted", null, 10_000],
  ]);
  expect(new Set(mine.map(({ id }) => id)).size).toBe(3);
});

test("a hold on a price is the price of what it may come to: less than that left is too little", async () => {
  const call = await caller("paying");
  const { error } = await call("add", { a: 1, b: 2 });
  expect(error?.data).toMatchObject({ reason: "budget_exhausted", required: 3_000 });
});

test("bytes and time are held by their ceilings and charged as they were", async () => {
  const wired = await caller("wired");
  expect((await wired("echo", { text: "a".repeat(1_000) })).result).toBeDefined();
  const used = (await budget("wire")).committed;
  expect(used).toBeGreaterThan(2_000);
  expect(used).toBeLessThan(10_000);
  const { rows } = await gateway.json<{ rows: { team: string; bytes_in: number; bytes_out: number }[] }>("usage", "--by", "team");
  const billed = rows.find(({ team }) => team === "wired");
  expect(used).toBe((billed?.bytes_in ?? 0) + (billed?.bytes_out ?? 0));
  // The ceiling of 262,144 bytes of a result and 200,000 of the arguments is more than is left.
  expect((await wired("echo", { text: "a".repeat(200_000) })).error?.data).toMatchObject({ reason: "budget_insufficient", meter: "bytes" });
  const timed = await caller("timed");
  expect((await timed("echo", { text: "a" })).result).toBeDefined();
  const { committed, held } = await budget("clock");
  expect([committed < 60_000, held]).toEqual([true, 0]);
  // Two at once would hold two minutes of 70 seconds.
  const both = await Promise.all([timed("slow", { ms: 300 }), timed("slow", { ms: 300 })]);
  expect(both.filter(({ error }) => error?.data.reason === "budget_insufficient")).toHaveLength(1);
});

test("a rolling window refuses the fourth call of the hour, and says when the first stops to count", async () => {
  const call = await caller("rolling");
  for (let i = 0; i < 3; i++) expect((await call("echo", { text: "a" })).result).toBeDefined();
  const { error } = await call("echo", { text: "a" });
  expect(error?.data).toMatchObject({ reason: "budget_exhausted", budget: "rolling", remaining: 0 });
  const waitMs = Date.parse(String(error?.data.resets_at)) - Date.now();
  expect(waitMs).toBeGreaterThan(58 * 60_000);
  expect(waitMs).toBeLessThanOrEqual(61 * 60_000);
});

test("a soft budget goes on beyond its limit, tells of it, and ends where its overage does", async () => {
  const call = await caller("soft");
  for (let i = 0; i < 4; i++) expect((await call("echo", { text: "a" })).result).toBeDefined();
  expect((await call("echo", { text: "a" })).error?.data).toMatchObject({ reason: "budget_exhausted", budget: "soft", limit: 2 });
  expect(await budget("soft")).toMatchObject({ committed: 4, overage: 2, remaining: 0 });
  await expect.poll(() => told.filter(({ details }) => details.budget === "soft").length, { timeout: 15_000 }).toBe(4);
});

test("outcomes are a budget's meter: what brings none costs none", async () => {
  const call = await caller("results");
  const hello = () => call("echo", { text: "hello" });
  for (let i = 0; i < 3; i++) expect((await call("echo", { text: "no" })).result).toBeDefined();
  for (let i = 0; i < 2; i++) expect((await hello()).result).toBeDefined();
  expect((await hello()).error?.data).toMatchObject({ reason: "budget_exhausted", meter: "outcome:greeted" });
});

describe("a correction", () => {
  const adjust = (change: string, ...args: string[]) => gateway.command("budget", change, "purse", ...args);

  test("gives back what was used, and no more than that, by an entry that says who and why", async () => {
    expect((await adjust("credit", "--amount", "10_001", "--reason", "too much")).code).toBe(1);
    expect((await adjust("credit", "--amount", "4000", "--reason", "an outage", "--key", "k1")).code).toBe(0);
    expect((await adjust("credit", "--amount", "4000", "--reason", "an outage", "--key", "k1")).code).toBe(0);
    expect(await budget("purse")).toMatchObject({ committed: 6_000, debt: 0, remaining: 4_000 });
    const records = await gateway.json<{ kind: string; details: object | null; budget: object[] }[]>("audit", "tail");
    expect(records.filter(({ kind }) => kind === "budget.adjusted")).toMatchObject([
      {
        details: { budget: "purse", change: "credit", amount: 4_000, reason: "an outage" },
        budget: [{ posted: -4_000, debt: 0, held: 0 }],
      },
    ]);
    const call = await caller("paying");
    expect((await call("echo", { text: "a" })).result).toBeDefined();
  });

  test("takes as a debt, which stands beside what calls have committed and blocks what is new", async () => {
    expect((await adjust("debit", "--amount", "5000", "--reason", "spent elsewhere")).code).toBe(0);
    expect(await budget("purse")).toMatchObject({ committed: 8_000, debt: 5_000, remaining: 0 });
    const call = await caller("paying");
    expect((await call("echo", { text: "a" })).error?.data).toMatchObject({ reason: "budget_exhausted" });
    expect((await adjust("credit", "--amount", "5000", "--reason", "it was not")).code).toBe(0);
    expect(await budget("purse")).toMatchObject({ committed: 8_000, debt: 0 });
  });

  test.each([
    [["credit", "nobody", "--amount", "1", "--reason", "x"], /there is no budget nobody/],
    [["credit", "purse", "--amount", "-1", "--reason", "x"], /--amount -1/],
    [["debit", "purse", "--amount", "1.5", "--reason", "x"], /--amount 1.5/],
    [["debit", "purse", "--scope", "team=x", "--amount", "1", "--reason", "x"], /one counter is shared by all/],
    [["debit", "purse", "--amount", "1"], /--reason/],
  ])("that makes no sense changes nothing: %j", async (args, words) => {
    const before = await budget("purse");
    const { code, stderr } = await gateway.command("budget", ...args);
    expect([code === 0, words.test(stderr)], stderr).toEqual([false, true]);
    expect({ ...(await budget("purse")), forecast: null }).toEqual({ ...before, forecast: null });
  });

  test("that would pass what can be counted exactly is refused, and leaves no trace", async () => {
    const before = await budget("purse");
    const post = async (amount: number) => (await administer(gateway, "POST", "/budgets/purse/debit", { amount, reason: "x" })).status;
    expect([await post(Number.MAX_SAFE_INTEGER), (await budget("purse")).debt]).toEqual([422, before.debt]);
    expect(told.filter(({ details }) => Number(details.spent) > 1_000_000)).toEqual([]);
  });

  test("survives a kill, and the books still agree with the records", async () => {
    const before = await budget("purse");
    await gateway.signal("SIGKILL");
    await gateway.serve();
    expect(await budget("purse")).toMatchObject({ committed: before.committed, debt: before.debt, held: 0 });
    expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
  });
});
