/** External guards through the front door: real guard servers, real MCP servers, a real gateway. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminAt } from "../../src/cli/admin-client.ts";
import { FORBIDDEN_WORD, GUARD_REASON, type Guard, MISBEHAVIOURS, startGuard } from "../fixtures/guard.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Door, type Handler, openDoor } from "../fixtures/listener.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";

const EVERYTHING = new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url).pathname;
const BEARER = "canary-guard-bearer";

type Line = { inspector: string; of: string; verdict: string; code: string | null; digest: string | null };
type Row = {
  call_id: string;
  kind: string;
  decision: string;
  reason: string | null;
  note: string | null;
  outcome: string | null;
  settlement: string | null;
  usage: { calls: number } | null;
  inspections: Line[];
  shadow: { mode: string; decision: string; reason: string | null } | null;
};
type Answer = {
  result?: { content: { text: string }[]; isError?: boolean };
  error?: { code: number; data: Record<string, unknown> };
};

let guard: Guard;
let up: Upstream;
let quiet: Upstream;
let raw: Door;
let gateway: GatewayProcess;
let agent: Credentials;
const tokens = new Map<string, string>();

const servers = () => `  up: { url: "${up.mcpUrl}" }
  quiet: { url: "${quiet.mcpUrl}" }
  raw: { url: "${raw.url}/mcp" }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }
${MISBEHAVIOURS.map((name) => `  m-${name}: { url: "${quiet.mcpUrl}" }\n  u-${name}: { url: "${up.mcpUrl}" }`).join("\n")}`;

const inspectors = () => `inspectors:
  words: { url: "${guard.guardUrl("words")}", bearer: env:GUARD_BEARER, timeout: 10s, onFailure: refuse }
  others: { url: "${guard.guardUrl("others")}", timeout: 10s, onFailure: refuse }
  odd: { url: "${guard.guardUrl("odd-code")}", timeout: 10s, onFailure: refuse }
  held: { url: "${guard.guardUrl("held")}", timeout: 20s, onFailure: unsafeAllow, concurrent: 1 }
  full: { url: "${guard.guardUrl("held")}", timeout: 20s, onFailure: refuse, concurrent: 1 }
  pdp: { type: authzen, url: "${guard.guardUrl("pdp")}", timeout: 10s, onFailure: refuse }
${MISBEHAVIOURS.flatMap((name) =>
  ["refuse", "unsafeAllow"].map(
    (mode) =>
      `  ${mode === "refuse" ? "m" : "u"}-${name}: { url: "${guard.guardUrl(name)}", timeout: ${name === "hang" ? "300ms" : "10s"}, onFailure: ${mode} }`,
  ),
).join("\n")}`;

const POLICIES = () => `apiVersion: tollgate/v1
entitlements:
  - { name: watched, permit: ["up/*", "child/*", "prompt:up/*", "resource:up/*"], inspect: [words] }
  - { name: answers, permit: ["raw/*"], inspect: [{ by: words, of: [result] }] }
  - { name: unspoken, permit: ["quiet/echo"], inspect: [{ by: words, of: [arguments] }] }
  - { name: decided, permit: ["quiet/add"], inspect: [pdp] }
  - { name: several, permit: ["quiet/search"], inspect: [odd, others, { by: words, of: [arguments] }] }
  - { name: waits, permit: ["quiet/slow"], inspect: [{ by: held, of: [arguments] }] }
  - { name: crowded, permit: ["quiet/fail"], inspect: [{ by: full, of: [arguments] }] }
${MISBEHAVIOURS.flatMap((name) => ["m", "u"].map((kind) => `  - { name: ${kind}-${name}, permit: ["${kind}-${name}/*"], inspect: [{ by: ${kind}-${name}, of: [arguments] }] }`)).join("\n")}
budgets:
  - { name: calls, meter: calls, limit: 10000, period: total }
`;

const setup = (more: string) => ({
  servers: servers(),
  policies: POLICIES(),
  more: `${inspectors()}\n${more}`,
  env: { GUARD_BEARER: BEARER },
});

beforeAll(async () => {
  [guard, up, quiet, raw] = await Promise.all([startGuard(), startHttpUpstream(), startHttpUpstream(), openDoor(answerRaw)]);
  gateway = await GatewayProcess.start(setup(""));
  agent = await gateway.createAgent("bot");
  for (const server of ["up", "quiet", "raw", "child", ""]) tokens.set(server, await gateway.accessToken(agent, server));
}, 120_000);

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await Promise.all([up?.close(), quiet?.close(), raw?.close(), guard?.close()]);
});

async function call(server: string, name: string, args: object, send = modernRequest): Promise<Answer & { text: string; status: number }> {
  const url = `${gateway.publicUrl}/mcp${server === "" ? "" : `/${server}`}`;
  const answer = await send(url, tokens.get(server) ?? "", "tools/call", { name, arguments: args });
  const text = await answer.text();
  const data = [...text.matchAll(/^data: (.*)$/gm)].at(-1)?.[1];
  return { text, status: answer.status, ...(JSON.parse(text.startsWith("{") ? text : (data ?? "{}")) as Answer) };
}

/** The command line takes seconds on a busy machine, and asks the same. */
function adminOf({ adminUrl, folder }: GatewayProcess) {
  return adminAt(adminUrl, () => readFileSync(join(folder, "data", "admin.key"), "utf8").trim());
}

async function records(of = gateway): Promise<Row[]> {
  const { items } = await adminOf(of).get<{ items: Row[] }>("/audit/records?limit=1000");
  return items.filter(({ kind }) => kind === "call");
}

async function posted(): Promise<number> {
  const { items } = await adminOf(gateway).get<{ items: { committed: number; held: number }[] }>("/budgets");
  const [budget] = items;
  expect(budget?.held ?? 0).toBe(0);
  return budget?.committed ?? 0;
}

async function client(server: string, mode: "modern" | "legacy"): Promise<Client> {
  const versionNegotiation = mode === "modern" ? { mode: { pin: "2026-07-28" } } : { mode };
  const made = new Client({ name: "v2", version: "1" }, { versionNegotiation } as ConstructorParameters<typeof Client>[1]);
  const requestInit = { headers: { authorization: `Bearer ${tokens.get(server)}` } };
  await made.connect(new StreamableHTTPClientTransport(new URL(`${gateway.publicUrl}/mcp/${server}`), { requestInit }));
  return made;
}

test("arguments that a guard refuses reach nobody: not a byte to the server, and nothing is charged", async () => {
  const before = await posted();
  const refused = await call("quiet", "echo", { text: `a ${FORBIDDEN_WORD}` });
  expect([refused.status, refused.error]).toMatchObject([
    200,
    { code: 40304, data: { reason: "content_refused", code: "word", of: "arguments" } },
  ]);
  expect(refused.text).not.toContain(GUARD_REASON);
  expect(refused.text).not.toContain("words");
  expect(quiet.bytesReceived()).toBe(0);
  expect(await posted()).toBe(before);
  const row = (await records()).at(-1);
  expect(row).toMatchObject({ decision: "refuse", reason: "content_refused", note: `words refuses the arguments: ${GUARD_REASON}` });
  expect(row?.inspections).toMatchObject([{ inspector: "words", of: "arguments", verdict: "refuse", code: "word" }]);
  expect(row?.inspections[0]?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect((await gateway.command("why", row?.call_id ?? "")).stdout).toContain("Guard words refused the arguments (word)");
});

test("a guard is asked with the bytes as they came, who asks, and for what; its credential is its own", async () => {
  const body = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"n","big":9007199254740993, "exp":1.50e2}}}`;
  const headers = {
    authorization: `Bearer ${tokens.get("up")}`,
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
  };
  const answer = await fetch(`${gateway.publicUrl}/mcp/up`, { method: "POST", headers, body });
  expect(await answer.text()).toContain('"n"');
  const [about, result] = guard.asked("words").slice(-2);
  expect(about).toContain('"arguments":{"text":"n","big":9007199254740993, "exp":1.50e2}');
  const asked = JSON.parse(about ?? "") as Record<string, unknown>;
  expect(asked).toMatchObject({
    version: 1,
    inspect: "arguments",
    agent: {
      id: agent.id,
      name: "bot",
      team: "support",
      customer: "default",
      workflow: null,
      owner: "owner@example.com",
      purpose: "testing",
    },
    server: "up",
    method: "tools/call",
    target: { kind: "tool", name: "echo" },
    rule: "watched",
  });
  expect(asked).not.toHaveProperty("subject");
  expect(JSON.parse(result ?? "")).toMatchObject({ inspect: "result", outcome: "result", result: { content: [{ type: "text" }] } });
  const { headers: sent } = guard.received.at(-1) ?? {};
  const [row] = (await records()).slice(-1);
  expect(sent).toMatchObject({ authorization: `Bearer ${BEARER}`, "x-request-id": row?.call_id, "accept-encoding": "identity" });
  expect(asked.call_id).toBe(row?.call_id);
  expect(guard.heard(tokens.get("up") ?? "none")).toBe(false);
});

describe.each([
  ["up", "modern", "echo", "text"],
  ["up", "legacy", "echo", "text"],
  ["child", "modern", "echo", "message"],
  ["child", "legacy", "echo", "message"],
] as const)("an SDK client of %s (%s)", (server, mode, tool, argument) => {
  test("is served where the guards allow, and refused where one does not", async () => {
    const made = await client(server, mode);
    const echoed = await made.callTool({ name: tool, arguments: { [argument]: "harmless" } });
    expect(JSON.stringify(echoed.content)).toContain("harmless");
    await expect(made.callTool({ name: tool, arguments: { [argument]: FORBIDDEN_WORD } })).rejects.toMatchObject({ code: 40304 });
    await made.close();
  });
});

describe.each([
  ["as JSON, 2026-07-28", modernRequest, "json", "result", 40304],
  ["as JSON, 2025-11-25", legacyRequest, "json", "result", 40304],
  ["as a stream of events, 2026-07-28", modernRequest, "stream", "result", 40304],
  ["as a stream of events, 2025-11-25", legacyRequest, "stream", "result", 40304],
  ["that is an error", modernRequest, "rpc-error", "protocol_error", 40304],
  ["that is an HTTP error of its server", modernRequest, "http-error", "http_error", 40304],
  ["that asks for input", modernRequest, "input", "input_required", 40304],
] as const)("a result %s", (_, send, name, outcome, code) => {
  test("that a guard refuses stays here; the call was made and is charged", async () => {
    const before = await posted();
    const heard = raw.received.length;
    const allowed = await call("raw", name, { say: "something else" }, send);
    expect(allowed.text).toContain("something else");
    const refused = await call("raw", name, { say: FORBIDDEN_WORD }, send);
    expect(refused.error).toMatchObject({ code, data: { reason: "content_refused", code: "word", of: "result" } });
    expect(refused.text).not.toContain(FORBIDDEN_WORD);
    // What is said on the way to the answer is not looked at.
    expect(refused.text.includes("notifications/progress")).toBe(name === "stream");
    expect(await posted()).toBe(before + 2);
    expect(raw.received.slice(heard).filter(({ body }) => body.includes("tools/call")).length).toBe(2);
    const row = (await records()).at(-1);
    expect(row).toMatchObject({ decision: "permit", reason: "content_refused", outcome, settlement: "posted" });
    expect(row?.inspections.map(({ of, verdict }) => [of, verdict])).toEqual([["result", "refuse"]]);
    expect(JSON.parse(guard.asked("words").at(-1) ?? "")).toMatchObject({ inspect: "result", outcome });
  });
});

test("prompts and resources are looked at as tools are", async () => {
  const url = `${gateway.publicUrl}/mcp/up`;
  const token = tokens.get("up") ?? "";
  const prompt = await modernRequest(url, token, "prompts/get", { name: "greet", arguments: { name: FORBIDDEN_WORD } });
  expect(((await prompt.json()) as Answer).error).toMatchObject({ code: 40304, data: { of: "arguments" } });
  const read = await modernRequest(url, token, "resources/read", { uri: "fixture://readme" });
  expect(await read.text()).toContain("read me first");
  expect(
    guard
      .asked("words")
      .slice(-2)
      .map((text) => JSON.parse(text) as object),
  ).toMatchObject([
    { inspect: "arguments", method: "resources/read", target: { kind: "resource", name: "fixture://readme" }, arguments: {} },
    { inspect: "result", result: { contents: [{ text: "read me first" }] } },
  ]);
  const argument = { name: "name", value: FORBIDDEN_WORD };
  const completion = await modernRequest(url, token, "completion/complete", { ref: { type: "ref/prompt", name: "greet" }, argument });
  expect(((await completion.json()) as Answer).error).toMatchObject({ code: 40304, data: { of: "arguments" } });
});

test("a decision point is asked in the words of AuthZEN", async () => {
  const before = quiet.executions.length;
  const allowed = await call("quiet", "add", { a: 1, b: 2 });
  expect(allowed.error).toBeUndefined();
  const refused = await call("quiet", "add", { a: 1, b: 2, note: FORBIDDEN_WORD });
  expect(refused.error).toMatchObject({ code: 40304, data: { reason: "content_refused", of: "arguments" } });
  expect(refused.error?.data).not.toHaveProperty("code");
  expect(quiet.executions.length).toBe(before + 1);
  const [first] = guard.asked("pdp");
  const row = (await records()).at(-1);
  expect(JSON.parse(first ?? "")).toEqual({
    subject: {
      type: "agent",
      id: agent.id,
      properties: {
        ...{ name: "bot", kind: "autonomous", team: "support", customer: "default", workflow: null },
        owner: "owner@example.com",
        purpose: "testing",
      },
    },
    action: { name: "tools/call" },
    resource: { type: "tool", id: "quiet/add", properties: { server: "quiet", name: "add", arguments: { a: 1, b: 2 } } },
    context: { call_id: expect.stringMatching(/^call_/), time: expect.stringMatching(/Z$/), rule: "decided" },
  });
  expect(row?.note).toBe("pdp refuses the arguments: policy C076");
  // It decides on requests: no question about a result.
  expect(guard.asked("pdp").length).toBe(2);
});

test("of several guards all are recorded, and the first that refuses in their written order is named", async () => {
  const refused = await call("quiet", "search", { query: FORBIDDEN_WORD });
  // What is no code is not passed on.
  expect(refused.error?.data).not.toHaveProperty("code");
  const row = (await records()).at(-1);
  expect(row?.note).toBe("odd refuses the arguments");
  expect(row?.inspections.map(({ inspector, verdict, code }) => [inspector, verdict, code])).toEqual([
    ["odd", "refuse", null],
    ["others", "refuse", "word"],
    ["words", "refuse", "word"],
  ]);
});

describe.each(MISBEHAVIOURS)("a guard that answers with %s", (name) => {
  test("has given no verdict: with onFailure: refuse nothing passes", async () => {
    const before = quiet.executions.length;
    const refused = await call("", `m-${name}__echo`, { text: "x" });
    expect(refused.error).toMatchObject({
      code: 40304,
      data: { reason: "content_refused", code: "inspector_unavailable", of: "arguments" },
    });
    expect(quiet.executions.length).toBe(before);
    expect((await records()).at(-1)?.inspections).toMatchObject([{ inspector: `m-${name}`, verdict: "failed", code: null }]);
  });

  test("has given no verdict: with onFailure: unsafeAllow the call passes, recorded as failed", async () => {
    const passed = await call("", `u-${name}__echo`, { text: "unseen" });
    expect(passed.result?.content[0]?.text).toBe("unseen");
    const row = (await records()).at(-1);
    expect(row).toMatchObject({ decision: "permit", reason: null, inspections: [{ inspector: `u-${name}`, verdict: "failed" }] });
  });
});

test("no redirect of a guard is followed", () => {
  expect(guard.asked("allow")).toEqual([]);
});

test("more than a guard is asked about is no verdict", async () => {
  const before = guard.received.length;
  const refused = await call("quiet", "echo", { text: "x".repeat(1_048_577) });
  expect(refused.error).toMatchObject({ code: 40304, data: { code: "inspector_unavailable" } });
  expect(guard.received.length).toBe(before);
});

test("one question more than a guard takes at once is no verdict", async () => {
  const before = guard.asked("held").length;
  const first = call("quiet", "fail", {});
  await until(() => guard.asked("held").length > before);
  const second = await call("quiet", "fail", {});
  expect(second.error).toMatchObject({ code: 40304, data: { code: "inspector_unavailable" } });
  guard.letGo();
  expect((await first).result?.isError).toBe(true);
});

test("a client that leaves while a guard is asked gives its hold back, and nothing is sent, whatever the failure mode", async () => {
  const charged = await posted();
  const [asked, ran] = [guard.asked("held").length, quiet.executions.length];
  const leaving = new AbortController();
  const body = { name: "slow", arguments: { ms: 1 } };
  const left = leave(`${gateway.publicUrl}/mcp/quiet`, tokens.get("quiet") ?? "", body, leaving.signal);
  await until(() => guard.asked("held").length > asked);
  leaving.abort();
  expect(await left).toBe("left");
  await until(async () => (await records()).at(-1)?.reason === "request_timeout");
  // At once, and not when the guard's time is over.
  expect((await records()).at(-1)?.note).toBe("the client left while guards were asked");
  expect(await posted()).toBe(charged);
  expect(quiet.executions.length).toBe(ran);
  guard.letGo();
});

test("neither the log nor any record holds a secret, an argument or a guard's credential", async () => {
  const all = JSON.stringify(await records()) + gateway.output;
  expect(all).toContain("a guard gave no verdict");
  for (const canary of [BEARER, FORBIDDEN_WORD, "9007199254740993"]) expect(all, canary).not.toContain(canary);
  expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
  const metrics = await (await fetch(`${gateway.probesUrl}/metrics`)).text();
  expect(metrics).toMatch(/tollgate_inspections_total\{of="arguments",verdict="failed"\} [1-9]/);
  expect(metrics).toMatch(/tollgate_inspection_duration_seconds_count\{of="result",verdict="refuse"\} [1-9]/);
});

describe.each(["http", "toolResult"])("refusals: %s", (mode) => {
  test("a guard's no is told in its form, before the call and after it", async () => {
    const other = await GatewayProcess.start(setup(`refusals: ${mode}`));
    try {
      const bot = await other.createAgent("bot");
      const accessToken = await other.accessToken(bot, "");
      const ask = (name: string, args: object) =>
        modernRequest(`${other.publicUrl}/mcp`, accessToken, "tools/call", { name, arguments: args });
      for (const [of, answer] of [
        ["arguments", await ask("up__echo", { text: FORBIDDEN_WORD })],
        ["result", await ask("raw__json", { say: FORBIDDEN_WORD })],
      ] as const) {
        const { result, error } = (await answer.json()) as Answer;
        expect(answer.status).toBe(mode === "http" ? 403 : 200);
        if (mode === "http") expect(error).toMatchObject({ code: 40304, data: { of, code: "word" } });
        else expect(result?.content[0]?.text).toContain(`A guard does not let this content pass (the ${of}, code word).`);
      }
    } finally {
      await other.stop();
    }
  });
});

test("in observe mode guards are asked and recorded, and refuse nothing", async () => {
  const other = await GatewayProcess.start(setup("mode: observe"));
  try {
    const bot = await other.createAgent("bot");
    const accessToken = await other.accessToken(bot, "up");
    const answer = await modernRequest(`${other.publicUrl}/mcp/up`, accessToken, "tools/call", {
      name: "echo",
      arguments: { text: FORBIDDEN_WORD },
    });
    expect(await answer.text()).toContain(FORBIDDEN_WORD);
    const row = (await records(other)).at(-1);
    expect(row).toMatchObject({
      decision: "permit",
      reason: null,
      shadow: { mode: "observe", decision: "refuse", reason: "content_refused" },
      inspections: [
        { of: "arguments", verdict: "refuse" },
        { of: "result", verdict: "refuse" },
      ],
    });
  } finally {
    await other.stop();
  }
});

/** A server in a few lines: the tool's name says how it answers, `say` what. */
function answerRaw(...[, res, body]: Parameters<Handler>): void {
  const { id, method, params } = JSON.parse(body.toString()) as {
    id: number;
    method: string;
    params: { name: string; arguments: { say: string } };
  };
  const cached = { resultType: "complete", ttlMs: 0, cacheScope: "private" };
  const say = (payload: object, status = 200) =>
    res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", id, ...payload }));
  if (method === "server/discover")
    return void say({ result: { ...cached, supportedVersions: ["2026-07-28"], capabilities: { tools: {} } } });
  const names = ["json", "stream", "rpc-error", "http-error", "input"];
  if (method === "tools/list")
    return void say({ result: { ...cached, tools: names.map((name) => ({ name, inputSchema: { type: "object" } })) } });
  const text = params.arguments.say;
  const result = { resultType: "complete", content: [{ type: "text", text }] };
  if (params.name === "rpc-error") return void say({ error: { code: -32000, message: text } });
  if (params.name === "http-error") return void say({ error: { code: -32000, message: text } }, 400);
  if (params.name === "input")
    return void say({
      result: {
        resultType: "input_required",
        inputRequests: { ask: { method: "elicitation/create", params: { mode: "form", message: text } } },
        requestState: "s",
      },
    });
  if (params.name === "json") return void say({ result });
  const event = (message: object) => `data: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`;
  const progress = event({ method: "notifications/progress", params: { progressToken: 1, progress: 1 } });
  res.writeHead(200, { "content-type": "text/event-stream" }).end(progress + event({ id, result }));
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await holds()); i++) {
    if (i > 400) throw new Error("it never came to pass");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** `modernRequest` whose client goes away. */
async function leave(url: string, accessToken: string, params: { name: string; arguments: object }, signal: AbortSignal): Promise<string> {
  const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": params.name,
    authorization: `Bearer ${accessToken}`,
  };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { ...params, _meta } });
  return await fetch(url, { method: "POST", headers, body, signal }).then(
    ({ status }) => String(status),
    () => "left",
  );
}
