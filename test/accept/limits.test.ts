import { afterEach, expect, test } from "vitest";
import { BODY_BYTES_MAX } from "../../src/call/accept/read-body.ts";
import {
  dial,
  type Front,
  type FrontOptions,
  isWhole,
  knock,
  LEGACY_PING,
  openFront,
  parseReply,
  post,
  readUntil,
  reasonOf,
} from "./front.ts";

const open: Front[] = [];
const front = async (options: FrontOptions = {}) => {
  const opened = await openFront(options);
  open.push(opened);
  return opened;
};
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ listener }) => listener.close()));
});

const padded = (bytes: number) => {
  const [head, tail] = ['{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"', '"}}'];
  return `${head}${"a".repeat(bytes - head.length - tail.length)}${tail}`;
};
const HEAD = "POST /mcp/tickets HTTP/1.1\r\nHost: gate.example\r\nContent-Type: application/json\r\nAccept: */*\r\n";

test("a body of exactly 4 MiB is read, one byte more is not", async () => {
  const gate = await front();
  expect((await knock(gate, post(padded(BODY_BYTES_MAX)))).status).toBe(200);
  expect(gate.lived[0]?.body.length).toBe(BODY_BYTES_MAX);
  expect((await knock(gate, post(padded(BODY_BYTES_MAX + 1)))).status).toBe(413);
  expect(gate.lived.length).toBe(1);
});

test("a declared length over the limit is refused before a byte of it is sent", async () => {
  const gate = await front();
  const reply = await knock(gate, `${HEAD}Content-Length: 1073741824\r\n\r\n`);
  expect([reply.status, reasonOf(reply), reply.headers.get("connection")]).toEqual([413, "request_too_large", "close"]);
});

test("chunks over the limit are refused, and the client can read it while it still sends", async () => {
  const gate = await front();
  const socket = await dial(gate);
  const answer = readUntil(socket);
  // A client that looks for an answer only when it has sent everything.
  socket.pause();
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = `${(65_536).toString(16)}\r\n${"a".repeat(65_536)}\r\n`;
  for (let i = 0; i < 160 && !socket.destroyed; i++) {
    if (!socket.write(chunk)) await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), closed]);
  }
  socket.resume();
  const reply = parseReply(await answer);
  expect([reply.status, reasonOf(reply), reply.headers.get("connection")]).toEqual([413, "request_too_large", "close"]);
  expect(gate.lived).toEqual([]);
});

test("a flood of one-byte chunks ends long before the limit of bytes", async () => {
  const gate = await front();
  const socket = await dial(gate);
  const answer = readUntil(socket);
  socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${"1\r\n \r\n".repeat(70_000)}`);
  expect(parseReply(await answer).status).toBe(413);
});

test("a body in many pieces is put together as it was", async () => {
  const gate = await front();
  const body = padded(300_000);
  const pieces = body.match(/.{1,997}/gs) ?? [];
  const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
  expect((await knock(gate, `${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`)).status).toBe(200);
  expect(gate.lived[0]?.body.toString()).toBe(body);
});

test("100 Continue is said only to a head that was judged", async () => {
  const gate = await front();
  const socket = await dial(gate);
  socket.write(`${HEAD}Expect: 100-continue\r\nContent-Length: ${LEGACY_PING.length}\r\n\r\n`);
  expect(await readUntil(socket, (text) => text.endsWith("\r\n\r\n"))).toMatch(/^HTTP\/1.1 100 /);
  const whole = readUntil(socket, isWhole);
  socket.write(LEGACY_PING);
  expect(parseReply(await whole).status).toBe(200);
  socket.destroy();
  const late = await dial(gate);
  late.write(`${HEAD}Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n`);
  expect(await readUntil(late)).toMatch(/^HTTP\/1.1 413 /);
});

test("a body that stops is 408, a head that stops is cut with 408", async () => {
  const gate = await front({ timeouts: { headersMs: 150, bodyMs: 150 } });
  const body = await knock(gate, `${HEAD}Content-Length: 1000\r\n\r\n{`);
  expect([body.status, reasonOf(body), body.headers.get("connection")]).toEqual([408, "request_timeout", "close"]);
  const socket = await dial(gate);
  socket.write("POST /mcp/tickets HTTP/1.1\r\nHost: gate.exa");
  expect(parseReply(await readUntil(socket)).status).toBe(408);
  const silent = await dial(gate);
  expect(await readUntil(silent)).toMatch(/^HTTP\/1.1 408 /);
  expect(gate.parserRefusals).toBe(2);
});

test("a kept connection that idles is closed without a word", async () => {
  const gate = await front({ timeouts: { idleMs: 50 } });
  const socket = await dial(gate);
  socket.write(post(LEGACY_PING));
  const text = await readUntil(socket);
  expect(text.match(/HTTP\/1.1/g)).toHaveLength(1);
  expect(text).toMatch(/^HTTP\/1.1 200 /);
});

test("a client that leaves while it sends is nobody's request", async () => {
  const gate = await front();
  const socket = await dial(gate);
  socket.write(`${HEAD}Content-Length: 1000\r\n\r\n{`);
  socket.destroy();
  expect((await knock(gate, post(LEGACY_PING))).status).toBe(200);
  expect([gate.lived.length, gate.refused.length, gate.faults.length]).toEqual([1, 0, 0]);
});

test("a client that resets after CONNECT or an upgrade does not end the process", async () => {
  const gate = await front();
  for (const head of [
    "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
  ]) {
    const socket = await dial(gate);
    socket.write(head);
    socket.resetAndDestroy();
  }
  expect((await knock(gate, post(LEGACY_PING))).status).toBe(200);
});

test("requests in a pipeline are answered in their order", async () => {
  const gate = await front();
  const socket = await dial(gate);
  socket.write(Buffer.concat([1, 2, 3].map((id) => post(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`))));
  const text = await readUntil(socket, (received) => received.includes('"id":3'));
  expect([...text.matchAll(/"id":(\d)/g)].map(([, id]) => id)).toEqual(["1", "2", "3"]);
  socket.destroy();
});

test("garbage behind a request that is still under way never becomes its answer", async () => {
  let release = () => {};
  const gate = await front({ live: (_, answer) => (release = () => answer.last(null)) });
  const socket = await dial(gate);
  socket.write(Buffer.concat([post(LEGACY_PING), Buffer.from("GARBAGE\r\n\r\n")]));
  expect(await readUntil(socket)).toBe("");
  release();
  expect(gate.parserRefusals).toBe(1);
});

test("a bug on the way is a 500 with the call's id and nothing else", async () => {
  const gate = await front({
    live: () => {
      throw new Error("canary");
    },
  });
  const reply = await knock(gate, post(LEGACY_PING));
  expect(reply.status).toBe(500);
  expect(reply.text).not.toContain("canary");
  expect(JSON.parse(reply.body).error.data).toMatchObject({ title: "Internal error", call_id: gate.lived[0]?.callId });
  expect(gate.faults).toHaveLength(1);
});

test("a drain lets a call end, refuses what follows it on old connections, and takes no new ones", async () => {
  let finish = () => {};
  const gate = await front({
    live: ({ idText }, answer) => {
      finish = () => {
        answer.head(200, { "content-type": "application/json", "content-length": "2" });
        answer.last(Buffer.from(idText === null ? "[]" : "{}"));
      };
    },
  });
  const [busy, late] = [await dial(gate), await dial(gate)];
  busy.write(post(LEGACY_PING));
  late.write(`${HEAD}Content-Length: 1\r\n`);
  while (gate.lived.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  gate.listener.drain();
  late.write("\r\n{");
  const refused = parseReply(await readUntil(late));
  expect([refused.status, refused.headers.get("connection"), refused.headers.get("retry-after")]).toEqual([503, "close", "1"]);
  expect(refused.body).toContain("overloaded");
  await expect(dial(gate)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  finish();
  const served = parseReply(await readUntil(busy));
  expect([served.status, served.body, served.headers.get("connection")]).toEqual([200, "{}", "close"]);
  await gate.listener.close();
});

test("a stream that was open before the drain ends in peace, and its connection with it", async () => {
  let finish = () => {};
  const gate = await front({
    live: (_, answer) => {
      answer.head(200, { "content-type": "text/event-stream" });
      finish = () => answer.last(Buffer.from("data: end\n\n"));
    },
  });
  const socket = await dial(gate);
  socket.write(post(LEGACY_PING));
  await readUntil(socket, (text) => text.includes("\r\n\r\n"));
  gate.listener.drain();
  finish();
  expect(await readUntil(socket)).toContain("data: end");
});
