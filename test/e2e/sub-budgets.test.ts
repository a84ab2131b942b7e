/** Delegation carries money: a real exchange, real calls on what was set aside, and what is left goes back once, whatever ends the token. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { host, sendJson } from "../authenticate/issuer.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: crew-calls, who: { team: [crew, crash] }, each: team, meter: calls, limit: 40, period: year, notify: [50%] }
  - { name: own-calls, each: agent, meter: calls, limit: 12, period: total }
  - { name: tool-calls, who: { team: crew }, tools: [up/echo], meter: calls, limit: 1000, period: total }
  - { name: crew-tokens, who: { team: crew }, meter: tool_tokens, limit: 100_000, period: month }
`;
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

type Detail = { type: string; meter: string; limit: number; identifier: string };
type Exchanged = { status: number; access_token: string; error?: string; error_description?: string; authorization_details: Detail[] };
type Row = { name: string; scope: string; committed: number; held: number; debt: number; remaining: number };
type Answer = {
  result?: { _meta?: Record<string, { remaining: { budget: string; remaining: number }[] }> };
  error?: { code: number; data: { reason: string; budget?: string } };
};
type Act = { kind: string; details: Record<string, unknown>; budget: { budget: string; scope: string; posted: number }[] };

let upstream: Upstream;
let gateway: GatewayProcess;
let login: Awaited<ReturnType<typeof host>>;
let loginKey: CryptoKey;

beforeAll(async () => {
  upstream = await startHttpUpstream();
  const pair = await generateKeyPair("ES256");
  loginKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "login-1", alg: "ES256", use: "sig" };
  login = await host((request, response, url) =>
    sendJson(
      response,
      request.url === "/jwks" ? { keys: [jwk] } : { issuer: url, jwks_uri: `${url}/jwks`, token_endpoint: `${url}/token` },
    ),
  );
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: `receipts: true\nissuers: [{ issuer: "${login.url}", audience: "api://tollgate", agent: claims.azp }]`,
  });
});

/** `agent` null: of a person, which names none. */
function externalToken(agent: string | null, seconds: number): Promise<string> {
  return new SignJWT({ sub: "ann", client_id: "an-app", jti: crypto.randomUUID(), ...(agent === null ? {} : { azp: agent }) })
    .setProtectedHeader({ alg: "ES256", kid: "login-1", typ: "at+jwt" })
    .setIssuer(login.url)
    .setAudience("api://tollgate")
    .setIssuedAt()
    .setExpirationTime(`${seconds}s`)
    .sign(loginKey);
}

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
  await login?.close();
});

const calls = (limit: unknown, more: object = {}) => JSON.stringify([{ type: "tollgate_budget", meter: "calls", limit, ...more }]);

async function exchange(by: Credentials, subject: string, details: string | null, at = gateway): Promise<Exchanged> {
  const answer = await fetch(`${at.publicUrl}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${by.client_id}:${by.client_secret}`).toString("base64")}` },
    body: new URLSearchParams({
      ...{ grant_type: EXCHANGE, subject_token: subject, subject_token_type: ACCESS_TOKEN, resource: `${at.publicUrl}/mcp/up` },
      ...(details === null ? {} : { authorization_details: details }),
    }),
  });
  return { status: answer.status, ...((await answer.json()) as Omit<Exchanged, "status">) };
}

const revoke = (by: Credentials, token: string, at = gateway) =>
  fetch(`${at.publicUrl}/oauth/revoke`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${by.client_id}:${by.client_secret}`).toString("base64")}` },
    body: new URLSearchParams({ token }),
  });

const nameOf = (exchanged: Exchanged, at = 0) => `delegated:${exchanged.authorization_details[at]?.identifier}`;

async function call(token: string, tool = "echo", args: object = { text: "x" }, at = gateway): Promise<Answer> {
  return (await (await modernRequest(`${at.publicUrl}/mcp/up`, token, "tools/call", { name: tool, arguments: args })).json()) as Answer;
}

/** As the command line asks it, without a process for each question. */
async function admin<T>(path: string, at: GatewayProcess, body?: object): Promise<T> {
  const key = readFileSync(join(at.folder, "data", "admin.key"), "utf8").trim();
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const answer = await fetch(
    `${at.adminUrl}/api/v1/${path}`,
    body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) },
  );
  return ((await answer.json()) as { items: T }).items;
}

async function rows(at = gateway): Promise<Map<string, Row>> {
  const found = await admin<Row[]>("budgets", at);
  return new Map(found.map((row) => [row.scope === "" ? row.name : `${row.name} ${row.scope}`, row]));
}

const committed = async (name: string, at = gateway) => (await rows(at)).get(name)?.committed ?? 0;

async function until<T>(look: () => Promise<T | null>): Promise<T> {
  for (;;) {
    const seen = await look();
    if (seen !== null) return seen;
    await sleep(50);
  }
}

const acts = async (budget: string, at = gateway) =>
  (await admin<Act[]>("audit/records?limit=1000", at)).filter(({ details }) => details?.budget === budget);
const returned = (budget: string, at = gateway) =>
  until(async () => (await acts(budget, at)).find(({ kind }) => kind === "budget.returned") ?? null);

const me = async (token: string, at = gateway) =>
  (await (await fetch(`${at.publicUrl}/v1/me`, { headers: { authorization: `Bearer ${token}` } })).json()) as {
    budgets: { budget: string; remaining: number }[];
    delegated: { budget: string; remaining: number; agent_id: string }[];
  };

let pairs = 0;
async function pair(team = "crew", at = gateway) {
  pairs += 1;
  const [parent, child] = [await at.createAgent(`parent-${pairs}`, team), await at.createAgent(`child-${pairs}`, team)];
  return { parent, child, token: await at.accessToken(parent, "up") };
}

test("a child's calls draw on what was set aside for its token, which is taken at once from all that its parent's calls draw on", async () => {
  const { parent, child, token } = await pair();
  const before = await rows();
  const made = await exchange(child, token, calls(3));
  expect(made.status).toBe(200);
  const budget = nameOf(made);
  expect(decodeJwt(made.access_token).authorization_details).toEqual(made.authorization_details);
  expect(made.authorization_details).toMatchObject([{ type: "tollgate_budget", meter: "calls", limit: 3 }]);
  const taken = await rows();
  const ofCrew = "crew-calls team=crew";
  expect((taken.get(ofCrew)?.committed ?? 0) - (before.get(ofCrew)?.committed ?? 0)).toBe(3);
  expect(taken.get(`own-calls agent=${parent.id}`)).toMatchObject({ committed: 3, held: 0, remaining: 9 });
  expect(taken.get(budget)).toMatchObject({ meter: "calls", limit: 3, committed: 0, remaining: 3 });

  const receipt = (await call(made.access_token)).result?._meta?.["io.tollgate/receipt"];
  const left = new Map(receipt?.remaining.map((row) => [row.budget, row.remaining]));
  expect([left.get(budget), left.get("own-calls"), left.has("crew-calls"), left.has("tool-calls")]).toEqual([2, 11, false, true]);
  const [ofChild, ofParent] = [await me(made.access_token), await me(token)];
  expect(ofChild.budgets.find((row) => row.budget === budget)?.remaining).toBe(2);
  expect(ofChild.budgets.some((row) => row.budget === "crew-calls")).toBe(false);
  expect(ofParent.delegated).toMatchObject([{ budget, remaining: 2, agent_id: child.id }]);
  for (const _ of [1, 2]) expect((await call(made.access_token)).result).toBeDefined();
  expect((await call(made.access_token)).error).toMatchObject({ code: 42910, data: { reason: "budget_exhausted", budget } });
  const after = await rows();
  expect(after.get(ofCrew)?.committed).toBe(taken.get(ofCrew)?.committed);
  expect(after.get(`own-calls agent=${child.id}`)?.committed).toBe(3);
  expect((await call(token)).result).toBeDefined();
});

test("what does not fit one of them is refused in words, and nothing is taken", async () => {
  const { child, token } = await pair();
  const used = async () =>
    [...(await rows()).values()]
      .filter(({ committed, held, debt }) => committed + held + debt > 0)
      .map(({ name, scope, committed, held }) => [name, scope, committed, held]);
  const before = await used();
  const both = JSON.stringify([...JSON.parse(calls(5)), { type: "tollgate_budget", meter: "tool_tokens", limit: 100_001 }]);
  expect(await exchange(child, token, both)).toMatchObject({
    status: 400,
    error: "invalid_authorization_details",
    error_description: expect.stringMatching(/^budget crew-tokens: \d+ of 100000 tool_tokens left, 100001 needed$/),
  });
  expect(await exchange(child, token, calls(13))).toMatchObject({ error_description: "budget own-calls: 12 of 12 calls left, 13 needed" });
  expect(await used()).toEqual(before);
});

test.each<[string, string]>([
  ["another type", JSON.stringify([{ type: "payment", meter: "calls", limit: 1 }])],
  ["a meter that nobody knows", JSON.stringify([{ type: "tollgate_budget", meter: "wishes", limit: 1 }])],
  ["a meter that only others report", JSON.stringify([{ type: "tollgate_budget", meter: "llm_tokens", limit: 1 }])],
  ["nothing", calls(0)],
  ["half a call", calls(1.5)],
  ["a text", calls("5")],
  ["a member that nobody understands", calls(1, { until: "noon" })],
  ["a meter twice", JSON.stringify([...JSON.parse(calls(1)), ...JSON.parse(calls(2))])],
  ["two limits in one", '[{"type":"tollgate_budget","meter":"calls","limit":1,"limit":9}]'],
  ["an empty list", "[]"],
  ["no JSON", "calls"],
])("authorization_details are refused: %s", async (_, details) => {
  const { child, token } = await strangers();
  expect(await exchange(child, token, details)).toMatchObject({ status: 400, error: "invalid_authorization_details" });
});

let once: Awaited<ReturnType<typeof pair>> | null = null;
const strangers = async () => {
  once ??= await pair("strangers");
  return once;
};

test("a grant that sets nothing aside says so", async () => {
  const { child } = await strangers();
  const answer = await fetch(`${gateway.publicUrl}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${child.client_id}:${child.client_secret}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", authorization_details: calls(1) }),
  });
  expect([answer.status, await answer.json()]).toMatchObject([400, { error: "invalid_authorization_details" }]);
});

test("of many exchanges at once exactly as many succeed as fit", async () => {
  const { parent, child, token } = await pair("many");
  const made = await Promise.all(Array.from({ length: 10 }, () => exchange(child, token, calls(2))));
  expect(made.map(({ status }) => status).toSorted()).toEqual([...Array(6).fill(200), ...Array(4).fill(400)]);
  expect((await rows()).get(`own-calls agent=${parent.id}`)).toMatchObject({ committed: 12, held: 0, remaining: 0 });
  await revoke(parent, token);
  for (const each of made.filter(({ status }) => status === 200)) await returned(nameOf(each));
  expect(await committed(`own-calls agent=${parent.id}`)).toBe(0);
});

describe("what is left goes back", () => {
  test("when the child's token is revoked, to just the counters that it came from, by one record", async () => {
    const { parent, child, token } = await pair();
    const crewBefore = await committed("crew-calls team=crew");
    const made = await exchange(child, token, calls(5));
    expect((await call(made.access_token)).result).toBeDefined();
    await revoke(child, made.access_token);
    expect(await returned(nameOf(made))).toMatchObject({
      details: { returned: 4, limit: 5, agent_id: child.id, parent_agent_id: parent.id },
      budget: expect.arrayContaining([
        expect.objectContaining({ budget: nameOf(made), posted: 4 }),
        expect.objectContaining({ budget: "own-calls", scope: `agent=${parent.id}`, posted: -4 }),
        expect.objectContaining({ budget: "crew-calls", posted: -4 }),
      ]),
    });
    const after = await rows();
    expect(after.get(`own-calls agent=${parent.id}`)?.committed).toBe(1);
    expect(after.get("crew-calls team=crew")?.committed).toBe(crewBefore + 1);
    expect(after.has(nameOf(made))).toBe(false);
    expect((await acts(nameOf(made))).map(({ kind }) => kind)).toEqual(["budget.delegated", "budget.returned"]);
  });

  test("when the parent is suspended, once a call that is under way has ended", async () => {
    const { parent, child, token } = await pair("suspended");
    const made = await exchange(child, token, calls(5));
    // Looked at after the other, whenever somebody looks.
    const idle = await exchange(child, token, calls(2));
    const client = new AbortController();
    const asked = { name: "slow", arguments: { ms: 60_000, nonce: "under-way" } };
    const slow = modernRequest(`${gateway.publicUrl}/mcp/up`, made.access_token, "tools/call", asked, 1, client.signal).catch(() => null);
    await until(async () => (upstream.executions.some(({ id }) => id === "under-way") ? true : null));
    await admin(`agents/${parent.id}/suspend`, gateway, { reason: "test" });
    expect((await modernRequest(`${gateway.publicUrl}/mcp/up`, made.access_token, "tools/list")).status).toBe(401);
    await returned(nameOf(idle));
    expect((await acts(nameOf(made))).map(({ kind }) => kind)).toEqual(["budget.delegated"]);
    client.abort();
    await slow;
    expect(await returned(nameOf(made))).toMatchObject({ details: { returned: 4 } });
    expect(await committed(`own-calls agent=${parent.id}`)).toBe(1);
  });

  test("through all that hand it on: a part of a part returns to that part first", async () => {
    const { parent, child, token } = await pair("chain");
    const third = await gateway.createAgent("third", "chain");
    const first = await exchange(child, token, calls(6));
    const second = await exchange(third, first.access_token, calls(4));
    expect((await rows()).get(nameOf(first))).toMatchObject({ committed: 4, remaining: 2 });
    expect(await exchange(third, first.access_token, calls(3))).toMatchObject({
      error_description: `budget ${nameOf(first)}: 2 of 6 calls left, 3 needed`,
    });
    // Handed on without a part of its own, a token stays within what it was made from.
    const narrowed = await exchange(child, first.access_token, null);
    expect(decodeJwt(narrowed.access_token).authorization_details).toEqual(first.authorization_details);
    expect((await call(narrowed.access_token)).result).toBeDefined();
    expect((await call(second.access_token)).result).toBeDefined();
    expect((await rows()).get(nameOf(first))).toMatchObject({ committed: 5, remaining: 1 });
    await revoke(parent, token);
    const [inner, outer] = [await returned(nameOf(second)), await returned(nameOf(first))];
    expect([inner.details.returned, outer.details.returned]).toEqual([3, 4]);
    expect(await committed(`own-calls agent=${parent.id}`)).toBe(2);
  });

  test("when what it was made from expires, here a token of another issuer", async () => {
    const { parent, child } = await pair("expiring");
    const made = await exchange(child, await externalToken(parent.name, 4), calls(5));
    expect((await call(made.access_token)).result).toBeDefined();
    expect(await returned(nameOf(made))).toMatchObject({ details: { returned: 4, parent_agent_id: parent.id } });
    expect(Date.now()).toBeGreaterThanOrEqual(Number(decodeJwt(made.access_token).exp) * 1000);
    expect(await committed(`own-calls agent=${parent.id}`)).toBe(1);
    // Until the clocks of others agree that it has expired, the token is taken; what was set aside for it is over.
    expect((await call(made.access_token)).error?.data).toMatchObject({ reason: "budget_exhausted", budget: nameOf(made) });
  });
});

test("a token of a person has no budgets that a part could be taken from", async () => {
  const { child } = await strangers();
  expect(await exchange(child, await externalToken(null, 60), calls(1))).toMatchObject({
    status: 400,
    error: "invalid_authorization_details",
    error_description: expect.stringContaining("no agent"),
  });
});

test("in observe mode nothing is refused, at the exchange and later", async () => {
  const observing = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: "mode: observe",
  });
  try {
    const { child, token } = await pair("observed", observing);
    const made = await exchange(child, token, calls(20), observing);
    expect(made.status).toBe(200);
    const small = await exchange(child, token, calls(1), observing);
    for (const _ of [1, 2]) expect((await call(small.access_token, "echo", { text: "x" }, observing)).result).toBeDefined();
    expect((await rows(observing)).get(nameOf(small))).toMatchObject({ committed: 2, remaining: 0 });
  } finally {
    expect(await observing.stop()).toBe(0);
  }
});

test("killed between the journal and the registry, a gateway loses no part and gives none back twice", async () => {
  const [running, over, unheard, unwritten] = [await pair("crash"), await pair("crash"), await pair("crash"), await pair("crash")];
  const kept = await exchange(running.child, running.token, calls(5));
  const ended = await exchange(over.child, over.token, calls(5));
  for (const made of [kept, ended]) expect((await call(made.access_token)).result).toBeDefined();
  const registry = new Database(join(gateway.folder, "data", "control.db"));
  const stop = (when: string) =>
    registry.exec(`CREATE TRIGGER stop_${when} BEFORE UPDATE ON sub_budget WHEN ${STOPS[when]} BEGIN SELECT RAISE(ABORT, 'the test'); END`);
  const stateOf = ({ access_token }: Exchanged) =>
    registry.prepare("SELECT state FROM sub_budget WHERE jti = ?").pluck().get(decodeJwt(access_token).jti);
  const unsettled = () => registry.prepare("SELECT count(*) FROM sub_budget WHERE state NOT IN ('open', 'returned')").pluck().get();

  // Given back in the journal, and the registry never hears of it.
  stop("returning");
  await revoke(over.child, ended.access_token);
  await returned(nameOf(ended));
  // Taken in the journal, and the registry never hears of that.
  stop("taken");
  expect((await exchange(unheard.child, unheard.token, calls(5))).access_token).toBeUndefined();
  expect(await committed(`own-calls agent=${unheard.parent.id}`)).toBe(5);
  // In the registry, and not in the journal.
  const journal = new Database(join(gateway.folder, "data", "journal.db"));
  journal.exec("BEGIN IMMEDIATE");
  const cut = exchange(unwritten.child, unwritten.token, calls(5)).catch(() => null);
  await until(async () => (registry.prepare("SELECT id FROM sub_budget WHERE state = 'taking'").all().length === 2 ? true : null));
  await gateway.signal("SIGKILL");
  journal.exec("ROLLBACK");
  journal.close();
  await cut;
  registry.exec("DROP TRIGGER stop_returning; DROP TRIGGER stop_taken");
  expect([stateOf(kept), stateOf(ended), unsettled()]).toEqual(["open", "closed", 3]);

  await gateway.serve();
  await until(async () => (unsettled() === 0 ? true : null));
  expect((await call(kept.access_token)).result).toBeDefined();
  const after = await rows();
  expect(after.get(nameOf(kept))).toMatchObject({ committed: 2, remaining: 3 });
  const ofParents = [running, over, unheard, unwritten].map(({ parent }) => after.get(`own-calls agent=${parent.id}`)?.committed ?? 0);
  expect(ofParents).toEqual([5, 1, 0, 0]);
  expect(after.get("crew-calls team=crash")?.committed).toBe(6);
  expect((await acts(nameOf(ended))).map(({ kind }) => kind)).toEqual(["budget.delegated", "budget.returned"]);
  registry.close();
});

const STOPS: Readonly<Record<string, string>> = { returning: "NEW.state = 'returned'", taken: "OLD.state = 'taking'" };

test("the books agree with all of it", async () => {
  expect(await gateway.json<object>("audit", "verify")).toMatchObject({ ok: true });
});
