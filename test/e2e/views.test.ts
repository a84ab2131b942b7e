/** Several servers as one: /mcp and /mcp/{view}, with servers of both eras and both transports behind them, and one that is dead. */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type LegacyUpstream, startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { type ModernUpstream, startModernUpstream } from "../fixtures/modern-upstream.ts";
import { startTasksUpstream, type TasksUpstream } from "../fixtures/tasks-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";

const EVERYTHING = new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url).pathname;

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: support-works
    who: { team: support }
    permit: ["both/*", "old/*", "new/*", "child/*", "dead/*", "paged/*", "jobs/*", "prompt:*/*", "resource:*/*"]
  - name: nobody-deletes
    forbid: ["*/delete_*"]
  - name: small-searches
    forbid: ["*/search"]
    when: has(args.limit) && args.limit > 100
  - name: sales-echo
    who: { team: sales }
    permit: ["both/echo"]
budgets:
  - { name: five, who: { team: sales }, meter: calls, limit: 5, period: total }
`;

const VIEWS = `views:
  desk: { tools: ["both/echo", "old/ec*", "new/*", "prompt:old/*"], rename: { new/echo: say, "prompt:old/greet": hello } }
  few: { tools: ["*/*"], max: 3 }
  pages: { tools: ["paged/*", "both/e*"] }
`;

let both: Upstream;
let old: LegacyUpstream;
let modern: ModernUpstream;
let paged: ModernUpstream;
let jobs: TasksUpstream;
let gateway: GatewayProcess;
let agent: Credentials;
let seller: Credentials;

beforeAll(async () => {
  [both, old, modern, jobs, paged] = await Promise.all([
    startHttpUpstream(),
    startLegacyUpstream(),
    startModernUpstream([["echo", "delete_all"]]),
    startTasksUpstream(),
    startModernUpstream([["one", "two"], ["three"], ["four"]]),
  ]);
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    more: VIEWS,
    servers: `  both: { url: "${both.mcpUrl}", credential: { bearer: env:BOTH_KEY } }
  old: { url: "${old.mcpUrl}", credential: { bearer: env:OLD_KEY } }
  new: { url: "${modern.mcpUrl}" }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }
  dead: { url: "http://127.0.0.1:9/mcp" }
  paged: { url: "${paged.mcpUrl}" }
  jobs: { url: "${jobs.mcpUrl}" }`,
    env: { BOTH_KEY: "canary-both-key", OLD_KEY: "canary-old-key" },
  });
  agent = await gateway.createAgent("bot");
  seller = await gateway.createAgent("seller", "sales");
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await Promise.all([both, old, modern, paged, jobs].map((each) => each?.close()));
});

const urlOf = (view: string) => `${gateway.publicUrl}/mcp${view === "" ? "" : `/${view}`}`;

async function v2(view: string, mode: "legacy" | "modern" | "auto", who = agent): Promise<Client> {
  const accessToken = await gateway.accessToken(who, view);
  const versionNegotiation = mode === "modern" ? { mode: { pin: "2026-07-28" } } : { mode };
  const client = new Client({ name: "v2", version: "1" }, { versionNegotiation } as ConstructorParameters<typeof Client>[1]);
  const requestInit = { headers: { authorization: `Bearer ${accessToken}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(urlOf(view)), { requestInit }));
  return client;
}

async function v1(view: string) {
  const accessToken = await gateway.accessToken(agent, view);
  const client = new ClientV1({ name: "v1", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${accessToken}` } };
  await client.connect(new TransportV1(new URL(urlOf(view)), { requestInit }) as never);
  return client;
}

type AnyClient = Pick<
  Client,
  "callTool" | "listTools" | "listPrompts" | "getPrompt" | "listResources" | "readResource" | "complete" | "close"
>;
type Content = { content: { text?: string }[] };
type Answer = {
  result?: Record<string, unknown> & { tools?: { name: string }[]; nextCursor?: string; _meta?: Record<string, unknown> };
  error?: { code: number; data?: { reason: string } };
};

async function ask(
  view: string,
  method: string,
  params: Record<string, unknown> = {},
  who = agent,
): Promise<{ status: number; text: string; json: Answer }> {
  const answer = await modernRequest(urlOf(view), await gateway.accessToken(who, view), method, params);
  const text = await answer.text();
  return { status: answer.status, text, json: JSON.parse(text.replace(/^event: message\ndata: /, "")) as Answer };
}

describe.each([
  ["SDK v1", () => v1("") as unknown as Promise<AnyClient>],
  ["SDK v2, 2025-11-25", () => v2("", "legacy")],
  ["SDK v2, 2026-07-28", () => v2("", "modern")],
  ["SDK v2, auto", () => v2("", "auto")],
])("at /mcp %s", (_, connect) => {
  let client: AnyClient;
  beforeAll(async () => {
    client = await connect();
  });
  afterAll(() => client?.close());

  test("sees what it may use of every living server, in the order of the configuration, and nothing else", async () => {
    const names: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await client.listTools(cursor === undefined ? undefined : { cursor });
      names.push(...page.tools.map(({ name }) => name));
      cursor = page.nextCursor;
      if (cursor === undefined) break;
    }
    expect(names.filter((name) => !/^(child|jobs)__/.test(name))).toEqual([
      ...["echo", "add", "big", "slow", "fail", "search"].map((name) => `both__${name}`),
      ...["echo", "add", "big", "slow", "fail", "search"].map((name) => `old__${name}`),
      "new__echo",
      "paged__one",
      "paged__two",
      "paged__three",
      "paged__four",
    ]);
    expect(names).toContain("child__echo");
  });

  test.each(["both", "old", "new", "child"])("calls a tool of %s, whatever era it speaks", async (server) => {
    const args = server === "child" ? { message: "hällo" } : { text: "hällo" };
    const result = (await client.callTool({ name: `${server}__echo`, arguments: args })) as Content;
    expect(JSON.stringify(result.content)).toContain("hällo");
  });

  test("gets prompts, reads resources of their owners and completes", async () => {
    const { prompts } = await client.listPrompts();
    expect(prompts.map(({ name }) => name)).toEqual(expect.arrayContaining(["both__greet", "old__greet"]));
    const greeting = await client.getPrompt({ name: "old__greet", arguments: { name: "Ada" } });
    expect(JSON.stringify(greeting)).toContain("Say hello to Ada.");
    const { resources } = await client.listResources();
    expect(resources.map(({ uri }) => uri)).toContain("fixture://readme");
    expect(JSON.stringify(await client.readResource({ uri: "fixture://readme" }))).toContain("read me first");
    expect(JSON.stringify(await client.readResource({ uri: "fixture://items/7" }))).toContain("item 7");
  });

  test("is refused what a rule forbids, and what no server has, as on a server's own route", async () => {
    await expect(client.callTool({ name: "both__delete_everything", arguments: {} })).rejects.toMatchObject({ code: -32602 });
    await expect(client.callTool({ name: "nothing__echo", arguments: {} })).rejects.toMatchObject({ code: -32602 });
    await expect(client.callTool({ name: "both__nothing", arguments: {} })).rejects.toMatchObject({ code: -32602 });
    await expect(client.callTool({ name: "old__search", arguments: { query: "x", limit: 101 } })).rejects.toMatchObject({ code: 40301 });
    await expect(client.callTool({ name: "dead__anything", arguments: {} })).rejects.toMatchObject({ code: 50201 });
    await expect(client.readResource({ uri: "fixture://nowhere" })).rejects.toThrow();
  });

  test("hears of progress on the way", async () => {
    const steps: number[] = [];
    const options = { onprogress: ({ progress }: { progress: number }) => void steps.push(progress) };
    const call = { name: "old__slow", arguments: { ms: 40, steps: 2 } };
    const result = await (client instanceof ClientV1
      ? (client as ClientV1).callTool(call, undefined, options)
      : (client as Client).callTool(call, options as never));
    expect(JSON.stringify(result)).toContain("waited 40 ms");
    expect(steps).toEqual([1, 2]);
  });
});

describe("a merged list", () => {
  test("names the server that is away, and is private", async () => {
    const { json } = await ask("", "tools/list");
    expect(json.result?._meta).toEqual({ "io.tollgate/unavailable": [{ server: "dead", reason: "upstream_unreachable" }] });
    expect(json.result).toMatchObject({ cacheScope: "private", resultType: "complete", ttlMs: 0 });
  });

  test("is the same bytes twice, and keeps what it does not know as it was", async () => {
    const [first, second] = [await ask("desk", "tools/list"), await ask("desk", "tools/list")];
    expect(first.text).toBe(second.text);
    expect(first.text).toContain('"big":9007199254740993');
    // Of two servers that say nothing of it and one that says a minute: nothing is known.
    expect(first.json.result).toMatchObject({ ttlMs: 0 });
    expect(first.json.result?._meta).toBeUndefined();
    expect((await ask("pages", "tools/list")).json.result?.tools?.map(({ name }) => name)).toEqual([
      "both__echo",
      "paged__one",
      "paged__two",
    ]);
  });

  test("gives a cursor that continues this list for this principal only", async () => {
    const cursor = (await ask("pages", "tools/list")).json.result?.nextCursor;
    const next = await ask("pages", "tools/list", { cursor });
    expect(next.json.result?.tools?.map(({ name }) => name)).toEqual(["paged__three"]);
    for (const [view, method, who] of [
      ["", "tools/list", agent],
      ["pages", "prompts/list", agent],
      ["", "tools/list", seller],
    ] as const) {
      expect((await ask(view, method, { cursor }, who)).json.error?.code).toBe(-32602);
    }
    expect((await ask("pages", "tools/list", { cursor: `${cursor}A` })).json.error?.code).toBe(-32602);
    expect((await ask("pages", "tools/list", { cursor: "1" })).json.error?.code).toBe(-32602);
  });
});

describe("a view", () => {
  test("shows its selection, under the names that it gives", async () => {
    const { json } = await ask("desk", "tools/list");
    expect(json.result?.tools?.map(({ name }) => name)).toEqual(["both__echo", "old__echo", "say"]);
    const prompts = (await ask("desk", "prompts/list")).json.result?.prompts as { name: string }[];
    expect(prompts.map(({ name }) => name)).toEqual(["hello"]);
  });

  test("answers to those names only", async () => {
    expect((await ask("desk", "tools/call", { name: "say", arguments: { n: 1 } })).text).toContain('{\\"n\\":1}');
    expect((await ask("desk", "prompts/get", { name: "hello", arguments: { name: "Ada" } })).text).toContain("Say hello to Ada.");
    for (const name of ["new__echo", "both__add", "child__echo", "say__echo", "__echo", "both__", "both_echo"]) {
      expect((await ask("desk", "tools/call", { name, arguments: {} })).json.error?.code, name).toBe(-32602);
    }
    expect((await ask("desk", "resources/read", { uri: "fixture://readme" })).json.error?.code).toBe(-32602);
  });

  test("with a limit shows so many tools, and what it does not show cannot be called", async () => {
    const { json } = await ask("few", "tools/list");
    expect(json.result?.tools?.map(({ name }) => name)).toEqual(["both__echo", "both__add", "both__big"]);
    expect(json.result?.nextCursor).toBeUndefined();
    expect((await ask("few", "tools/call", { name: "both__add", arguments: { a: 1, b: 2 } })).text).toContain("sum");
    const ran = both.executions.length;
    expect((await ask("few", "tools/call", { name: "both__search", arguments: { query: "x" } })).json.error?.code).toBe(-32602);
    expect((await ask("few", "tools/call", { name: "old__echo", arguments: { text: "x" } })).json.error?.code).toBe(-32602);
    expect(both.executions.length).toBe(ran);
  });

  test("does not exist for who may use nothing behind it, and has a token of its own", async () => {
    const stranger = await gateway.createAgent("stranger", "nobody");
    expect((await ask("desk", "tools/list", {}, stranger)).status).toBe(404);
    expect((await ask("", "server/discover", {}, stranger)).status).toBe(404);
    const forAll = await gateway.accessToken(agent, "");
    expect((await modernRequest(urlOf("desk"), forAll, "tools/list")).status).toBe(401);
    expect((await modernRequest(urlOf("both"), forAll, "tools/list")).status).toBe(401);
    const refused = await modernRequest(urlOf(""), null, "tools/list");
    expect(refused.headers.get("www-authenticate")).toContain(
      `resource_metadata="${gateway.publicUrl}/.well-known/oauth-protected-resource/mcp"`,
    );
  });

  test("says what it does not do: subscriptions, sessions, log levels", async () => {
    const subscription = await ask("", "subscriptions/listen", { notifications: { toolsListChanged: true } });
    expect([subscription.status, subscription.json.error?.code]).toEqual([404, -32601]);
    const authorization = `Bearer ${await gateway.accessToken(agent, "")}`;
    const stream = await fetch(urlOf(""), { headers: { authorization, accept: "text/event-stream" } });
    expect([stream.status, stream.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await fetch(urlOf(""), { method: "DELETE", headers: { authorization } })).status).toBe(405);
    const session = { authorization, "mcp-session-id": "stolen", accept: "text/event-stream" };
    expect((await fetch(urlOf(""), { headers: session })).status).toBe(404);
  });
});

describe("a call through a view", () => {
  test("that becomes a task is followed there by its principal, and by nobody else", async () => {
    const _meta = { "io.modelcontextprotocol/clientCapabilities": { extensions: { "io.modelcontextprotocol/tasks": {} } } };
    const made = await ask("", "tools/call", { name: "jobs__report", arguments: {}, _meta });
    const taskId = made.json.result?.taskId as string;
    expect(made.json.result).toMatchObject({ resultType: "task" });
    expect((await ask("", "tasks/get", { taskId, _meta })).json.result).toMatchObject({ taskId });
    const stranger = await ask("", "tasks/get", { taskId, _meta }, seller);
    const invented = await ask("", "tasks/get", { taskId: "invented", _meta }, seller);
    const masked = (text: string) => text.replace(/call_[0-9a-z]+/g, "call");
    expect(masked(stranger.text)).toBe(masked(invented.text));
    expect(stranger.json.error?.code).toBe(-32602);
  });

  test("is judged, held and recorded as one to its server", async () => {
    for (let i = 0; i < 5; i++) {
      expect((await ask(i % 2 === 0 ? "" : "desk", "tools/call", { name: "both__echo", arguments: { text: `${i}` } }, seller)).status).toBe(
        200,
      );
    }
    const sixth = await ask("", "tools/call", { name: "both__echo", arguments: { text: "6" } }, seller);
    expect(sixth.json.error).toMatchObject({ code: 42910 });
    const [record] = await gateway.json<object[]>("audit", "tail", "--limit", "1");
    expect(record).toMatchObject({ server: "both", target: { name: "echo" }, request: { view: "/mcp" }, reason: "budget_exhausted" });
  });

  test("shows each server its own credential and nobody the agent's", async () => {
    const accessToken = await gateway.accessToken(agent, "");
    await modernRequest(urlOf(""), accessToken, "tools/call", { name: "both__echo", arguments: { text: "x" } });
    await modernRequest(urlOf(""), accessToken, "tools/call", { name: "old__echo", arguments: { text: "x" } });
    for (const each of [both, old, modern, paged]) expect(each.heard(accessToken)).toBe(false);
    expect(both.heard("canary-both-key") && old.heard("canary-old-key")).toBe(true);
    expect(both.heard("canary-old-key") || old.heard("canary-both-key") || modern.heard("canary")).toBe(false);
  });

  test("reaches a server with sessions in a session of the gateway's own, also after the server forgot it", async () => {
    const call = () => ask("", "tools/call", { name: "old__echo", arguments: { text: "again" } });
    expect((await call()).text).toContain("again");
    const opened = old.sessions().length;
    expect((await call()).text).toContain("again");
    expect(old.sessions().length).toBe(opened);
    await old.forgetSessions();
    expect((await call()).text).toContain("again");
  });

  test("is cancelled at a server of the older era when a modern client leaves", async () => {
    const abort = new AbortController();
    const accessToken = await gateway.accessToken(agent, "");
    const pending = fetch(urlOf(""), {
      method: "POST",
      signal: abort.signal,
      headers: {
        authorization: `Bearer ${accessToken}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "old__slow",
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: {
          name: "old__slow",
          arguments: { ms: 20_000, nonce: "left-alone" },
          _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} },
        },
      }),
    }).catch(() => null);
    await expect.poll(() => old.executions.some((line) => JSON.stringify(line).includes("left-alone")), { timeout: 5_000 }).toBe(true);
    abort.abort();
    await pending;
    await expect.poll(() => old.cancelled.includes("left-alone"), { timeout: 5_000 }).toBe(true);
  });

  test("keeps apart what several clients ask under equal ids", async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        ask("", "tools/call", { name: i % 2 ? "old__echo" : "child__echo", arguments: { text: `n${i}.`, message: `n${i}.` } }),
      ),
    );
    for (const [i, { text }] of answers.entries()) expect(text).toContain(`n${i}.`);
  });
});
