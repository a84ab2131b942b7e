import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*", "resource:*/*", "prompt:*/*"] }
  - { name: nobody-deletes, forbid: ["*/delete_*"] }
limits:
  - { name: hourly, who: { team: hourly }, each: agent, rate: [10/s, 3/h], burst: 2 }
  - { name: twice, who: { team: twice }, each: agent, rate: 2/h }
  - { name: other-tool, who: { team: twice }, tools: ["up/add"], rate: 1/h }
  - { name: one-place, who: { team: placed }, each: agent, concurrent: 1 }
  - { name: patient, who: { team: patient }, each: agent, concurrent: 1, wait: 20s }
  - { name: lists, who: { team: lister }, tools: ["method:*/tools/list", "method:*/ping", "method:*/server/discover"], rate: 1/h }
  - { name: hearing, who: { team: hearing }, each: agent, tools: ["method:*/subscriptions/listen"], concurrent: 1 }
  - { name: circle, who: { team: circling }, loop: { calls: 3, within: 1h } }
  - { name: spiral, who: { team: spiralling }, each: instance, loop: { calls: 3, within: 1h, action: suspend } }
  - { name: storm, who: { team: storming }, rate: 1/h }
`;

type Answer = {
  id: unknown;
  result?: { isError?: boolean; content: { text: string }[] };
  error?: { code: number; message: string; data: Record<string, unknown> };
};
type Stored = {
  kind: string;
  reason: string | null;
  outcome: string | null;
  shadow: { reason: string } | null;
  details: Record<string, unknown> | null;
  agent: { name: string } | null;
};

const META = '{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}';

let upstream: Upstream;

/** A gateway with what a test asks of it: a process of its own, or where that is not what is asked about, one in this process. */
async function open(more = "", where: "process" | "here" = "here") {
  const gateway = await GatewayProcess.prepare({
    policies: POLICIES,
    more: `${more}\nviews: { some: { tools: ["up/*"] } }`,
    servers: `  up: { url: "${upstream.mcpUrl}" }\n  down: { url: "http://127.0.0.1:9/mcp" }`,
  });
  const here = where === "here" ? await startGateway({ configFile: gateway.configFile, env: {}, log: createLog("silent") }) : null;
  if (here === null) await gateway.serve();
  const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const admin = async (method: string, path: string, body?: object) =>
    (await fetch(`${gateway.adminUrl}/api/v1${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body) })).json();
  const agent = async (name: string, team: string) =>
    (await admin("POST", "/agents", { name, team, owner: "o@example.com", purpose: "testing" })) as Credentials;
  return {
    gateway,
    reload: async () => here?.reload(),
    admin,
    stop: () => (here === null ? gateway.stop() : here.close()),
    agent,
    async caller(name: string, team = name, server = "up") {
      const accessToken = await gateway.accessToken(await agent(name, team), server);
      return caller(gateway, accessToken, server);
    },
    records: async (of: string) => {
      const { items } = (await admin("GET", "/audit/records?limit=1000")) as { items: Stored[] };
      return items.filter(({ agent: by, details }) => by?.name === of || details?.agent === of);
    },
    metrics: async () => (await fetch(`${gateway.probesUrl}/metrics`)).text(),
  };
}

function caller(gateway: GatewayProcess, accessToken: string, server: string) {
  const url = `${gateway.publicUrl}/mcp${server === "" ? "" : `/${server}`}`;
  /** `args` as a text: as it is. */
  const raw = (tool: string, args: object | string, signal: AbortSignal | null = null, further: Record<string, string> = {}) => {
    const written = typeof args === "string" ? args : JSON.stringify(args);
    const params = `{"name":${JSON.stringify(tool)},"arguments":${written},"_meta":${META}}`;
    return fetch(url, {
      ...{ method: "POST", signal },
      headers: {
        ...{ "content-type": "application/json", accept: "application/json, text/event-stream", authorization: `Bearer ${accessToken}` },
        ...{ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": tool },
        ...further,
      },
      body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`,
    });
  };
  const call = async (tool = "echo", args: object = { text: "x" }) => (await (await raw(tool, args)).json()) as Answer;
  return {
    accessToken,
    url,
    raw,
    call,
    /** What the tool said, or why it was refused. */
    async reason(tool = "echo", args: object = { text: "x" }) {
      const { error, result } = await call(tool, args);
      return error === undefined ? (result?.content[0]?.text ?? "") : String(error.data.reason);
    },
  };
}

async function instanceToken(gateway: GatewayProcess, { client_id, client_secret }: Credentials, instance: string): Promise<string> {
  const basic = Buffer.from(`${client_id}:${client_secret}`).toString("base64");
  const answer = await fetch(`${gateway.publicUrl}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource: `${gateway.publicUrl}/mcp/up`, instance }),
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  let held = await holds();
  for (let i = 0; i < 1_000 && !held; i++) {
    await sleep(10);
    held = await holds();
  }
  expect(held).toBe(true);
}

beforeAll(async () => {
  upstream = await startHttpUpstream();
});
afterAll(() => upstream?.close());

describe("refusals: jsonrpc", () => {
  let stage: Awaited<ReturnType<typeof open>>;
  beforeAll(async () => {
    stage = await open("", "process");
  });
  afterAll(() => stage?.stop());

  test("a burst passes, the next call is refused with the limit's name and when to come again, and is recorded", async () => {
    const { call, reason } = await stage.caller("hourly");
    expect([await reason(), await reason()]).toEqual(["x", "x"]);
    const refused = (await Promise.all([1, 2, 3, 4].map(() => call()))).flatMap(({ error }) => error ?? []);
    expect(refused.length).toBeGreaterThanOrEqual(3);
    const retry = expect.any(Number);
    expect(refused[0]).toMatchObject({ code: 42901, data: { reason: "rate_limited", limit_name: "hourly", retry_after_ms: retry } });
    const records = await stage.records("hourly");
    expect(records.filter((record) => record.reason === "rate_limited")).toHaveLength(refused.length);
  });

  test("an SDK client hears a typed error, and a handshake is never limited", async () => {
    const { accessToken, url, reason } = await stage.caller("twice-sdk", "twice");
    for (let i = 0; i < 4; i++) await reason();
    const client = new Client({ name: "c", version: "1" }, { versionNegotiation: { mode: "auto" } } as never);
    await client.connect(
      new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization: `Bearer ${accessToken}` } } }),
    );
    await expect(client.callTool({ name: "echo", arguments: { text: "x" } })).rejects.toMatchObject({ code: 42901 });
    expect((await client.listTools()).tools.length).toBeGreaterThan(3);
    await client.close();
  });

  test("views and servers share a counter, and so does every session, instance of a request and spelling of the call", async () => {
    const made = await stage.agent("everywhere", "twice");
    const [up, all, some] = await Promise.all(
      ["up", "", "some"].map(async (server) => caller(stage.gateway, await stage.gateway.accessToken(made, server), server)),
    );
    expect(await up?.reason()).toBe("x");
    expect(await all?.reason("up__echo")).toBe("x");
    expect(await some?.reason("up__echo")).toBe("rate_limited");
    expect(await all?.reason("up__echo", { text: "y" })).toBe("rate_limited");
    expect(await up?.reason("ECHO")).toBe("rate_limited");
    const legacy = await legacyRequest(up?.url ?? "", up?.accessToken ?? "", "tools/call", { name: "echo", arguments: { text: "x" } });
    expect(((await legacy.json()) as Answer).error?.code).toBe(42901);
    // Another token of the same agent is no other agent.
    const again = caller(stage.gateway, await stage.gateway.accessToken(made, "up"), "up");
    expect(await again.reason()).toBe("rate_limited");
  });

  test("a call that one limit refuses draws from none, and what is refused before draws nothing", async () => {
    const { call, reason } = await stage.caller("careful", "twice");
    expect(await reason("add", { a: 1, b: 2 })).toContain("3");
    for (let i = 0; i < 3; i++) expect((await call("add", { a: 1, b: 2 })).error?.data.limit_name).toBe("other-tool");
    expect(await reason("delete_everything")).toBe("tool_unknown");
    expect(await reason()).toBe("x");
    expect(await reason()).toBe("rate_limited");
  });

  test("a place is free again after a result, an error of the server, an unreachable server and a client that left", async () => {
    const made = await stage.agent("placed", "placed");
    const [up, down] = await Promise.all(
      ["up", "down"].map(async (server) => caller(stage.gateway, await stage.gateway.accessToken(made, server), server)),
    );
    if (up === undefined || down === undefined) throw new Error("no callers");
    const client = new AbortController();
    const slow = up.raw("slow", { ms: 30_000, nonce: "holding" }, client.signal).catch(() => null);
    await until(() => upstream.executions.some(({ id }) => id === "holding"));
    expect((await up.call()).error).toMatchObject({ code: 42902, data: { limit_name: "one-place", limit: 1 } });
    client.abort();
    await slow;
    await until(async () => (await up.reason()) === "x");
    for (const [tool, args, said] of [
      ["fail", {}, "this tool always fails"],
      ["echo", {}, "Invalid arguments"],
      ["echo", { text: "y" }, "y"],
    ] as const)
      expect(JSON.stringify(await up.call(tool, args))).toContain(said);
    expect(await down.reason()).toBe("upstream_unreachable");
    expect(await up.reason()).toBe("x");
  });

  test("who waits passes when the place is free; a client that leaves the line is not called", async () => {
    const { raw, reason } = await stage.caller("patient");
    const [inFront, client] = [new AbortController(), new AbortController()];
    const first = raw("slow", { ms: 30_000, nonce: "first" }, inFront.signal).catch(() => null);
    await until(() => upstream.executions.some(({ id }) => id === "first"));
    const leaving = raw("echo", { text: "x", nonce: "left-the-line" }, client.signal).catch(() => null);
    const waiting = reason("echo", { text: "waited" });
    await until(async () => /tollgate_calls_waiting 2/.test(await stage.metrics()));
    client.abort();
    await leaving;
    await until(async () => /tollgate_calls_waiting 1/.test(await stage.metrics()));
    inFront.abort();
    await first;
    expect(await waiting).toBe("waited");
    expect(upstream.executions.some(({ id }) => id === "left-the-line")).toBe(false);
    expect(await stage.metrics()).toMatch(/tollgate_limit_wait_seconds_count\{passed="true"\} [1-9]/);
    expect((await stage.records("patient")).map((record) => record.reason)).toContain("request_timeout");
  });

  test("an agent that is suspended while it waits is refused when its turn comes", async () => {
    const made = await stage.agent("waits-in-vain", "patient");
    const { call, raw } = caller(stage.gateway, await stage.gateway.accessToken(made, "up"), "up");
    const client = new AbortController();
    const first = raw("slow", { ms: 30_000, nonce: "ahead" }, client.signal).catch(() => null);
    await until(() => upstream.executions.some(({ id }) => id === "ahead"));
    const waiting = call("echo", { text: "x", nonce: "in-vain" });
    await until(async () => /tollgate_calls_waiting 1/.test(await stage.metrics()));
    await stage.admin("POST", `/agents/${made.id}/suspend`, {});
    client.abort();
    await first;
    expect((await waiting).error?.code).toBe(40310);
    expect(upstream.executions.some(({ id }) => id === "in-vain")).toBe(false);
  });

  test("lists count only where a pattern names them, and what a client needs to connect is never refused", async () => {
    const { url, accessToken } = await stage.caller("lister");
    const list = async () => ((await (await modernRequest(url, accessToken, "tools/list")).json()) as Answer).error?.code;
    expect([await list(), await list()]).toEqual([undefined, 42901]);
    for (const method of ["prompts/list", "server/discover", "server/discover"])
      expect(await (await modernRequest(url, accessToken, method)).text()).not.toContain("rate_limited");
    const hello = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "x", version: "1" } };
    for (let i = 0; i < 3; i++) expect((await legacyRequest(url, accessToken, "initialize", hello)).status).toBe(200);
    for (let i = 0; i < 3; i++) expect((await legacyRequest(url, accessToken, "ping")).status).toBe(200);
  });

  test("open subscriptions have their places where a pattern names them, and leave calls alone", async () => {
    const { url, accessToken, reason } = await stage.caller("hearing");
    const listen = () => modernRequest(url, accessToken, "subscriptions/listen", { notifications: { toolsListChanged: true } });
    const open = await listen();
    expect(open.headers.get("content-type")).toContain("text/event-stream");
    expect(await (await listen()).text()).toContain('"limit_name":"hearing"');
    expect(await reason()).toBe("x");
    await open.body?.cancel();
    await until(async () => {
      const again = await listen();
      const isOpen = again.headers.get("content-type")?.includes("text/event-stream") === true;
      await again.body?.cancel();
      return isOpen;
    });
  });

  test("a retry by its key is no repetition and no call under way, however often it comes", async () => {
    for (const team of ["spiralling", "placed"]) {
      const retrying = await stage.caller(`retrying-${team}`, team);
      const again = async () => (await (await retrying.raw("slow", { ms: 400 }, null, { "idempotency-key": "k" })).json()) as Answer;
      const first = again();
      await sleep(150);
      const retries = [];
      for (let i = 0; i < 6; i++) retries.push((await again()).error?.data.reason);
      expect((await first).error).toBeUndefined();
      for (let i = 0; i < 6; i++) retries.push((await again()).error?.data.reason);
      expect(new Set(retries)).toEqual(new Set(["idempotency_in_flight", "idempotency_settled"]));
    }
  });

  test("a loop is broken whatever the spelling of its arguments, told once, and other calls go on", async () => {
    const { reason, call, raw } = await stage.caller("circling");
    expect(await reason("add", { a: 1, b: 2 })).toContain("3");
    expect(await reason("add", { b: 2, a: 1 })).toContain("3");
    expect(await (await raw("add", '{ "a": 1.0,\n "b": 2e0 }')).text()).toContain("sum");
    const { error } = await call("add", { a: 1, b: 2 });
    expect(error).toMatchObject({ code: 42903, data: { limit_name: "circle", retry_after_ms: 3_600_000 } });
    expect(await reason("add", { b: 2, a: 1 })).toBe("loop_detected");
    expect(await reason("add", { a: 1, b: 3 })).toContain("4");
    const acts = (await stage.records("circling")).filter(({ kind }) => kind === "limit.loop_detected");
    expect(acts.map(({ details }) => details)).toMatchObject([
      { limit: "circle", tool: "up/add", calls: 3, action: "refuse", enforced: true, customer: "default" },
    ]);
  });

  test("action: suspend stops the agent until somebody reinstates it", async () => {
    // Each call from another instance: to the limit's counters somebody else, and the same caller all the same.
    const made = await stage.agent("spiralling", "spiralling");
    const [one, two] = await Promise.all(
      ["one", "two"].map(async (instance) => caller(stage.gateway, await instanceToken(stage.gateway, made, instance), "up")),
    );
    if (one === undefined || two === undefined) throw new Error("no callers");
    for (const { reason } of [one, two, one]) expect(await reason()).toBe("x");
    const { reason } = two;
    expect([await reason(), await reason("echo", { text: "other" })]).toEqual(["loop_detected", "agent_suspended"]);
    const kinds = (await stage.records("spiralling")).map(({ kind }) => kind).filter((kind) => kind !== "call");
    expect(kinds.slice(-2)).toEqual(["limit.loop_detected", "agent.suspended"]);
  });

  test("every refusal of a storm is recorded, and another agent's calls go on meanwhile", async () => {
    const [stormy, quiet] = [await stage.caller("stormy", "storming"), await stage.caller("quiet", "calm")];
    const said = Promise.all(Array.from({ length: 150 }, () => stormy.reason()));
    expect(await quiet.reason()).toBe("x");
    expect((await said).filter((reason) => reason === "rate_limited")).toHaveLength(149);
    expect((await stage.records("stormy")).filter(({ reason }) => reason === "rate_limited")).toHaveLength(149);
    expect(await stage.metrics()).toMatch(/tollgate_refusals_total\{reason="rate_limited"\} [0-9]+/);
  });

  test("a gateway that drains lets nobody wait", async () => {
    const { call, raw } = await stage.caller("last", "patient");
    const client = new AbortController();
    const first = raw("slow", { ms: 30_000, nonce: "last-one" }, client.signal).catch(() => null);
    await until(() => upstream.executions.some(({ id }) => id === "last-one"));
    const waiting = call();
    await until(async () => /tollgate_calls_waiting 1/.test(await stage.metrics()));
    const stopped = stage.stop();
    expect((await waiting).error?.data.reason).toBe("overloaded");
    client.abort();
    await first;
    expect(await stopped).toBe(0);
  });
});

test("refusals: http says 429 with the RateLimit fields of the limit that says no", async () => {
  const http = await open("refusals: http");
  const { raw } = await http.caller("hourly");
  const answers = [];
  // Three an hour: the fourth that passes the first rate is refused, however long each of them takes.
  for (let i = 0; i < 6; i++) answers.push(await raw("echo", { text: "x" }));
  expect(answers.slice(0, 2).map(({ status }) => status)).toEqual([200, 200]);
  expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(3);
  const refused = answers[5];
  expect(refused?.status).toBe(429);
  expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(refused?.headers.get("ratelimit-policy")).toBe('"hourly:10/s";q=10;w=1;burst=2, "hourly:3/h";q=3;w=3600');
  expect(refused?.headers.get("ratelimit")).toMatch(/^"hourly:10\/s";r=[0-2];t=1, "hourly:3\/h";r=[01];t=[0-9]+$/);
  await http.stop();
});

test("mode: observe refuses nothing and records what it would have refused", async () => {
  const stage = await open("mode: observe");
  const { reason } = await stage.caller("twice");
  for (let i = 0; i < 4; i++) expect(await reason()).toBe("x");
  const calls = (await stage.records("twice")).filter(({ kind }) => kind === "call");
  expect(calls.map(({ reason: said, shadow }) => [said, shadow?.reason ?? null])).toEqual([
    [null, null],
    [null, null],
    [null, "rate_limited"],
    [null, "rate_limited"],
  ]);
  const looping = await stage.caller("spiralling");
  for (let i = 0; i < 5; i++) expect(await looping.reason()).toBe("x");
  const acts = (await stage.records("spiralling")).filter(({ kind }) => kind === "limit.loop_detected");
  expect(acts.map(({ details }) => details?.enforced)).toEqual([false]);
  await stage.stop();
});

test("a reload puts other limits in force on what has been counted", async () => {
  const stage = await open();
  const { reason } = await stage.caller("twice");
  for (let i = 0; i < 2; i++) expect(await reason()).toBe("x");
  expect(await reason()).toBe("rate_limited");
  writeFileSync(join(stage.gateway.folder, "policies", "test.yaml"), POLICIES.replace("rate: 2/h }", "rate: 5/h }"));
  expect(await stage.reload()).toBe(true);
  // The bucket that was empty does not become full.
  expect(await reason()).toBe("rate_limited");
  writeFileSync(join(stage.gateway.folder, "policies", "test.yaml"), POLICIES.replace("- { name: twice,", "- { name: anew,"));
  expect(await stage.reload()).toBe(true);
  expect(await reason()).toBe("x");
  await stage.stop();
});
