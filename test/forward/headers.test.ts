/** Upstream go the headers that MCP means for it, and the gateway's own credential; down comes what MCP means for the client. */

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { forwardedHeaders } from "../../src/call/accept/mcp-head.ts";
import type { IssuedToken } from "../../src/call/exchange/issued-token.ts";
import { createSessions } from "../../src/call/forward/sessions.ts";
import { createSeal } from "../../src/seal.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { type Asking, request, requestOf, send, upstreamAt } from "./http-client.ts";
import { KeptAnswer } from "./stdio-message.ts";

const CANARY = "canary-7f3a";
const RESULT = '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}';
const CALL = request("tools/call", { name: "echo", arguments: {} });
const ISSUED: IssuedToken = { kind: "bearer", headers: { authorization: "Bearer of-the-gateway" }, expiresAtMs: null, shareKey: "k" };

/** What a client may send beside the headers of MCP: none of it is the upstream's business. */
const STRANGERS = [
  ...["authorization", "proxy-authorization", "x-api-key", "x-upstream-authorization", "cookie", "dpop", "host", "origin", "referer"],
  ...[
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
    "expect",
    "content-length",
    "content-encoding",
  ],
  ...[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "forwarded",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "via",
  ],
  ...[
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "sec-fetch-mode",
    "x-custom",
    "mcp",
    "mcp-parameter",
    "__proto__",
    "constructor",
  ],
];

let door: Door;
let downHeaders: Record<string, string | string[]> = {};
let downType = "application/json";
let downStatus = 200;
beforeAll(async () => {
  door = await openDoor((_, res) => {
    const body = downType === "application/json" ? RESULT : `data: ${RESULT}\n\n`;
    res.writeHead(downStatus, { "content-type": downType, ...downHeaders }).end(downStatus === 202 ? "" : body);
  });
});
afterAll(() => door.close());
beforeEach(() => {
  door.received.length = 0;
  downHeaders = {};
  downType = "application/json";
  downStatus = 200;
});

/** A request whose HTTP head held the given headers, as the door reads them. */
async function heard(given: Record<string, string>, asking: Asking = {}, message: object | null = CALL): Promise<Record<string, string>> {
  const parsed = requestOf(message, asking);
  const forwarded = forwardedHeaders(new Map(Object.entries(given)), parsed);
  const upstream = upstreamAt(`${door.url}/mcp?tenant=1`);
  await send(upstream, message, {
    issued: ISSUED,
    ...asking,
    head: { authorization: `Bearer ${CANARY}`, userAgent: CANARY, ...asking.head, forwarded },
  });
  await upstream.close(0);
  const [request] = door.received;
  const pairs = request?.rawHeaders ?? [];
  const names = pairs.filter((_, i) => i % 2 === 0).map((each) => each.toLowerCase());
  expect(new Set(names).size).toBe(names.length);
  expect(door.heard(CANARY)).toBe(false);
  return Object.fromEntries(names.map((each, i) => [each, pairs[2 * i + 1] ?? ""]));
}

const strangers = () => Object.fromEntries(STRANGERS.map((each) => [each, CANARY]));
const OURS = {
  host: () => new URL(door.url).host,
  connection: () => "keep-alive",
};

test("a modern call carries exactly these headers, whatever else its client sent", async () => {
  const mcp = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo", "mcp-param-region": "eu" };
  const tracing = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=1", baggage: "b=2" };
  const up = await heard({ ...strangers(), ...mcp, ...tracing });
  expect(up).toEqual({
    ...mcp,
    ...tracing,
    host: OURS.host(),
    connection: OURS.connection(),
    accept: "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "content-length": String(door.received[0]?.body.length),
    authorization: "Bearer of-the-gateway",
  });
  expect(door.received[0]?.url).toBe("/mcp?tenant=1");
});

test("a legacy call carries its revision and its session; Mcp-Method, Mcp-Name and Mcp-Param-* are not of its era", async () => {
  const given = {
    ...strangers(),
    "mcp-protocol-version": "2025-11-25",
    "mcp-method": CANARY,
    "mcp-name": CANARY,
    "mcp-param-region": CANARY,
  };
  const up = await heard(given, { era: "legacy", head: { sessionId: "s1" } });
  expect(Object.keys(up).toSorted()).toEqual(
    [
      "accept",
      "accept-encoding",
      "authorization",
      "connection",
      "content-length",
      "content-type",
      "host",
      "mcp-protocol-version",
      "mcp-session-id",
    ].toSorted(),
  );
  expect(up).toMatchObject({ "mcp-session-id": "s1", "mcp-protocol-version": "2025-11-25", "accept-encoding": "identity" });
});

test("GET resumes by Last-Event-ID, accepts a stream only and has no content", async () => {
  downType = "text/event-stream";
  const up = await heard(
    { ...strangers(), "mcp-protocol-version": "2025-11-25" },
    { era: "legacy", head: { httpMethod: "GET", sessionId: "s1", lastEventId: "e7" } },
    null,
  );
  expect(up).toMatchObject({ accept: "text/event-stream", "mcp-session-id": "s1", "last-event-id": "e7", "accept-encoding": "identity" });
  expect(Object.keys(up)).not.toContain("content-type");
  expect(door.received[0]).toMatchObject({ method: "GET", body: Buffer.alloc(0) });
});

test("DELETE names its session and nothing more", async () => {
  const up = await heard({}, { era: "legacy", head: { httpMethod: "DELETE", sessionId: "s1" } }, null);
  expect(door.received[0]?.method).toBe("DELETE");
  expect(up["mcp-session-id"]).toBe("s1");
});

test("Mcp-Name goes up only for methods that have a name to compare it with", async () => {
  expect(
    await heard({ "mcp-method": "tools/list", "mcp-name": CANARY }, { visible: () => true }, request("tools/list")),
  ).not.toHaveProperty("mcp-name");
});

test("without a credential of the gateway's there is none", async () => {
  const up = await heard(strangers(), { issued: { kind: "none", headers: {}, expiresAtMs: null, shareKey: "none" } });
  expect(up).not.toHaveProperty("authorization");
});

test("a credential of the gateway's cannot ask for a coding or another type", async () => {
  const headers = { "accept-encoding": "br", accept: "text/html", "content-type": "text/html", "x-api-key": "k1" };
  const up = await heard({}, { issued: { kind: "header", headers, expiresAtMs: null, shareKey: "k" } });
  expect(up).toMatchObject({
    "accept-encoding": "identity",
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
    "x-api-key": "k1",
  });
});

test("a value that would end its line never leaves", async () => {
  const upstream = upstreamAt(`${door.url}/mcp`);
  for (const value of ["a\r\nx-evil: 1", "a\nb", "a\u0000b"]) {
    const outcome = await send(upstream, CALL, { head: { forwarded: { "mcp-param-region": value } } });
    expect(outcome).toMatchObject({ kind: "not_sent", sent: false });
  }
  expect(door.received).toEqual([]);
  await upstream.close(0);
});

test("the body goes up as it was received, byte for byte", async () => {
  const body = `{ "id" : 1 ,"params":{"name":"e\\u0063ho", "arguments":{"n":9007199254740993,"x":"\\/","é":[ ]},"inputResponses":{},"_meta":{"v":1}},\r\n"jsonrpc":"2.0","method":"tools/call"}`;
  const upstream = upstreamAt(`${door.url}/mcp`);
  await send(upstream, body, { era: "legacy" });
  expect(door.received[0]?.body.toString()).toBe(body);
  await upstream.close(0);
});

const LOUD = {
  "set-cookie": ["a=1", "b=2"],
  "www-authenticate": `Bearer scope="${CANARY}"`,
  "proxy-authenticate": "Basic",
  "access-control-allow-origin": "*",
  "access-control-allow-credentials": "true",
  "strict-transport-security": "max-age=1",
  "alt-svc": 'h3=":443"',
  "clear-site-data": '"*"',
  "cache-control": "public, max-age=3600",
  "x-powered-by": CANARY,
  server: CANARY,
  via: "1.1 proxy",
  refresh: "0; url=http://x",
  link: "</x>; rel=preload",
  location: "http://x/",
  etag: '"1"',
  "x-frame-options": "ALLOWALL",
  "content-disposition": "attachment",
  "mcp-session-id": "s-new",
};

test("of a JSON answer's headers come down its type, and in the older era its session", async () => {
  downHeaders = LOUD;
  const upstream = upstreamAt(`${door.url}/mcp`);
  expect((await send(upstream, CALL)).headers).toEqual({ "content-type": "application/json" });
  const legacy = await send(upstream, CALL, { era: "legacy" });
  expect(legacy.headers).toEqual({ "content-type": "application/json", "mcp-session-id": "sealed-s-new" });
  const known = await send(upstream, CALL, { era: "legacy", head: { sessionId: "s-new" } });
  expect(known.headers).toEqual({ "content-type": "application/json" });
  await upstream.close(0);
});

test("a session id that no server may mint makes its answer invalid, and is not handed on", async () => {
  const sessions = createSessions({ seal: createSeal(Buffer.alloc(32)), backends: new Map(), epoch: () => "" });
  const upstream = upstreamAt(`${door.url}/mcp`, { sessions });
  for (const [sessionId, kind] of [
    ["x".repeat(4_096), "result"],
    ["x".repeat(4_097), "upstream_invalid"],
    ["s p a c e", "upstream_invalid"],
    ["\u00e9", "upstream_invalid"],
  ] as const) {
    downHeaders = { "mcp-session-id": sessionId };
    const outcome = await send(upstream, CALL, { era: "legacy" });
    expect([sessionId.slice(0, 9), outcome.refusal?.refused ?? outcome.kind]).toEqual([sessionId.slice(0, 9), kind]);
    const sealed = outcome.headers["mcp-session-id"];
    expect(sealed?.length).toBe(kind === "result" ? 5_499 : undefined);
  }
  await upstream.close(0);
});

test("of a stream's headers too; the gateway's own say that nothing may buffer or keep it", async () => {
  downHeaders = LOUD;
  downType = "text/event-stream";
  const upstream = upstreamAt(`${door.url}/mcp`);
  const own = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };
  const answers = [new KeptAnswer(), new KeptAnswer(), new KeptAnswer()] as const;
  await send(upstream, CALL, { answer: answers[0] });
  await send(upstream, CALL, { answer: answers[1], era: "legacy" });
  await send(upstream, null, { answer: answers[2], era: "legacy", head: { httpMethod: "GET", sessionId: "s1" } });
  expect(answers.map(({ headers }) => headers)).toEqual([own, { ...own, "mcp-session-id": "sealed-s-new" }, own]);
  await upstream.close(0);
});

test.each([202, 400, 404, 405, 429, 500, 503])("of an answer with %i nothing comes down but what its row names", async (status) => {
  downStatus = status;
  downHeaders = { ...LOUD, "content-type": "text/plain", allow: `POST, ${CANARY}`, "retry-after": "3" };
  const upstream = upstreamAt(`${door.url}/mcp`);
  const note = { jsonrpc: "2.0", method: "notifications/initialized" };
  const call = await send(upstream, CALL);
  const told = await send(upstream, note, { era: "legacy" });
  for (const { headers, last } of [call, told]) {
    expect(Object.keys(headers).filter((each) => !["retry-after", "allow"].includes(each))).toEqual([]);
    expect(JSON.stringify(headers)).not.toContain(CANARY);
    expect(last).toBeNull();
  }
  await upstream.close(0);
});
