import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type LegacyUpstream, startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";

const EVERYTHING = new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url).pathname;

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: support-works
    who: { team: support }
    permit: ["both/*", "old/*", "child/*", "prompt:*/*", "resource:*/*"]
  - name: nobody-deletes
    forbid: ["*/delete_*"]
  - name: small-searches
    forbid: ["*/search"]
    when: has(args.limit) && args.limit > 100
  - name: scoped
    who: { team: support }
    permit: ["guarded/*"]
    requires: [guarded.use]
budgets:
  - { name: tokens, who: { team: support }, meter: tool_tokens, limit: 1_000_000, period: month }
`;

let both: Upstream;
let old: LegacyUpstream;
let gateway: GatewayProcess;
let agent: Credentials;

beforeAll(async () => {
  both = await startHttpUpstream();
  old = await startLegacyUpstream();
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  both: { url: "${both.mcpUrl}", region: eu, credential: { header: { name: X-Api-Key, value: env:UPSTREAM_KEY } } }
  old: { url: "${old.mcpUrl}" }
  guarded: { url: "${both.mcpUrl}" }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }`,
    env: { UPSTREAM_KEY: "canary-upstream-key" },
  });
  agent = await gateway.createAgent("bot");
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await both?.close();
  await old?.close();
});

async function v2(server: string, mode: "legacy" | "modern" | "auto"): Promise<Client> {
  const accessToken = await gateway.accessToken(agent, server);
  const versionNegotiation = mode === "modern" ? { mode: { pin: "2026-07-28" } } : { mode };
  const client = new Client({ name: "v2", version: "1" }, { versionNegotiation } as ConstructorParameters<typeof Client>[1]);
  const requestInit = { headers: { authorization: `Bearer ${accessToken}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${gateway.publicUrl}/mcp/${server}`), { requestInit }));
  return client;
}

async function v1(server: string) {
  const accessToken = await gateway.accessToken(agent, server);
  const client = new ClientV1({ name: "v1", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${accessToken}` } };
  await client.connect(new TransportV1(new URL(`${gateway.publicUrl}/mcp/${server}`), { requestInit }) as never);
  const { callTool } = client;
  // In this SDK the options come third, behind a schema for the result.
  return Object.assign(client, { callTool: (params: never, options?: never) => callTool.call(client, params, undefined, options) });
}

type AnyClient = Pick<Client, "callTool" | "listTools" | "close">;

describe.each([
  ["SDK v1 in front of a server with sessions", () => v1("old") as unknown as Promise<AnyClient>],
  ["SDK v1 in front of a server of both eras", () => v1("both") as unknown as Promise<AnyClient>],
  ["SDK v2, 2025-11-25, in front of a server with sessions", () => v2("old", "legacy")],
  ["SDK v2, 2026-07-28, in front of a server of both eras", () => v2("both", "modern")],
  ["SDK v2, auto, in front of a server with sessions", () => v2("old", "auto")],
])("%s", (_, connect) => {
  test("lists what is callable, calls it, streams progress and hears a tool's own error", async () => {
    const client = await connect();
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name)).toContain("echo");
    expect(tools.map((tool) => tool.name)).not.toContain("delete_everything");
    const echoed = await client.callTool({ name: "echo", arguments: { text: "through the gate" } });
    expect(echoed.content).toEqual([{ type: "text", text: "through the gate" }]);
    const heard: number[] = [];
    await client.callTool({ name: "slow", arguments: { ms: 120 } }, {
      onprogress: ({ progress }: { progress: number }) => heard.push(progress),
    } as never);
    expect(heard.length).toBeGreaterThan(0);
    const failed = await client.callTool({ name: "fail", arguments: {} });
    expect(failed.isError).toBe(true);
    await expect(client.callTool({ name: "delete_everything", arguments: {} })).rejects.toMatchObject({ code: -32602 });
    await client.close();
  });
});

describe.each(["legacy", "modern", "auto"] as const)("a child over stdio, to a client in %s", (mode) => {
  test("is listed, called and filtered", async () => {
    const client = await v2("child", mode);
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name)).toContain("get-sum");
    const sum = await client.callTool({ name: "get-sum", arguments: { a: 20, b: 22 } });
    expect(JSON.stringify(sum.content)).toContain("42");
    const heard: number[] = [];
    await client.callTool(
      { name: "trigger-long-running-operation", arguments: { duration: 0.2, steps: 2 } },
      { onprogress: ({ progress }) => heard.push(progress) },
    );
    expect(heard).toContain(1);
    await client.close();
  });
});

test("each record and usage event carries the region of its server", async () => {
  const client = await v2("both", "modern");
  await client.callTool({ name: "echo", arguments: { text: "x" } });
  await client.close();
  type Row = { server: string | null; region: string | null; call_id: string | null };
  const rows = await gateway.json<Row[]>("audit", "tail", "--limit", "200");
  const regions = new Map(rows.flatMap(({ server, region }) => (server === null ? [] : [[server, region] as const])));
  expect([regions.get("both"), regions.get("old")]).toEqual(["eu", null]);
});

test("prompts, resources and completion pass, and count as calls", async () => {
  const client = await v2("both", "modern");
  expect((await client.getPrompt({ name: "greet", arguments: { name: "Ada" } })).messages.length).toBe(1);
  const { resources } = await client.listResources();
  const read = await client.readResource({ uri: resources[0]?.uri ?? "" });
  expect(read.contents.length).toBe(1);
  await client.close();
  const usage = await gateway.json<{ rows: { tool: string }[] }>("usage", "--by", "tool");
  expect(usage.rows.map((row) => row.tool)).toEqual(expect.arrayContaining(["greet", resources[0]?.uri]));
});

test("the upstream gets its own credential and never the agent's token, and no answer carries a cookie or the upstream's name", async () => {
  const accessToken = await gateway.accessToken(agent, "both");
  const answer = await fetch(`${gateway.publicUrl}/mcp/both`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${accessToken}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      cookie: "canary-cookie=1",
      "x-api-key": "canary-client-key",
      "x-forwarded-for": "10.9.8.7",
      "proxy-authorization": "Basic canary",
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "echo", arguments: { text: "x" } } }),
  });
  expect(answer.status).toBe(200);
  for (const text of [accessToken, accessToken.split(".")[2] ?? "", "canary-cookie", "canary-client-key", "10.9.8.7", "Basic canary"]) {
    expect(both.heard(text), text).toBe(false);
  }
  expect(both.heard("canary-upstream-key")).toBe(true);
  expect([...answer.headers.keys()]).not.toEqual(expect.arrayContaining(["server"]));
});

test("big integers and unknown members reach the upstream byte for byte", async () => {
  const accessToken = await gateway.accessToken(agent, "both");
  const body = `{ "jsonrpc":"2.0", "id":7, "method":"tools/call",
  "params":{"name":"echo","arguments":{"text":"n","big":9007199254740993,"exp":1.50e2},"x-vendor":{"a":[1,2]}}}`;
  const answer = await fetch(`${gateway.publicUrl}/mcp/both`, {
    method: "POST",
    headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json", accept: "application/json, text/event-stream" },
    body,
  });
  expect(answer.status).toBe(200);
  expect(both.heard('"big":9007199254740993,"exp":1.50e2},"x-vendor":{"a":[1,2]}')).toBe(true);
});

test("a scope that a permit requires is a step-up challenge, and the stepped-up token passes", async () => {
  const plain = await gateway.accessToken(agent, "guarded");
  const refused = await modernRequest(`${gateway.publicUrl}/mcp/guarded`, plain, "tools/call", { name: "echo", arguments: { text: "x" } });
  expect(refused.status).toBe(403);
  expect(refused.headers.get("www-authenticate")).toMatch(/error="insufficient_scope".*scope="[^"]*guarded\.use/);
  const stepped = await gateway.accessToken(agent, "guarded", "guarded.use");
  const passed = await modernRequest(`${gateway.publicUrl}/mcp/guarded`, stepped, "tools/call", { name: "echo", arguments: { text: "x" } });
  expect(passed.status).toBe(200);
});

test("a session belongs to the principal that opened it", async () => {
  const thief = await gateway.createAgent("thief");
  const url = `${gateway.publicUrl}/mcp/old`;
  const open = {
    jsonrpc: "2.0",
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "x", version: "1" } },
  };
  const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  const mine = { ...headers, authorization: `Bearer ${await gateway.accessToken(agent, "old")}` };
  const theirs = { ...headers, authorization: `Bearer ${await gateway.accessToken(thief, "old")}` };
  const opened = await fetch(url, { method: "POST", headers: mine, body: JSON.stringify(open) });
  await opened.text();
  const session = opened.headers.get("mcp-session-id") ?? "";
  expect(session).not.toBe("");
  const list = JSON.stringify({ jsonrpc: "2.0", id: 2, method: "tools/list" });
  const use = (who: Record<string, string>, id: string) =>
    fetch(url, { method: "POST", headers: { ...who, "mcp-session-id": id }, body: list });
  const [own = ""] = old.sessions();
  expect(own).not.toBe(session);
  const upstreamSaw = old.received.length;
  expect((await use(theirs, session)).status).toBe(404);
  expect((await use(theirs, own)).status).toBe(404);
  expect((await use(mine, own)).status).toBe(404);
  expect((await use(mine, "invented")).status).toBe(404);
  expect((await fetch(url, { method: "DELETE", headers: { ...theirs, "mcp-session-id": session } })).status).toBe(404);
  expect(old.received.length).toBe(upstreamSaw);
  expect((await use(mine, session)).status).toBe(200);
  expect((await fetch(url, { method: "DELETE", headers: { ...mine, "mcp-session-id": session } })).status).toBeLessThan(300);
  // The gateway keeps no list of sessions: that this one has ended is the server's own word.
  expect((await use(mine, session)).status).toBe(404);
});

test("every request left exactly one record, the log verifies, and no secret was printed", async () => {
  const tail = await gateway.json<{ kind: string; call_id: string | null }[]>("audit", "tail", "--limit", "10000");
  const calls = tail.filter((record) => record.kind === "call").map((record) => record.call_id);
  expect(new Set(calls).size).toBe(calls.length);
  expect(await gateway.json<{ ok: boolean }>("audit", "verify")).toMatchObject({ ok: true });
  expect(gateway.output).not.toContain("canary-upstream-key");
  expect(gateway.output).not.toContain(agent.client_secret);
  expect(gateway.output).not.toMatch(/eyJ[A-Za-z0-9_-]{20}/);
});
