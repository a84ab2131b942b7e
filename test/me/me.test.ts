import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Credentials, GatewayProcess, modernRequest } from "../e2e/gateway-process.ts";
import { administer } from "../e2e/shared-registry.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: support, who: { team: support }, permit: ["up/*", "resource:up/*"] }
  - { name: scoped, who: { team: scoped }, permit: ["up/echo"], requires: [tickets.read] }
  - { name: others-only, who: { team: others }, permit: ["secret/vault"] }
  - { name: nobody-deletes, forbid: ["*/delete_*"] }
  - { name: small, forbid: ["*/search"], when: args.limit > 100 }
limits:
  - { name: paced, who: { team: support }, each: agent, rate: [50/s, 1000/h], concurrent: 9, wait: 1s }
  - { name: of-others, who: { team: others }, rate: 1/h }
  - { name: of-vault, tools: ["secret/vault"], rate: 1/h }
  - { name: lists, who: { team: support }, tools: ["method:up/tools/list"], rate: 500/s }
  - { name: no-circles, who: { team: support }, loop: { calls: 50, within: 1m } }
budgets:
  - { name: each-own, who: { team: [support, scoped] }, each: agent, meter: calls, limit: 3, period: day }
  - { name: shared-tokens, who: { team: support }, meter: tool_tokens, limit: 1_000_000, period: month }
  - { name: of-others, who: { team: others }, meter: calls, limit: 9, period: month }
  - { name: of-vault, tools: ["secret/vault"], meter: calls, limit: 9, period: month }
  - { name: each-tool, who: { team: scoped }, each: [agent, tool], meter: calls, limit: 50, period: total }
`;

type Json = Record<string, unknown>;
type Verdict = { allowed: boolean; reason: string | null; code: number | null; facts: Json; remaining: Json[] };

let upstream: Upstream;
let gateway: GatewayProcess;
let bot: Credentials;
let token: string;

beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }\n  secret: { url: "${upstream.mcpUrl}" }`,
    more: "# page origins\n",
  });
  bot = await gateway.createAgent("bot");
  token = await gateway.accessToken(bot, "");
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
});

function ask(path: string, options: { body?: unknown; as?: string | null; method?: string; headers?: Record<string, string> } = {}) {
  const as = options.as === undefined ? token : options.as;
  return fetch(`${gateway.publicUrl}/v1/me${path}`, {
    method: options.method ?? (options.body === undefined ? "GET" : "POST"),
    headers: {
      ...(as === null ? {} : { authorization: `Bearer ${as}` }),
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: typeof options.body === "string" ? options.body : JSON.stringify(options.body) }),
  });
}

async function json<T = Json>(answer: Promise<Response>, status = 200): Promise<T> {
  const got = await answer;
  const text = await got.text();
  expect(got.status, text).toBe(status);
  expect(got.headers.get("content-type")).toBe(status < 400 ? "application/json" : "application/problem+json");
  expect(got.headers.get("cache-control")).toBe("no-store");
  return JSON.parse(text) as T;
}

async function newcomer(name: string, team: string) {
  const agent = await gateway.createAgent(name, team);
  return { ...agent, token: await gateway.accessToken(agent, "") };
}

async function call(as: string, tool: string, args: object = {}): Promise<{ reason: string | null; callId: string | null }> {
  const answer = await modernRequest(`${gateway.publicUrl}/mcp`, as, "tools/call", { name: `up__${tool}`, arguments: args });
  type Problem = { reason?: string; call_id?: string };
  const body = (await answer.json()) as Problem & { error?: { data: Problem } };
  const { reason = null, call_id = null } = body.error?.data ?? body;
  return { reason, callId: call_id };
}

describe("GET /v1/me", () => {
  test("says who the agent is, with which token, and what it may do", async () => {
    const me = await json(ask(""));
    expect(me).toMatchObject({
      identity: { id: bot.id, name: "bot", kind: "autonomous", customer: "default", team: "support", owner: "owner@example.com" },
      token: { issuer: gateway.publicUrl, client_id: bot.id, scopes: ["mcp"] },
      environment: "live",
      servers: [{ server: "up", tools: [{ pattern: "up/*", requires: [], conditional: false }] }],
    });
    expect(Date.parse((me.token as Json).expires_at as string)).toBeGreaterThan(Date.now());
    expect(JSON.stringify(me)).not.toContain(token);
  });

  test("shows the budgets that it is counted in, and nothing of those that it is not", async () => {
    const { budgets } = await json<{ budgets: Json[] }>(ask(""));
    expect(budgets.map(({ budget }) => budget)).toEqual(["each-own", "shared-tokens"]);
    expect(budgets[0]).toMatchObject({ meter: "calls", limit: 3, remaining: 3, each: ["agent"], scope: `agent=${bot.id}`, hard: true });
    expect(budgets[0]?.resets_at).toMatch(/T00:00:00.000Z$/);
  });

  test("shows the limits that it is held against with what is left of them, and nothing of those that it is not", async () => {
    const { rate_limits: limits } = await json<{ rate_limits: Json[] }>(ask(""));
    expect(limits.map(({ limit }) => limit)).toEqual(["paced", "lists", "no-circles"]);
    const window = (rate: string, burst: number) => ({ rate, burst, remaining: expect.any(Number), resets_in_ms: expect.any(Number) });
    expect(limits[0]).toEqual({
      ...{ limit: "paced", each: ["agent"], scope: `agent=${bot.id}`, wait_ms: 1_000, loop: null },
      rates: [window("50/s", 50), window("1000/h", 1000)],
      concurrent: { limit: 9, remaining: 9 },
    });
    expect(limits[2]).toMatchObject({ rates: [], concurrent: null, loop: { calls: 50, within_ms: 60_000, action: "refuse" } });
    const left = async () => {
      const page = await json<{ rate_limits: { rates: { remaining: number }[] }[] }>(ask(""));
      return page.rate_limits[0]?.rates[1]?.remaining ?? 0;
    };
    const before = await left();
    await modernRequest(`${gateway.publicUrl}/mcp`, token, "tools/call", { name: "up__fail", arguments: {} });
    expect(await left()).toBe(before - 1);
  });

  test("a counter for each tool shows for the tools that policies name, scopes stand with their tools", async () => {
    const agent = await newcomer("scoped-1", "scoped");
    const me = await json<{ servers: Json[]; budgets: Json[] }>(ask("", { as: agent.token }));
    expect(me.servers).toEqual([{ server: "up", tools: [{ pattern: "up/echo", requires: ["tickets.read"], conditional: false }] }]);
    expect(me.budgets.map(({ scope }) => scope)).toEqual([`agent=${agent.id}`, `agent=${agent.id}&tool=up/echo`]);
  });
});

describe("a credential", () => {
  test("that is missing or bad is challenged as on /mcp, and recorded", async () => {
    for (const as of [null, "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"]) {
      const answer = await ask("", { as });
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer .*resource_metadata="http/);
      expect((await json(Promise.resolve(answer), 401)).reason).toBe(as === null ? "credential_missing" : "credential_invalid");
    }
    const tail = await gateway.json<{ reason: string | null }[]>("audit", "tail", "--limit", "2");
    expect(tail.map(({ reason }) => reason)).toEqual(["credential_missing", "credential_invalid"]);
  });

  test("for any route of this gateway is good here", async () => {
    for (const route of ["up", "secret", ""]) expect((await ask("", { as: await gateway.accessToken(bot, route) })).status).toBe(200);
  });

  test("of a suspended agent is refused on every page", async () => {
    const agent = await newcomer("stopped", "support");
    expect((await ask("", { as: agent.token })).status).toBe(200);
    expect((await administer(gateway, "POST", `/agents/${agent.id}/suspend`, {})).status).toBe(200);
    for (const [path, body] of [[""], ["/check", { tool: "up/echo" }], ["/access-requests"], ["/calls/call_x"]] as const) {
      const answer = ask(path, { as: agent.token, ...(body === undefined ? {} : { body }) });
      expect((await json(answer, 403)).reason).toBe("agent_suspended");
    }
  });
});

describe("what cannot be asked", () => {
  test.each([
    ["an unknown page", "/nothing", {}, 404, "route_unknown"],
    ["a query", "?x=1", {}, 404, "route_unknown"],
    ["a trailing slash", "/", {}, 404, "route_unknown"],
    ["another method", "", { method: "DELETE" }, 405, "http_method"],
    ["a check by GET", "/check", {}, 405, "http_method"],
    ["a form", "/check", { body: "tool=x", headers: { "content-type": "application/x-www-form-urlencoded" } }, 415, "media_type"],
    ["a coded body", "/check", { body: "{}", headers: { "content-encoding": "gzip" } }, 415, "media_type"],
    ["no JSON", "/check", { body: "{" }, 400, "request_malformed"],
    ["one name twice", "/check", { body: '{"tool":"up/echo","tool":"up/big"}' }, 400, "request_malformed"],
    ["an unknown member", "/check", { body: { tool: "up/echo", x: 1 } }, 400, "request_malformed"],
    ["a tool without a server", "/check", { body: { tool: "echo" } }, 400, "request_malformed"],
    ["arguments that are no object", "/check", { body: { tool: "up/echo", arguments: [] } }, 400, "request_malformed"],
    ["a right without a reason", "/access-requests", { body: { tool: "up/echo" } }, 400, "request_malformed"],
    ["a right for years", "/access-requests", { body: { tool: "up/echo", reason: "x", duration: "900d" } }, 400, "request_malformed"],
    ["a right to no pattern", "/access-requests", { body: { tool: "echo", reason: "x" } }, 400, "request_malformed"],
    ["too many bytes", "/check", { body: JSON.stringify({ tool: "x".repeat(4_200_000) }) }, 413, "request_too_large"],
  ])("%s", async (_, path, options, status, reason) => {
    expect((await json(ask(path, options), status)).reason).toBe(reason);
  });

  test("pages of other origins may not ask", async () => {
    expect((await json(ask("", { headers: { origin: "https://evil.example" } }), 403)).reason).toBe("origin_forbidden");
    const own = await ask("", { headers: { origin: gateway.publicUrl } });
    expect(own.headers.get("access-control-allow-origin")).toBe(gateway.publicUrl);
    await own.arrayBuffer();
  });

  test("an agent has eight questions under way at most", async () => {
    // How many are under way at once is the machine's to say: asked until more than eight were.
    let refused: Response | undefined;
    for (let attempt = 0; attempt < 20 && refused === undefined; attempt++) {
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(`/calls/call_${i}`)));
      expect(answers.filter(({ status }) => status !== 404 && status !== 429)).toEqual([]);
      refused = answers.find(({ status }) => status === 429);
    }
    expect(refused?.headers.get("retry-after")).toBe("1");
    expect((await ask("")).status).toBe(200);
  });
});

describe("POST /v1/me/check", () => {
  const check = (tool: string, args?: object, as = token) =>
    json<Verdict>(ask("/check", { body: { tool: `up/${tool}`, arguments: args }, as }));

  test.each([
    ["permitted", "support", "echo", { text: "x" }, null],
    ["forbidden", "support", "delete_everything", {}, "tool_unknown"],
    ["unknown to the server", "support", "nothing-like-it", {}, "tool_unknown"],
    ["arguments denied", "support", "search", { query: "x", limit: 101 }, "arguments_denied"],
    ["arguments permitted", "support", "search", { query: "x", limit: 100 }, null],
    ["arguments that a condition cannot read", "support", "search", { query: "x" }, "arguments_denied"],
    ["a scope is missing", "scoped", "echo", { text: "x" }, "scope_insufficient"],
    ["not permitted", "scoped", "big", { bytes: 1 }, "tool_unknown"],
  ])("%s: the check says what the call then hears", async (what, team, tool, args, reason) => {
    const agent = await newcomer(`check-${what.replaceAll(" ", "-")}`, team);
    const before = upstream.executions.length;
    const verdict = await check(tool, args, agent.token);
    expect(upstream.executions.length).toBe(before);
    expect([verdict.allowed, verdict.reason]).toEqual([reason === null, reason]);
    expect((await call(agent.token, tool, args)).reason).toBe(reason);
    if (reason === "scope_insufficient") expect(verdict.facts).toEqual({ scope: "mcp tickets.read" });
  });

  test("it draws nothing; when the budget is used up it says so as the call does", async () => {
    const agent = await newcomer("frugal", "support");
    for (let i = 0; i < 5; i++) {
      expect((await check("echo", { text: "x" }, agent.token)).remaining).toMatchObject([
        { budget: "each-own", limit: 3, remaining: 3 },
        { budget: "shared-tokens" },
      ]);
    }
    for (let i = 0; i < 3; i++) expect((await call(agent.token, "echo", { text: "x" })).reason).toBe(null);
    const verdict = await check("echo", { text: "x" }, agent.token);
    expect(verdict).toMatchObject({ allowed: false, reason: "budget_exhausted", code: 42910, facts: { budget: "each-own", remaining: 0 } });
    expect((await call(agent.token, "echo", { text: "x" })).reason).toBe("budget_exhausted");
  });

  test("what is hidden, what is not there, and what stands on a server of others read alike", async () => {
    const texts = await Promise.all(
      ["up/delete_everything", "up/nothing-like-it"].map(async (tool) => (await ask("/check", { body: { tool } })).text()),
    );
    expect(new Set(texts).size).toBe(1);
    const servers = await Promise.all(
      [{ tool: "secret/vault" }, { tool: "nowhere/vault" }, { server: "secret" }, { server: "nowhere" }].map(async (body) =>
        (await ask("/check", { body })).text(),
      ),
    );
    expect(new Set(servers).size).toBe(1);
    expect(servers[0]).toContain("server_unknown");
  });

  test("server and tool may stand apart, and a server alone may be asked about", async () => {
    expect((await json<Verdict>(ask("/check", { body: { server: "up", tool: "echo" } }))).allowed).toBe(true);
    expect((await json<Verdict>(ask("/check", { body: { server: "up" } }))).allowed).toBe(true);
  });
});

describe("GET /v1/me/calls/{call_id}", () => {
  test("tells why a call of its own was refused, without the rule or the note", async () => {
    const agent = await newcomer("curious", "support");
    const { callId } = await call(agent.token, "search", { query: "x", limit: 101 });
    const page = await json(ask(`/calls/${callId}`, { as: agent.token }));
    expect(page).toMatchObject({
      call_id: callId,
      server: "up",
      target: { kind: "tool", name: "search" },
      decision: "refuse",
      reason: "arguments_denied",
      detail: "Call with arguments within the policy, or ask the operator.",
      receipt: { sequence: expect.any(Number), source: expect.stringMatching(/^gw_/) },
    });
    expect(JSON.stringify(page)).not.toMatch(/small|test\.yaml|limit > 100/);
  });

  test("names the scopes that a call lacked, and what its budgets have left", async () => {
    const scoped = await newcomer("scoped-2", "scoped");
    const { callId } = await call(scoped.token, "echo", { text: "x" });
    expect((await json(ask(`/calls/${callId}`, { as: scoped.token }))).needs).toEqual({ scope: "mcp tickets.read" });
    const spent = await newcomer("spent", "support");
    for (let i = 0; i < 3; i++) await call(spent.token, "echo", { text: "x" });
    const refused = await call(spent.token, "echo", { text: "x" });
    const page = await json(ask(`/calls/${refused.callId}`, { as: spent.token }));
    expect(page.needs).toMatchObject({ budgets: [{ budget: "each-own", remaining: 0 }, {}] });
  });

  test("tells what a call used", async () => {
    const agent = await newcomer("user", "support");
    await call(agent.token, "echo", { text: "hello" });
    const tail = await gateway.json<{ call_id: string; agent: { id: string } | null }[]>("audit", "tail", "--limit", "1");
    expect(tail[0]?.agent?.id).toBe(agent.id);
    const page = await json(ask(`/calls/${tail[0]?.call_id}`, { as: agent.token }));
    expect(page).toMatchObject({ decision: "permit", outcome: "result", reason: null, settlement: "posted", usage: { calls: 1 } });
    expect(page.budgets).toMatchObject([{ budget: "each-own", held: 1, posted: 1 }, { budget: "shared-tokens" }]);
    expect((page.receipt as Json).usage_event).toMatch(/^sha256:/);
  });

  test("another's call, one that never was, a record's number and nonsense are told in the same bytes", async () => {
    const other = await newcomer("other", "support");
    const { callId } = await call(other.token, "search", { query: "x", limit: 101 });
    const texts = await Promise.all(
      [callId, `${String(callId).slice(0, -1)}0`, "1", "call_x", "-"].map(async (id) => {
        const answer = await ask(`/calls/${id}`);
        expect(answer.status).toBe(404);
        return (await answer.text()).replaceAll(/call_[0-9a-z]{26}/g, "");
      }),
    );
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toContain("call_unknown");
  });
});

describe("/v1/me/access-requests", () => {
  test("a request waits for a person, shows to its agent only, and is recorded without the agent's words", async () => {
    const agent = await newcomer("wanting", "support");
    const made = await json(
      ask("/access-requests", { body: { tool: "secret/vault", reason: "hunter2 please", duration: "8h" }, as: agent.token }),
      201,
    );
    expect(made).toMatchObject({ id: expect.stringMatching(/^req_/), tool: "secret/vault", state: "pending", decided_at: null });
    expect(Date.parse(made.until as string) - Date.parse(made.created_at as string)).toBe(8 * 3_600_000);
    expect(await json(ask("/access-requests", { as: agent.token }))).toEqual({ items: [made] });
    expect(await json(ask("/access-requests"))).toEqual({ items: [] });
    const tail = await gateway.json<Json[]>("audit", "tail", "--limit", "1");
    expect(tail[0]).toMatchObject({
      kind: "access_request.created",
      administrator: agent.id,
      details: { asked: "secret/vault", agent_id: agent.id },
    });
    expect(JSON.stringify(tail)).not.toContain("hunter2");
    // Nothing is permitted by asking.
    expect((await json<Verdict>(ask("/check", { body: { tool: "secret/vault" }, as: agent.token }))).reason).toBe("server_unknown");
  });

  test("an agent has twenty undecided at most", async () => {
    const agent = await newcomer("greedy", "support");
    const body = { tool: "secret/vault", reason: "more" };
    for (let i = 0; i < 20; i++) await json(ask("/access-requests", { body, as: agent.token }), 201);
    expect(await json(ask("/access-requests", { body, as: agent.token }), 429)).toMatchObject({
      reason: "access_requests_full",
      limit: 20,
    });
  });
});
