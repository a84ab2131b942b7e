import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import {
  StreamableHTTPClientTransport,
  type StreamableHTTPClientTransportOptions,
} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { McpServer } from "@modelcontextprotocol/server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createSessions } from "../conformance/fixture/sessions.ts";
import { type Door, openDoor, parsedOrRefused } from "../fixtures/listener.ts";
import { GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["talker/*", "resource:talker/*", "method:talker/*"] }
budgets:
  - { name: tokens, who: { team: counted }, each: agent, meter: tool_tokens, limit: 10_000, period: total }
`;
const WATCHED = "test://watched";

/** What the tool `wait` waits for. */
const release = Promise.withResolvers<void>();

/** What the tool `interrupted` waits for: its client has resumed. */
let resumed = Promise.withResolvers<void>();

let door: Door;
let gateway: GatewayProcess;
let accessToken: string;

beforeAll(async () => {
  const sessions = createSessions(talker);
  door = await openDoor(async (req, res, body) => {
    const parsed = req.method === "POST" ? parsedOrRefused(body, res) : null;
    if (req.headers["last-event-id"] !== undefined) resumed.resolve();
    if (parsed !== undefined) await sessions.handle(req, res, parsed ?? undefined);
  });
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  talker: { url: "${door.url}/mcp" }` });
  accessToken = await gateway.accessToken(await gateway.createAgent("listener"), "talker");
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await door?.close();
});

/** A server that talks beside its calls: questions and notifications on the GET stream. */
function talker(): McpServer {
  const capabilities = { tools: {}, logging: {}, resources: { subscribe: true } };
  const server = new McpServer({ name: "talker", version: "1.0.0" }, { capabilities });
  const said = (text: string) => ({ content: [{ type: "text" as const, text }] });
  server.registerTool("ask_aside", {}, async () => {
    const { action, content } = await server.server.elicitInput({
      message: "Which color?",
      requestedSchema: { type: "object", properties: { color: { type: "string" } } },
    });
    return said(`${action} ${content?.color}`);
  });
  server.registerTool("break_off", {}, async ({ http, mcpReq }) => {
    await mcpReq.log("info", "before");
    http?.closeSSE?.();
    await mcpReq.log("debug", "too fine");
    await mcpReq.log("warning", "meanwhile");
    return said("resumed");
  });
  server.registerTool("interrupted", {}, async ({ mcpReq }) => {
    await mcpReq.log("info", "begun");
    await resumed.promise;
    await mcpReq.log("info", "resumed");
    const asked = { message: "Which color?", requestedSchema: { type: "object", properties: { color: { type: "string" } } } } as const;
    const { content } = await mcpReq.elicitInput(asked);
    return said(`in ${content?.color}`);
  });
  server.registerTool("wait", {}, async () => {
    await release.promise;
    return said("waited");
  });
  server.registerTool("touch", {}, async () => {
    await server.server.sendResourceUpdated({ uri: WATCHED });
    return said("touched");
  });
  server.registerResource("watched", WATCHED, {}, () => ({ contents: [{ uri: WATCHED, text: "" }] }));
  server.server.setRequestHandler("resources/subscribe", () => ({}));
  return server;
}

/** `ownId` is the session's id at its server, which no client sees. */
async function connected(
  token = accessToken,
  through: typeof fetch = fetch,
): Promise<{ client: Client; transport: StreamableHTTPClientTransport; ownId: unknown }> {
  const client = new Client({ name: "listener", version: "1.0.0" }, { capabilities: { elicitation: {} } });
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway.publicUrl}/mcp/talker`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
    fetch: through as NonNullable<StreamableHTTPClientTransportOptions["fetch"]>,
  });
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { color: "blue" } }));
  const listening = () => door.received.filter(({ method }) => method === "GET");
  const before = listening().length;
  await client.connect(transport);
  for (let i = 0; i < 200 && listening().length === before; i++) await sleep(10);
  const ownId = listening()[before]?.headers["mcp-session-id"];
  expect([typeof ownId, ownId === transport.sessionId]).toEqual(["string", false]);
  return { client, transport, ownId };
}

test("a question on the GET stream is answered by POST, and the call that waits for it completes", async () => {
  const { client } = await connected();
  const result = await client.callTool({ name: "ask_aside" });
  expect(result.content).toEqual([{ type: "text", text: "accept blue" }]);
  await client.close();
});

test("a notification on the GET stream arrives, and nobody else hears of it", async () => {
  const [one, other] = [await connected(), await connected()];
  const heard: string[] = [];
  one.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void heard.push(params.uri));
  other.client.setNotificationHandler(ResourceUpdatedNotificationSchema, () => void heard.push("the other"));
  await one.client.subscribeResource({ uri: WATCHED });
  await one.client.callTool({ name: "touch" });
  for (let i = 0; i < 200 && heard.length === 0; i++) await sleep(10);
  expect(heard).toEqual([WATCHED]);
  await Promise.all([one.client.close(), other.client.close()]);
});

test("a stream that the server breaks off is resumed by Last-Event-ID, with all that was said meanwhile and nothing twice", async () => {
  const { client, ownId } = await connected();
  const heard: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
  await client.setLoggingLevel("info");
  expect((await client.callTool({ name: "break_off" })).content).toEqual([{ type: "text", text: "resumed" }]);
  expect(heard).toEqual(["before", "meanwhile"]);
  const resumed = door.received.filter(({ headers }) => headers["last-event-id"] !== undefined);
  expect(resumed.map(({ method, headers }) => [method, headers["mcp-session-id"]])).toEqual([["GET", ownId]]);
  await client.close();
});

/** The connection of a call breaks once its stream has begun. */
const breaking: typeof fetch = async (url, init) => {
  const isCall = String(init?.body ?? "").includes('"tools/call"');
  const broken = new AbortController();
  const answer = await fetch(url, isCall ? { ...init, signal: broken.signal } : init);
  if (!isCall || answer.body === null) return answer;
  const [own, watched] = answer.body.tee();
  void watched
    .getReader()
    .read()
    .then(() => setTimeout(() => broken.abort(), 50));
  return new Response(own, answer);
};

test.each(["counted", "uncounted"])("a client whose connection breaks resumes its call, and loses nothing of it: %s", async (team) => {
  resumed = Promise.withResolvers();
  const agent = await gateway.createAgent(`broken-${team}`, team);
  const { client } = await connected(await gateway.accessToken(agent, "talker"), breaking);
  const heard: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
  expect((await client.callTool({ name: "interrupted" }, undefined, { timeout: 20_000 })).content).toEqual([
    { type: "text", text: "in blue" },
  ]);
  expect(heard).toEqual(["begun", "resumed"]);
  await client.close();
  const { rows } = await gateway.json<{ rows: { agent: string; calls: number; output_tokens: number; provisional: number }[] }>(
    ...["usage", "--by", "agent"],
  );
  expect(rows.find((row) => row.agent === `broken-${team}`)).toMatchObject({ calls: 1, output_tokens: 2, provisional: 0 });
});

test("a client of 2026-07-28, which cannot resume, hears the same through a view", async () => {
  const viewToken = await gateway.accessToken(await gateway.createAgent("viewer"), "");
  const answer = await modernRequest(`${gateway.publicUrl}/mcp`, viewToken, "tools/call", { name: "talker__break_off", arguments: {} });
  expect(await answer.text()).toMatch(/"text":"resumed"/);
});

test("a session that its client has ended is over at the server, and answers 404 at the gateway", async () => {
  const { client, transport, ownId } = await connected();
  const sessionId = transport.sessionId ?? "";
  await transport.terminateSession();
  expect(door.received.some(({ method, headers }) => method === "DELETE" && headers["mcp-session-id"] === ownId)).toBe(true);
  expect(door.heard(sessionId)).toBe(false);
  const answer = await fetch(`${gateway.publicUrl}/mcp/talker`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
      "mcp-session-id": sessionId,
      authorization: `Bearer ${accessToken}`,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
  });
  expect(answer.status).toBe(404);
  await client.close();
});

test("an id that is under way in a session is not used twice there, and is free again afterwards", async () => {
  const { client, transport } = await connected();
  const post = (id: unknown, name: string) =>
    fetch(`${gateway.publicUrl}/mcp/talker`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${accessToken}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        "mcp-session-id": transport.sessionId ?? "",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name } }),
    });
  const calls = () => door.received.filter(({ body }) => body.includes('"wait"')).length;
  const first = post("one", "wait");
  while (calls() === 0) await sleep(5);
  const twin = await post("one", "touch");
  expect([twin.status, await twin.json()]).toMatchObject([400, { error: { code: -32600 } }]);
  expect(await (await post("two", "touch")).text()).toContain("touched");
  release.resolve();
  expect(await (await first).text()).toContain("waited");
  expect(await (await post("one", "touch")).text()).toContain("touched");
  await client.close();
});
