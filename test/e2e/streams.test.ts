/** Streams through a gateway process: who leaves, who stalls, who waits, and how each of them ends. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
`;
const TOOLS = ["wait", "wait_streaming", "flood"].map((name) => ({ name, inputSchema: { type: "object" } }));
const LISTEN = { notifications: { toolsListChanged: true } };
const EVENT_BYTES = 16_384;
/** More than the kernels' buffers of two connections hold, whatever their limits. */
const FLOOD_BYTES = 268_435_456;
const HELD_BYTES_MAX = 134_217_728;

const CHANCES = 20;

type Arrival = { readonly res: ServerResponse; readonly closed: Promise<void> };

let door: Door;
/** Calls of the tools, by the key in their arguments. */
const calls = new Map<string, PromiseWithResolvers<Arrival>>();
const idle = new Set<ServerResponse>();
let gateway: GatewayProcess;
let url: string;
let accessToken: string;

beforeAll(async () => {
  door = await openDoor((req, res, body) => {
    res.on("error", () => {});
    if (req.method === "GET") return hold(res);
    const { id, method, params } = JSON.parse(body.toString());
    if (method === "subscriptions/listen") return hold(res);
    if (method === "tools/list") return void res.setHeader("content-type", "application/json").end(answer(id, { tools: TOOLS }));
    const closed = Promise.withResolvers<void>();
    res.on("close", closed.resolve);
    if (params.name !== "wait") stream(res).write(event("begun"));
    callOf(params.arguments.key).resolve({ res, closed: closed.promise });
  });
  gateway = await start();
  url = `${gateway.publicUrl}/mcp/up`;
  accessToken = await admit(gateway, "bot");
});

afterAll(async () => {
  await gateway?.signal("SIGKILL");
  await door?.close();
});

function start(more = ""): Promise<GatewayProcess> {
  return GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${door.url}/mcp" }`, more });
}

async function admit(at: GatewayProcess, name: string): Promise<string> {
  return at.accessToken(await at.createAgent(name), "up");
}

function answer(id: unknown, result: object): string {
  return JSON.stringify({ jsonrpc: "2.0", id, result: { resultType: "complete", ...result } });
}

function event(data: string): string {
  return `data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/message", params: { level: "info", data } })}\n\n`;
}

function stream(res: ServerResponse): ServerResponse {
  res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
  return res;
}

function hold(res: ServerResponse): void {
  idle.add(stream(res));
  res.on("close", () => idle.delete(res));
}

function callOf(key: string): PromiseWithResolvers<Arrival> {
  const call = calls.get(key) ?? Promise.withResolvers<Arrival>();
  calls.set(key, call);
  return call;
}

function openGet(at = url, by = accessToken): Promise<Response> {
  return fetch(at, { headers: { accept: "text/event-stream", "mcp-protocol-version": "2025-11-25", authorization: `Bearer ${by}` } });
}

/** A call whose connection is the test's to destroy. */
function call(era: "modern" | "legacy", name: string, key: string, by = accessToken) {
  const revision = era === "modern" ? "2026-07-28" : "2025-11-25";
  const _meta = { "io.modelcontextprotocol/protocolVersion": revision, "io.modelcontextprotocol/clientCapabilities": {} };
  const request = httpRequest(url, {
    method: "POST",
    agent: false,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": revision,
      ...(era === "modern" ? { "mcp-method": "tools/call", "mcp-name": name } : {}),
      authorization: `Bearer ${by}`,
    },
  });
  request.on("error", () => {});
  const params = { name, arguments: { key }, ...(era === "modern" ? { _meta } : {}) };
  request.end(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }));
  return request;
}

test.each(["wait", "wait_streaming"])("a modern client that leaves %s ends the call at its server", async (name) => {
  const request = call("modern", name, name);
  const { closed } = await callOf(name).promise;
  if (name === "wait_streaming") await once(request, "response");
  request.destroy();
  await closed;
});

test.each(["wait", "wait_streaming"])("a client of 2025-11-25 that leaves %s leaves the call alone: it ends, and counts", async (name) => {
  const agent = `leaves-${name.replace("_", "-")}`;
  const request = call("legacy", name, agent, await admit(gateway, agent));
  const { res } = await callOf(agent).promise;
  const left = new Promise((resolve) => request.on("close", resolve));
  request.destroy();
  await left;
  // The gateway has noticed long before it answers the next one.
  expect((await legacyRequest(url, accessToken, "tools/list")).status).toBe(200);
  expect(res.closed).toBe(false);
  const result = answer(1, { content: [{ type: "text", text: "done" }] });
  if (name === "wait") res.setHeader("content-type", "application/json").end(result);
  else res.end(`data: ${result}\n\n`);
  await expect
    .poll(() => gateway.json("usage", "--by", "agent"), { timeout: 20_000 })
    .toMatchObject({
      rows: expect.arrayContaining([expect.objectContaining({ agent, calls: 1 })]),
    });
});

test("a client that does not read stops its server: what is on its way stays bounded", async () => {
  const request = call("modern", "flood", "flood");
  const { res } = await callOf("flood").promise;
  const [answered] = (await once(request, "response")) as [IncomingMessage];
  answered.pause();
  const writing = pour(res);
  // Bytes stand still while the gateway is alive and well: each of these answers was a chance for it to read on.
  let accepted = -1;
  for (let same = 0; same < CHANCES; ) {
    expect((await modernRequest(url, accessToken, "tools/list")).status).toBe(200);
    same = accepted === acceptedOf(res) ? same + 1 : 0;
    accepted = acceptedOf(res);
  }
  expect(accepted).toBeGreaterThan(0);
  expect(accepted).toBeLessThan(HELD_BYTES_MAX);
  request.destroy();
  await writing;
});

function acceptedOf({ socket }: ServerResponse): number {
  return (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0);
}

/** Until all is taken, or the reader has gone. */
async function pour(res: ServerResponse): Promise<void> {
  const piece = event("x".repeat(EVENT_BYTES));
  for (let bytes = 0; bytes < FLOOD_BYTES && !res.closed; bytes += piece.length) {
    if (res.write(piece)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        res.off("drain", go).off("close", go);
        resolve();
      };
      res.on("drain", go).on("close", go);
    });
  }
}

test("500 idle streams of one agent are open at once, and each hears what is said on it", async () => {
  const opening = Array.from({ length: 500 }, (_, i) =>
    i % 2 === 0 ? openGet() : modernRequest(url, accessToken, "subscriptions/listen", LISTEN, i),
  );
  const streams = await Promise.all(opening);
  expect(idle.size).toBe(500);
  expect(streams.map(({ status }) => status).every((status) => status === 200)).toBe(true);
  // A call finds its way beside them.
  expect((await modernRequest(url, accessToken, "tools/list")).status).toBe(200);
  for (const res of idle) res.write(event("hello"));
  const readers = streams.map(({ body }) => body?.getReader());
  for (const reader of readers) expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toContain("hello");
  await Promise.all(readers.map((reader) => reader?.cancel()));
  await expect.poll(() => idle.size, { timeout: 10_000 }).toBe(0);
});

test("streams end with their access token: a subscription with its result, a GET stream with its last event", async () => {
  const short = await start("authorizationServer: { accessTokenTtl: 5s }");
  try {
    const [at, by] = [`${short.publicUrl}/mcp/up`, await admit(short, "bot")];
    const [listening, hearing] = await Promise.all([modernRequest(at, by, "subscriptions/listen", LISTEN, "sub-1"), openGet(at, by)]);
    for (const res of idle) res.write(event("hello"));
    // Read to the end: a broken stream would reject.
    const [said, heard] = await Promise.all([listening.text(), hearing.text()]);
    expect(messagesIn(said)).toMatchObject([
      { method: "notifications/message" },
      { id: "sub-1", result: { resultType: "complete", _meta: { "io.modelcontextprotocol/subscriptionId": "sub-1" } } },
    ]);
    expect(messagesIn(heard)).toMatchObject([{ method: "notifications/message" }]);
    await expect.poll(() => idle.size, { timeout: 10_000 }).toBe(0);
  } finally {
    await short.signal("SIGKILL");
  }
});

test("streams end when a change of the policies leaves their agent nothing on the server, and no others", async () => {
  const changing = await start();
  try {
    const at = `${changing.publicUrl}/mcp/up`;
    const [by, other] = [await admit(changing, "bot"), await admit(changing, "other")];
    const [listening, hearing, staying] = await Promise.all([
      modernRequest(at, by, "subscriptions/listen", LISTEN, "sub-1"),
      openGet(at, by),
      modernRequest(at, other, "subscriptions/listen", LISTEN, "sub-2"),
    ]);
    writeFileSync(join(changing.folder, "policies", "test.yaml"), POLICIES.replace("permit:", "who: { agent: other }, permit:"));
    changing.child?.kill("SIGHUP");
    // Read to the end: a broken stream would reject.
    expect(messagesIn(await listening.text())).toMatchObject([{ id: "sub-1", result: { resultType: "complete" } }]);
    expect(messagesIn(await hearing.text())).toEqual([]);
    await expect.poll(() => idle.size, { timeout: 10_000 }).toBe(1);
    for (const res of idle) res.write(event("hello"));
    const reader = staying.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toContain("hello");
    await reader?.cancel();
  } finally {
    await changing.signal("SIGKILL");
  }
});

test("a gateway that drains ends its streams in peace, and does not wait for them", async () => {
  const [listening, hearing] = await Promise.all([modernRequest(url, accessToken, "subscriptions/listen", LISTEN, 7), openGet()]);
  const ended = gateway.stop();
  const [said, heard] = await Promise.all([listening.text(), hearing.text()]);
  expect(messagesIn(said)).toMatchObject([{ id: 7, result: { _meta: { "io.modelcontextprotocol/subscriptionId": 7 } } }]);
  expect(heard).toBe("");
  expect(await ended).toBe(0);
});

function messagesIn(text: string): unknown[] {
  return [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => JSON.parse(data));
}
