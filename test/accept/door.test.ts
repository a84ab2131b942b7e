import { BlockList } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { remoteAddressOf } from "../../src/call/accept/door.ts";
import { dial, type Front, isWhole, knock, LEGACY_PING, openFront, parseReply, post, readUntil, reasonOf } from "./front.ts";

let front: Front;
beforeAll(async () => {
  front = await openFront({ origins: ["https://app.example"] });
});
afterAll(() => front.listener.close());

const HEAD = "Host: gate.example\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n";
const PING = `Content-Length: ${LEGACY_PING.length}\r\n\r\n${LEGACY_PING}`;
const line = (extra: string) => `POST /mcp/tickets HTTP/1.1\r\n${HEAD}${extra}${PING}`;
const get = (target: string, extra = "") => `GET ${target} HTTP/1.1\r\nHost: gate.example\r\n${extra}\r\n`;

async function refusedWith(bytes: string | Buffer): Promise<[number, string | undefined]> {
  const before = front.lived.length;
  const reply = await knock(front, bytes);
  expect(front.lived.length).toBe(before);
  expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
  expect(reply.headers.get("cache-control")).toBe("no-store");
  expect(reply.headers.has("server")).toBe(false);
  expect(front.faults).toEqual([]);
  return [reply.status, reply.body === "" ? undefined : reasonOf(reply)];
}

test("a good request lives, and its head is what was sent", async () => {
  const reply = await knock(
    front,
    post(LEGACY_PING, {
      Authorization: "Bearer secret",
      "Mcp-Session-Id": "s-1",
      "Last-Event-ID": "e-1",
      "User-Agent": "probe/1\u0001\u009b",
      traceparent: "00-a-b-00",
      "X-Upstream-Authorization": "x",
      Cookie: "a=b",
      "Mcp-Name": "unchecked",
      "Mcp-Param-Region": "eu",
    }).toString("latin1"),
  );
  expect(reply.status).toBe(400);
  const good = await knock(
    front,
    post(LEGACY_PING, {
      Authorization: "Bearer secret",
      "Mcp-Session-Id": "s-1",
      "Last-Event-ID": "e-1",
      "User-Agent": "probe/1",
      traceparent: "00-a-b-00",
      "X-Upstream-Authorization": "x",
      Cookie: "a=b",
      "Mcp-Name": "unchecked",
      "Mcp-Param-Region": "eu",
    }),
  );
  expect([good.status, good.body]).toEqual([200, '{"jsonrpc":"2.0","id":7,"result":{}}']);
  const lived = front.lived.at(-1);
  expect(lived).toMatchObject({
    server: "tickets",
    httpMethod: "POST",
    course: "handshake",
    authorization: "Bearer secret",
    sessionId: "s-1",
    lastEventId: "e-1",
    userAgent: "probe/1",
    remoteAddress: "127.0.0.1",
  });
  expect(lived?.callId).toMatch(/^call_[0-9a-z]{26}$/);
  // Mcp-Name is no business of the older era, and whatever was not compared with the body stays here.
  expect({ ...lived?.forwarded }).toEqual({ traceparent: "00-a-b-00" });
});

test("a request of the newer era passes on the headers that were compared, and unknown Mcp-Param-* ones", async () => {
  const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta: meta } });
  const headers = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
    "Mcp-Name": "not compared",
    "Mcp-Param-Region": "eu",
  };
  const reply = await knock(front, post(body, { ...headers, "Mcp-Session-Id": "s-1", "Last-Event-ID": "1" }));
  expect(reply.status).toBe(200);
  const lived = front.lived.at(-1);
  expect({ ...lived?.forwarded }).toEqual({ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list", "mcp-param-region": "eu" });
  expect([lived?.sessionId, lived?.lastEventId]).toEqual([null, null]);
});

test.each<[string, string, number, string]>([
  ["two Host headers", "Host: gate.example\r\n", 400, "request_malformed"],
  ["two Authorization headers", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400, "request_malformed"],
  ["two Authorization headers of other cases", "authorization: Bearer a\r\nAUTHORIZATION: Bearer a\r\n", 400, "request_malformed"],
  ["two Content-Type headers", "Content-Type: application/json\r\n", 400, "request_malformed"],
  ["two DPoP headers", "DPoP: a\r\nDPoP: b\r\n", 400, "request_malformed"],
  ["two Origin headers", "Origin: https://app.example\r\nOrigin: https://evil.example\r\n", 400, "request_malformed"],
  ["two Mcp-Name headers", "Mcp-Name: a\r\nMcp-Name: b\r\n", 400, "header_mismatch"],
  ["two Mcp-Session-Id headers", "Mcp-Session-Id: a\r\nMcp-Session-Id: a\r\n", 400, "header_mismatch"],
  ["101 header pairs", Array.from({ length: 101 }, (_, i) => `x-${i}: 1\r\n`).join(""), 413, "request_too_large"],
  ["Upgrade without Connection", "Upgrade: websocket\r\n", 400, "request_malformed"],
  ["a WebSocket upgrade", "Connection: Upgrade\r\nUpgrade: websocket\r\n", 400, "request_malformed"],
  ["an h2c upgrade", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", 400, "request_malformed"],
  ["gzip", "Content-Encoding: gzip\r\n", 415, "media_type"],
  ["identity as a coding", "Content-Encoding: identity\r\n", 415, "media_type"],
  ["a foreign origin", "Origin: https://evil.example\r\n", 403, "origin_forbidden"],
  ["the null origin", "Origin: null\r\n", 403, "origin_forbidden"],
  ["an allowed origin in upper case", "Origin: HTTPS://APP.EXAMPLE\r\n", 403, "origin_forbidden"],
  ["an allowed origin with a path", "Origin: https://app.example/\r\n", 403, "origin_forbidden"],
])("%s: refused", async (_, extra, status, reason) => {
  expect(await refusedWith(line(extra))).toEqual([status, reason]);
});

test.each<[string, string]>([
  ["another host", "evil.example"],
  ["a host with a path", "gate.example/?x="],
  ["a host with userinfo", "a@gate.example"],
  ["another port", "gate.example:81"],
  ["a trailing dot", "gate.example."],
  ["nothing", ""],
])("Host with %s is 421", async (_, host) => {
  expect(await refusedWith(post(LEGACY_PING, { Host: host }))).toEqual([421, "host_unknown"]);
});

test.each([" HTTP/2.0", ""])("a request line that ends with '%s' is malformed, though node reads it", async (version) => {
  expect(await refusedWith(line("").replace(" HTTP/1.1", version))).toEqual([400, "request_malformed"]);
});

test("HTTP/1.1 without a Host is malformed, HTTP/1.0 without one is for nobody here", async () => {
  expect(await refusedWith("GET /mcp/tickets HTTP/1.1\r\n\r\n")).toEqual([400, "request_malformed"]);
  expect(await refusedWith("GET /mcp/tickets HTTP/1.0\r\n\r\n")).toEqual([421, "host_unknown"]);
});

test("a host in upper case is the same host", async () => {
  expect((await knock(front, post(LEGACY_PING, { Host: "GATE.example" }))).status).toBe(200);
});

test.each([
  "/mcp/",
  "/mcp/tickets/",
  "//mcp/tickets",
  "/mcp//tickets",
  "/mcp/tickets;x",
  "/mcp/tickets?x=/health",
  "/mcp/tickets#x",
  "/mcp/Tickets",
  "/MCP/tickets",
  "/mcp/../mcp/tickets",
  "/mcp/./tickets",
  "/mcp/%74ickets",
  "/mcp/%2e%2e/admin",
  "/mcp%2ftickets",
  "/mcp%5ctickets",
  "/mcp\\tickets",
  "/mcp/tickets%00",
  "/mcp/tickets.",
  "/mcp/tickets/sse",
  "/sse",
  "/message",
  "/admin",
  "/healthz",
  `/mcp/${"a".repeat(33)}`,
  `/${"a/".repeat(4000)}`,
  "/oauth",
  "/oauth/../mcp/tickets",
  "/oauth/%2e%2e/mcp/tickets",
  "/oauth//token",
  "/.well-known/oauth-authorization-server/../../mcp/tickets",
  "/.well-known/../problems/overloaded",
  "/.well-known//oauth-protected-resource",
  "/.well-known/oauth-protected-resource/mcp/Tickets",
  "/.well-known/oauth-protected-resource/mcp/a/b",
  "/problems/",
  "/problems/nothing",
  "/problems/__proto__",
  "/problems/constructor",
  "*",
  "http://gate.example/mcp/tickets",
  "http://evil.example/mcp/tickets",
])("%s is 404, byte for byte", async (target) => {
  const oauth = front.oauth.length;
  expect(await refusedWith(post(LEGACY_PING, {}, target))).toEqual([404, "route_unknown"]);
  expect(front.oauth.length).toBe(oauth);
});

test("a refusal names its path without the query, where clients put secrets", async () => {
  await refusedWith(get("/nowhere?access_token=canary"));
  expect(front.refused.at(-1)?.sketch).toMatchObject({ path: "/nowhere", httpMethod: "GET", server: null });
});

test("a refusal at the door still knows the user agent", async () => {
  await refusedWith(line("User-Agent: evil/1\r\nOrigin: https://evil.example\r\n"));
  expect(front.refused.at(-1)?.sketch).toMatchObject({ userAgent: "evil/1", remoteAddress: "127.0.0.1", server: "tickets" });
});

test.each<[string, string | Buffer, number]>([
  ["a lower-case method", line("").replace("POST", "post"), 400],
  ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
  ["Content-Length twice", line("Content-Length: 3\r\n"), 400],
  ["Content-Length as a list", line("").replace(/Content-Length: (\d+)/, "Content-Length: $1, $1"), 400],
  ["a signed Content-Length", line("").replace("Content-Length: ", "Content-Length: +"), 400],
  ["both lengths", line("Transfer-Encoding: chunked\r\n"), 400],
  ["a space before the colon", line("X-A : b\r\n"), 400],
  ["a folded header", line("X-A: b\r\n c\r\n"), 400],
  ["a bare LF", line("").replace("\r\n", "\n"), 400],
  ["NUL in a value", line("X-A: b\u0000c\r\n"), 400],
  ["a space in the target", "GET /mcp/tick ets HTTP/1.1\r\nHost: gate.example\r\n\r\n", 400],
  ["a head of 20 kB", line(`X-A: ${"a".repeat(20_000)}\r\n`), 431],
  ["CONNECT", "CONNECT gate.example:443 HTTP/1.1\r\nHost: gate.example\r\n\r\n", 405],
  ["an unknown expectation", line("Expect: 200-maybe\r\n"), 417],
])("%s never becomes a request, and is counted", async (_, bytes, status) => {
  const [counted, refused] = [front.parserRefusals, front.refused.length];
  const socket = await dial(front);
  socket.write(bytes);
  const reply = parseReply(await readUntil(socket));
  expect([reply.status, reply.body, reply.headers.get("connection")]).toEqual([status, "", "close"]);
  expect([front.parserRefusals, front.refused.length]).toEqual([counted + 1, refused]);
});

const chunked = (coding: string, body = "2\r\n{}\r\n0\r\n\r\n", version = "1.1") =>
  `POST /mcp/tickets HTTP/${version}\r\n${HEAD}Transfer-Encoding: ${coding}\r\n\r\n${body}`;
const SECOND = "POST /mcp/second HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 0\r\n\r\n";

test.each<[string, string]>([
  ["gzip, chunked", chunked("gzip, chunked")],
  ["chunked, identity", chunked("chunked, identity")],
  ["identity", chunked("identity")],
  ["xchunked", chunked("xchunked")],
  ["a vertical tab", chunked("\u000bchunked")],
  ["chunked twice", chunked("chunked\r\nTransfer-Encoding: chunked")],
  ["chunked and gzip in two lines", chunked("gzip\r\nTransfer-Encoding: chunked")],
  ["chunked on HTTP/1.0", chunked("chunked", undefined, "1.0")],
  ["chunked with a length", chunked("chunked\r\nContent-Length: 2")],
  ["a length with chunked", `POST /mcp/tickets HTTP/1.1\r\n${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`],
  ["two lengths", `POST /mcp/tickets HTTP/1.1\r\n${HEAD}Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}`],
  ["a signed chunk size", chunked("chunked", "+2\r\n{}\r\n0\r\n\r\n")],
  ["a chunk size in 0x", chunked("chunked", "0x2\r\n{}\r\n0\r\n\r\n")],
  ["an oversized chunk size", chunked("chunked", "10000000000000002\r\n{}\r\n0\r\n\r\n")],
  ["a chunk that is too long", chunked("chunked", "1\r\n{}\r\n0\r\n\r\n")],
  ["LF in a chunk extension", chunked("chunked", "2;a\nb\r\n{}\r\n0\r\n\r\n")],
  ["GET with a length", `GET /mcp/tickets HTTP/1.1\r\n${HEAD}Content-Length: 2\r\n\r\n{}`],
  ["GET with chunks", `GET /mcp/tickets HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
])("smuggling by %s: 400, and what follows on the connection is never served", async (name, bytes) => {
  const lived = front.lived.length;
  const socket = await dial(front);
  socket.write(bytes + SECOND, "latin1");
  // GET with a body is a framing that node reads well: the connection may live, the second request is then its own.
  const text = name.startsWith("GET") ? await readUntil(socket, isWhole) : await readUntil(socket);
  socket.destroy();
  expect(text.startsWith("HTTP/1.1 400 ")).toBe(true);
  if (!name.startsWith("GET")) expect(text.split("HTTP/1.1 ").length).toBe(2);
  expect(front.lived.length).toBe(lived);
});

test("chunked in another case is chunked", async () => {
  const body = `${LEGACY_PING.length.toString(16)}\r\n${LEGACY_PING}\r\n0\r\n\r\n`;
  expect((await knock(front, chunked("Chunked", body))).status).toBe(200);
});

test.each<[string, string | null, number]>([
  ["application/json", null, 200],
  ["application/json; charset=utf-8", null, 200],
  ['Application/JSON;charset="UTF-8"', null, 200],
  ["application/json; charset=utf-16", null, 415],
  ["application/json; charset=utf-8; x=y", null, 415],
  ["application/json, text/plain", null, 415],
  ["application/jsonp", null, 415],
  ["text/plain", null, 415],
  ["application/x-www-form-urlencoded", null, 415],
  ["", null, 415],
  ["application/json", "application/json", 406],
  ["application/json", "text/event-stream", 406],
  ["application/json", "", 406],
  ["application/json", "application/json, text/event-stream;q=0", 406],
  ["application/json", "application/jsonx, text/event-stream", 406],
  ["application/json", "*/*", 200],
  ["application/json", "application/*;q=0.5, TEXT/event-stream; q=0.1", 200],
])("Content-Type %j with Accept %j is %i", async (type, accept, status) => {
  const headers: Record<string, string> = { "Content-Type": type };
  if (accept !== null) headers.Accept = accept;
  expect((await knock(front, post(LEGACY_PING, headers))).status).toBe(status);
});

test("without Accept or Content-Type nothing is guessed", async () => {
  expect(await refusedWith(post(LEGACY_PING, { Accept: null }))).toEqual([406, "not_acceptable"]);
  expect(await refusedWith(post(LEGACY_PING, { "Content-Type": null }))).toEqual([415, "media_type"]);
});

test.each(["PUT", "PATCH", "HEAD", "TRACE", "OPTIONS", "PROPFIND"])("%s is 405 with what is allowed", async (method) => {
  const socket = await dial(front);
  socket.write(`${method} /mcp/tickets HTTP/1.1\r\nHost: gate.example\r\nX-HTTP-Method-Override: POST\r\nConnection: close\r\n\r\n`);
  const reply = parseReply(await readUntil(socket));
  expect([reply.status, reply.headers.get("allow")]).toEqual([405, "POST, GET, DELETE"]);
});

test.each(["GET", "DELETE"])("%s has no place in the newer era, and opens or ends a stream in the older one", async (method) => {
  const head = (extra: string) => `${method} /mcp/tickets HTTP/1.1\r\nHost: gate.example\r\nAccept: text/event-stream\r\n${extra}\r\n`;
  const reply = await knock(front, head("MCP-Protocol-Version: 2026-07-28\r\n"));
  expect([reply.status, reply.headers.get("allow"), reply.headers.get("content-type")]).toEqual([405, "POST", "application/problem+json"]);
  expect((await knock(front, head("Mcp-Session-Id: s\r\n"))).status).toBe(202);
  expect(front.lived.at(-1)).toMatchObject({ course: method === "GET" ? "stream" : "end", sessionId: "s", idText: null, method: null });
  expect(await refusedWith(head("MCP-Protocol-Version: garbage\r\n"))).toEqual([400, "request_malformed"]);
});

test("GET without text/event-stream is 406", async () => {
  expect(await refusedWith(get("/mcp/tickets", "Accept: text/html\r\n"))).toEqual([406, "not_acceptable"]);
});

test.each(["s p a c e", "\u00e9", "a.b", "a".repeat(5501)])("a session id that no gateway seals is unknown: %j", async (sessionId) => {
  expect(await refusedWith(line(`Mcp-Session-Id: ${sessionId}\r\n`))).toEqual([404, "session_unknown"]);
});

test("a header named __proto__ is only a name", async () => {
  expect((await knock(front, line("__proto__: x\r\nconstructor: y\r\n"))).status).toBe(200);
});

test("X-Forwarded-* is not believed from anybody who is not trusted", async () => {
  await knock(
    front,
    line("X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nX-Forwarded-Host: evil\r\n"),
  );
  expect(front.lived.at(-1)?.remoteAddress).toBe("127.0.0.1");
  expect({ ...front.lived.at(-1)?.forwarded }).toEqual({});
});

const trusted = new BlockList();
trusted.addSubnet("10.0.0.0", 8);
trusted.addSubnet("fd00::", 8, "ipv6");

test.each<[string, string, string, string]>([
  ["an untrusted peer", "203.0.113.1", "198.51.100.7", "203.0.113.1"],
  ["a trusted peer", "10.1.1.1", "198.51.100.7", "198.51.100.7"],
  ["a trusted peer, mapped", "::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"],
  ["a trusted peer, mapped in upper case", "::FFFF:10.1.1.1", "198.51.100.7", "198.51.100.7"],
  ["a trusted peer on IPv6", "fd00::1", "2001:db8::7", "2001:db8::7"],
  ["a spoofed first hop", "10.1.1.1", "1.2.3.4, 198.51.100.7", "198.51.100.7"],
  ["two trusted hops", "10.1.1.1", "198.51.100.7, 10.2.2.2", "198.51.100.7"],
  ["a mapped trusted hop", "10.1.1.1", "198.51.100.7, ::ffff:10.2.2.2", "198.51.100.7"],
  ["only trusted hops", "10.1.1.1", "10.2.2.2", "10.2.2.2"],
  ["no header", "10.1.1.1", "", "10.1.1.1"],
  ["a hop that is no address", "10.1.1.1", "198.51.100.7, evil\u0001", "10.1.1.1"],
  ["a hop with a zone", "10.1.1.1", "fe80::1%eth0", "fe80::1"],
  ["a peer that has gone", "", "198.51.100.7", ""],
])("%s: the last hop that trusted peers vouch for", (_, peer, forwardedFor, address) => {
  const headers = new Map(forwardedFor === "" ? [] : [["x-forwarded-for", forwardedFor]]);
  expect(remoteAddressOf(peer, headers, trusted)).toBe(address);
});
