/** A part of a budget at two gateways: of one registry and one ledger it is one; where each counts alone it is good where it was taken. */
import { afterAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { type Credentials, type GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";
import { administer, type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets: [{ name: crew, each: team, meter: calls, limit: 10, period: total }]
`;
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

type Exchanged = { access_token: string; authorization_details: { identifier: string }[] };
type Row = { name: string; scope: string; committed: number; held: number; remaining: number };
type Answer = { result?: object; error?: { data: { reason: string; budget?: string } } };

let upstream: Upstream;
let redis: RedisServer | null = null;
let shared: SharedRegistry;

async function start(ledger: "one" | "two"): Promise<void> {
  upstream = await startHttpUpstream();
  redis = ledger === "one" ? await startRedis() : null;
  const setup = { policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` };
  shared = await startSharedRegistry(setup, redis === null ? "" : `, redis: "${redis.url}"`);
}

async function stop(): Promise<void> {
  await shared.close();
  await redis?.close();
  await upstream.close();
}

const form = (at: GatewayProcess, path: string, by: Credentials, body: Record<string, string>) =>
  fetch(`${at.listenUrl}/oauth/${path}`, {
    method: "POST",
    headers: {
      host: new URL(at.publicUrl).host,
      authorization: `Basic ${Buffer.from(`${by.client_id}:${by.client_secret}`).toString("base64")}`,
    },
    body: new URLSearchParams(body),
  });

async function exchange(at: GatewayProcess, by: Credentials, subject: string, limit: number): Promise<Exchanged> {
  const answer = await form(at, "token", by, {
    ...{ grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", subject_token: subject, subject_token_type: ACCESS_TOKEN },
    ...{ resource: `${at.publicUrl}/mcp/up`, authorization_details: JSON.stringify([{ type: "tollgate_budget", meter: "calls", limit }]) },
  });
  return (await answer.json()) as Exchanged;
}

const call = async (at: GatewayProcess, token: string) =>
  (await (await modernRequest(`${at.listenUrl}/mcp/up`, token, "tools/call", { name: "echo", arguments: { text: "x" } })).json()) as Answer;

async function row(at: GatewayProcess, name: string): Promise<Row | undefined> {
  const { items } = (await (await administer(at, "GET", "/budgets")).json()) as { items: Row[] };
  return items.find((each) => each.name === name);
}

async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(50);
}

async function pair() {
  const { first, second } = shared;
  const [parent, child] = [await first.createAgent("parent", "crew"), await first.createAgent("child", "crew")];
  // New agents are heard of within a moment; parts of budgets with the token.
  await until(async () => (await administer(second, "GET", `/agents/${child.id}`)).ok);
  return { parent, child, token: await first.accessToken(parent, "up") };
}

describe.skipIf(withoutPostgres || withoutRedis)("with one ledger", () => {
  afterAll(stop);

  test("a part that was taken at one is used at the other at once, within its limit at both, and goes back whole", async () => {
    await start("one");
    const { first, second } = shared;
    const { child, token } = await pair();
    const made = await exchange(first, child, token, 6);
    const budget = `delegated:${made.authorization_details[0]?.identifier}`;
    expect(await call(second, made.access_token)).toMatchObject({ result: {} });
    expect(await row(second, "crew")).toMatchObject({ committed: 6, held: 0, remaining: 4 });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => call(i % 2 === 0 ? first : second, made.access_token)));
    expect(answers.filter(({ result }) => result !== undefined).length).toBe(5);
    for (const { error } of answers) if (error !== undefined) expect(error.data).toMatchObject({ reason: "budget_exhausted", budget });
    await until(async () => (await row(first, budget))?.committed === 6);

    const other = await exchange(second, child, token, 4);
    expect((await call(first, other.access_token)).result).toBeDefined();
    expect((await form(first, "revoke", child, { token: other.access_token })).status).toBe(200);
    await until(async () => (await row(first, "crew"))?.committed === 7);
    await form(second, "revoke", child, { token: made.access_token });
    await until(async () => (await row(second, budget)) === undefined);
    expect(await row(second, "crew")).toMatchObject({ committed: 7, held: 0, remaining: 3 });
  });
});

describe.skipIf(withoutPostgres || withoutRedis)("with one ledger, after a credit", () => {
  afterAll(stop);

  test("a part goes back as far as its own gateway has still counted it, and nothing stays held", async () => {
    await start("one");
    const { first, second } = shared;
    const { child, token } = await pair();
    const made = await exchange(first, child, token, 5);
    const budget = `delegated:${made.authorization_details[0]?.identifier}`;
    for (let i = 0; i < 3; i++) expect((await call(second, token)).result).toBeDefined();
    const credit = { scope: "team=crew", amount: 3, reason: "a gift" };
    expect((await administer(first, "POST", "/budgets/crew/credit", credit)).status).toBe(201);
    expect(await row(second, "crew")).toMatchObject({ committed: 5 });
    expect((await form(first, "revoke", child, { token: made.access_token })).status).toBe(200);
    await until(async () => (await row(first, budget)) === undefined);
    expect(await row(second, "crew")).toMatchObject({ committed: 3, held: 0, remaining: 7 });
    expect(first.output).not.toContain("CHECK constraint");
    expect(await first.json("audit", "verify")).toMatchObject({ ok: true });
  });
});

describe.skipIf(withoutPostgres)("where each counts alone", () => {
  afterAll(stop);

  test("a part is good where it was taken, and refused at the other", async () => {
    await start("two");
    const { first, second } = shared;
    const { child, token } = await pair();
    const made = await exchange(first, child, token, 6);
    expect((await call(second, made.access_token)).error?.data).toMatchObject({ reason: "budget_exhausted" });
    expect((await call(first, made.access_token)).result).toBeDefined();
    await form(second, "revoke", child, { token: made.access_token });
    await until(async () => (await row(first, "crew"))?.committed === 1);
    expect(await row(second, "crew")).toMatchObject({ committed: 0 });
  });
});
