/** What the books must know of a call that broke off: whether a byte of it can have reached the upstream. */
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createWire } from "../../src/call/forward/http-wire.ts";
import { refuse } from "../../src/refusal.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { request, send, upstreamAt } from "./http-client.ts";
import { KeptAnswer } from "./stdio-message.ts";

const CALL = request("tools/call", { name: "echo", arguments: {} });
const RESULT = '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}';
const ISSUED = { kind: "bearer", headers: { authorization: "Bearer one" }, expiresAtMs: null, shareKey: "one" } as const;
const FRESH = { kind: "bearer", headers: { authorization: "Bearer two" }, expiresAtMs: null, shareKey: "two" } as const;

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function door(handler: Parameters<typeof openDoor>[0]): Promise<Door> {
  const opened = await openDoor(handler);
  closing.push(() => opened.close());
  return opened;
}

/** A listener below HTTP. */
async function socketServer(onSocket: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer((socket) => onSocket(socket.on("error", () => {})));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => server.close());
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

test("a server that is down was sent nothing", async () => {
  const gone = await openDoor(() => {});
  await gone.close();
  const outcome = await send(upstreamAt(`${gone.url}/mcp`), CALL);
  expect(outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_unreachable" } });
});

test("a name that does not resolve was sent nothing, and the refusal says neither name nor address", async () => {
  const outcome = await send(upstreamAt("http://nowhere.invalid/mcp"), CALL);
  expect(outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_unreachable", facts: {} } });
});

test("a failed TLS handshake was sent nothing", async () => {
  const host = await socketServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const upstream = upstreamAt(`https://${host}/mcp`);
  expect(await send(upstream, CALL)).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_unreachable" } });
  await upstream.close(0);
});

test("a server that takes the request and hangs up may have run it", async () => {
  const host = await socketServer((socket) => socket.once("data", () => socket.destroy()));
  const upstream = upstreamAt(`http://${host}/mcp`);
  expect(await send(upstream, CALL)).toMatchObject({ kind: "unknown", sent: true, refusal: { refused: "upstream_unreachable" } });
});

test.each([
  ["not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
  ["two content lengths", `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 47\r\nContent-Length: 3\r\n\r\n${RESULT}`],
  ["101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"],
  ["a header over 16 kB", `HTTP/1.1 200 OK\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n${RESULT}`],
  ["a broken chunk", `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${RESULT}`],
])("an answer that is %s leaves the fate unknown and the process alive", async (_, text) => {
  const host = await socketServer((socket) => socket.once("data", () => socket.write(text)));
  const upstream = upstreamAt(`http://${host}/mcp`);
  const outcome = await send(upstream, CALL);
  expect(outcome).toMatchObject({ kind: "unknown", sent: true, last: null, refusal: { refused: "upstream_unreachable" } });
  await upstream.close(0);
});

test("a call under way when the gateway gives up draining may have run", async () => {
  const arrived = Promise.withResolvers<void>();
  const { url } = await door(() => arrived.resolve());
  const upstream = upstreamAt(`${url}/mcp`);
  const outcome = send(upstream, CALL);
  await arrived.promise;
  await upstream.close(0);
  expect(await outcome).toMatchObject({ kind: "unknown", sent: true, refusal: { refused: "upstream_unreachable" } });
  expect(await send(upstream, CALL)).toMatchObject({ kind: "not_sent", sent: false });
});

test("a call whose time ends while it waits for a connection was not sent, and does not wait longer", async () => {
  // The handshake never ends: the port takes the connection and says nothing.
  const host = await socketServer(() => {});
  const upstream = upstreamAt(`https://${host}/mcp`, { timeoutMs: 50 });
  const outcome = await send(upstream, CALL);
  expect(outcome).toMatchObject({ kind: "timeout", sent: false, refusal: { refused: "upstream_timeout" } });
  const answer = new KeptAnswer();
  const left = send(upstreamAt(`https://${host}/mcp`), CALL, { answer });
  answer.leave.abort();
  expect(await left).toMatchObject({ kind: "cancelled", sent: false, refusal: null });
  const stopped = new AbortController();
  const halted = send(upstreamAt(`https://${host}/mcp`), CALL, { stopped: stopped.signal });
  stopped.abort();
  expect(await halted).toMatchObject({ kind: "cancelled", sent: false, refusal: { refused: "overloaded" } });
});

test("beyond the connections, requests wait; one that is called off there is never sent", async () => {
  const arrived = Promise.withResolvers<void>();
  const { url, received } = await door((_, res, body) => {
    if (body.toString() === "first") arrived.resolve();
    else res.writeHead(202).end();
  });
  const wire = createWire(url, 1);
  const [one, two] = [new AbortController(), new AbortController()];
  const first = wire.send("POST", {}, Buffer.from("first"), one.signal);
  await arrived.promise;
  const departure = { left: false };
  const second = wire.send("POST", {}, Buffer.from("second"), two.signal, departure);
  two.abort();
  await expect(second).rejects.toThrow("ended before it was sent");
  expect(departure.left).toBe(false);
  one.abort();
  await expect(first).rejects.toThrow();
  const third = await wire.send("POST", {}, Buffer.from("third"), new AbortController().signal);
  await third.body.readAway(100);
  expect(received.map(({ body }) => body.toString())).toEqual(["first", "third"]);
  await wire.close(0);
});

test("a refused credential is renewed once, and the call runs once", async () => {
  const { url, received } = await door((req, res) => {
    if (req.headers.authorization !== "Bearer two") res.writeHead(401, { "www-authenticate": "Bearer" }).end("no");
    else res.writeHead(200, { "content-type": "application/json" }).end(RESULT);
  });
  const upstream = upstreamAt(`${url}/mcp`, { reissue: () => FRESH });
  expect(await send(upstream, CALL, { issued: ISSUED })).toMatchObject({ kind: "result", sent: true });
  expect(received.map(({ headers }) => headers.authorization)).toEqual(["Bearer one", "Bearer two"]);
  await upstream.close(0);
});

test("a call that was refused once and ran out of time before its second try was never run", async () => {
  const { url } = await door((_, res) => void res.writeHead(401, { "content-length": 5 }).write("no"));
  const upstream = upstreamAt(`${url}/mcp`, { timeoutMs: 200, reissue: () => FRESH });
  expect(await send(upstream, CALL, { issued: ISSUED })).toMatchObject({
    kind: "timeout",
    sent: false,
    refusal: { refused: "upstream_timeout" },
  });
  await upstream.close(0);
});

test("a call that was refused once and then found nobody was never run", async () => {
  const { url, close } = await door((_, res) => void res.writeHead(401, { connection: "close" }).end());
  const reissue = async () => {
    await close();
    return FRESH;
  };
  const upstream = upstreamAt(`${url}/mcp`, { reissue });
  expect(await send(upstream, CALL, { issued: ISSUED })).toMatchObject({
    kind: "not_sent",
    sent: false,
    refusal: { refused: "upstream_unreachable" },
  });
});

test.each([401, 403])("refused again with %i, or given the same credential again, it is exchange_failed and free", async (status) => {
  const { url, received } = await door((_, res) => void res.writeHead(status, { "www-authenticate": "Bearer" }).end("no"));
  const renewing = upstreamAt(`${url}/mcp`, { reissue: () => FRESH });
  const free = { kind: "http_error", sent: false, status, last: null, headers: {}, refusal: { refused: "exchange_failed", facts: {} } };
  expect(await send(renewing, CALL, { issued: ISSUED })).toMatchObject(free);
  expect(received).toHaveLength(2);
  expect(await send(upstreamAt(`${url}/mcp`, { reissue: () => ISSUED }), CALL, { issued: ISSUED })).toMatchObject(free);
  expect(received).toHaveLength(3);
  expect(await send(upstreamAt(`${url}/mcp`, { reissue: () => refuse("exchange_failed") }), CALL, { issued: ISSUED })).toMatchObject(free);
  expect(received).toHaveLength(4);
  await renewing.close(0);
});

test("a cloud metadata address is never dialled", async () => {
  expect(() => upstreamAt("http://169.254.169.254/mcp")).toThrow("not allowed");
  expect(() => upstreamAt("http://[fd00:ec2::254]/mcp")).toThrow("not allowed");
});
