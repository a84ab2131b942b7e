/** Nothing waits for what comes after it, in either direction; who leaves, or runs out of time, ends the upstream's work too. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { startBadUpstream } from "../fixtures/bad-upstream.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { type Asking, alice, MODERN_META, request, send, upstreamAt } from "./http-client.ts";
import { KeptAnswer, NO_CREDENTIAL } from "./stdio-message.ts";

const RESULT = '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"done"}]}}';
const progress = (n: number) =>
  `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":${n}}}\n\n`;
const final = `event: message\nid: 9\ndata: ${RESULT}\n\n`;
const CALL = request("tools/call", { name: "slow", arguments: {} });
const GET: Asking = { era: "legacy", head: { httpMethod: "GET", sessionId: "s1" } };

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A server whose answers are the test's to write, piece by piece. */
async function manual() {
  const arrived = Promise.withResolvers<{ req: IncomingMessage; res: ServerResponse; closed: Promise<void> }>();
  const door: Door = await openDoor((req, res) => {
    const closed = Promise.withResolvers<void>();
    res.on("close", closed.resolve).on("error", () => {});
    arrived.resolve({ req, res, closed: closed.promise });
  });
  const upstream = upstreamAt(`${door.url}/mcp`, { timeoutMs: 20_000 });
  closing.push(
    () => door.close(),
    () => upstream.close(0),
  );
  return { door, upstream, arrived: arrived.promise };
}

function stream(res: ServerResponse): ServerResponse {
  res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
  return res;
}

/** An answer whose pieces can be waited for. */
class WatchedAnswer extends KeptAnswer {
  #waiting: { count: number; resolve: () => void }[] = [];
  override piece(bytes: Uint8Array): Promise<void> | undefined {
    const stalled = super.piece(bytes);
    for (const { count, resolve } of this.#waiting) if (this.pieces.length >= count) resolve();
    return stalled;
  }
  until(count: number): Promise<void> {
    if (this.pieces.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }
}

test("each event is the client's before the next one exists", async () => {
  const { upstream, arrived } = await manual();
  const answer = new WatchedAnswer();
  const outcome = send(upstream, CALL, { answer });
  const { res } = await arrived;
  stream(res);
  for (const n of [1, 2, 3]) {
    res.write(progress(n));
    // Written only after the one before has passed: a gateway that gathers waits here for ever.
    await answer.until(n);
    expect(answer.pieces.at(-1)).toBe(progress(n));
  }
  res.write(final);
  expect((await outcome).last?.toString()).toBe(final);
  expect(answer.pieces).toHaveLength(3);
  expect(answer.status).toBe(200);
});

test("the head of a stream is the client's before its first event exists", async () => {
  const { upstream, arrived } = await manual();
  const head = Promise.withResolvers<void>();
  const answer = new KeptAnswer();
  answer.head = (status) => {
    expect(status).toBe(200);
    head.resolve();
  };
  const outcome = send(upstream, CALL, { answer });
  const { res } = await arrived;
  stream(res);
  await head.promise;
  res.write(final);
  await outcome;
});

test("comments and keep-alives pass as they are; the answer never passes before its settlement", async () => {
  const { upstream, arrived } = await manual();
  const answer = new KeptAnswer();
  const outcome = send(upstream, CALL, { answer });
  const { res } = await arrived;
  stream(res).write(`: ping\n\nretry: 10\n\n${progress(1)}${final}`);
  expect((await outcome).kind).toBe("result");
  expect(answer.pieces).toEqual([": ping\n\n", "retry: 10\n\n", progress(1)]);
});

test("an event of a server's own type is no message: clients do not read it, and neither does the gateway", async () => {
  const { upstream, arrived } = await manual();
  const answer = new KeptAnswer();
  const outcome = send(upstream, CALL, { answer });
  const { res } = await arrived;
  stream(res).write(`event: ping\ndata: 2026-01-01\n\nevent: other\ndata: ${RESULT.replace("done", "hidden")}\n\n${final}`);
  expect((await outcome).resultTexts).toEqual(["done"]);
  expect(answer.pieces.join("")).not.toContain("hidden");
});

test("a server's own request passes in the older era, and is dropped in 2026-07-28", async () => {
  const asks = 'data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}\n\n';
  for (const [era, passes] of [
    ["legacy", [asks]],
    ["modern", []],
  ] as const) {
    const { upstream, arrived } = await manual();
    const answer = new KeptAnswer();
    const outcome = send(upstream, CALL, { answer, era });
    const { res } = await arrived;
    stream(res).write(asks + final);
    expect((await outcome).kind).toBe("result");
    expect(answer.pieces).toEqual(passes);
  }
});

test("a slow client slows its upstream down: nothing is read while a piece waits", async () => {
  const { upstream, arrived } = await manual();
  const answer = new WatchedAnswer();
  const stall = Promise.withResolvers<void>();
  answer.stall = stall.promise;
  const outcome = send(upstream, CALL, { answer });
  const { res } = await arrived;
  stream(res);
  const event = progress(1).replace("1}", `1,"message":"${"x".repeat(60_000)}"}`);
  // 24 MB are more than the sockets between hold.
  let full = false;
  for (let i = 0; i < 400; i++) full = !res.write(event) || full;
  await answer.until(1);
  // Chances to read on, each worth 64 kB.
  for (let i = 0; i < 100; i++) await new Promise(setImmediate);
  expect(full).toBe(true);
  expect(answer.pieces).toHaveLength(1);
  expect(res.writableLength).toBeGreaterThan(10_000_000);
  answer.stall = undefined;
  stall.resolve();
  res.end(final);
  expect((await outcome).kind).toBe("result");
  expect(answer.pieces).toHaveLength(400);
});

test("in 2026-07-28 a client that leaves ends its call at the upstream", async () => {
  for (const begin of ["nothing", "head", "event"] as const) {
    const { upstream, arrived } = await manual();
    const answer = new WatchedAnswer();
    const outcome = send(upstream, CALL, { answer });
    const { res, closed } = await arrived;
    if (begin !== "nothing") stream(res);
    if (begin === "event") {
      res.write(progress(1));
      await answer.until(1);
    }
    answer.leave.abort();
    await closed;
    expect(res.writableFinished).toBe(false);
    expect(await outcome).toMatchObject({ kind: "cancelled", sent: true, refusal: null, last: null });
  }
});

test("a real server of 2026-07-28 hears the cancellation", async () => {
  const real = await startHttpUpstream();
  const upstream = upstreamAt(real.mcpUrl);
  closing.push(
    () => real.close(),
    () => upstream.close(0),
  );
  const answer = new WatchedAnswer();
  const params = { name: "slow", arguments: { ms: 15_000, steps: 100, nonce: "n1" }, _meta: { progressToken: "p" } };
  const outcome = send(upstream, request("tools/call", params), {
    answer,
    head: { forwarded: { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "slow" } },
  });
  await answer.until(1);
  answer.leave.abort();
  expect((await outcome).kind).toBe("cancelled");
  await expect.poll(() => real.cancelled, { timeout: 10_000 }).toEqual(["n1"]);
});

test("up to 2025-11-25 leaving is not cancelling: the call ends as it would have", async () => {
  const { upstream, arrived } = await manual();
  const answer = new KeptAnswer();
  const outcome = send(upstream, CALL, { answer, era: "legacy" });
  const { res } = await arrived;
  stream(res);
  answer.leave.abort();
  res.write(progress(1) + final);
  expect(await outcome).toMatchObject({ kind: "result", sent: true, resultTexts: ["done"] });
});

test("a job that is stopped, or out of time, ends at the upstream too, in both eras", async () => {
  const bad = await startBadUpstream();
  closing.push(() => bad.close());
  for (const era of ["modern", "legacy"] as const) {
    const before = bad.abandoned();
    const late = upstreamAt(bad.badUrl("hang-after-progress"), { timeoutMs: 100 });
    expect(await send(late, CALL, { era })).toMatchObject({ kind: "timeout", sent: true, refusal: { refused: "upstream_timeout" } });
    await expect.poll(bad.abandoned).toBe(before + 1);

    const stopped = new AbortController();
    const answer = new WatchedAnswer();
    const upstream = upstreamAt(bad.badUrl("hang-after-progress"));
    const outcome = send(upstream, CALL, { era, answer, stopped: stopped.signal });
    await answer.until(1);
    stopped.abort();
    expect(await outcome).toMatchObject({ kind: "cancelled", sent: true, refusal: { refused: "overloaded" } });
    await expect.poll(bad.abandoned).toBe(before + 2);
    await Promise.all([late.close(0), upstream.close(0)]);
  }
});

test("a stream that stays open after its answer is let go", async () => {
  const { upstream, arrived } = await manual();
  const outcome = send(upstream, CALL);
  const { res, closed } = await arrived;
  stream(res).write(final);
  expect((await outcome).kind).toBe("result");
  await closed;
  expect(res.writableFinished).toBe(false);
});

test("a stream that ends in half an event is invalid, in a CR is not", async () => {
  const half = await manual();
  const first = send(half.upstream, CALL);
  stream((await half.arrived).res).end(`data: ${RESULT}\n`);
  expect((await first).refusal?.refused).toBe("upstream_invalid");
  const whole = await manual();
  const second = send(whole.upstream, CALL);
  stream((await whole.arrived).res).end(`data: ${RESULT}\r\r`);
  const { kind, last } = await second;
  expect([kind, last?.toString()]).toEqual(["result", `data: ${RESULT}\r\r\n`]);
});

/** Up to 2025-11-25: the POST gets `first`, each GET the next of `later`, with a status of its own where it is a number. */
async function polled(first: string, later: readonly (string | number)[], { breaks = false, kept = true } = {}) {
  const asked: [method: string | undefined, lastEventId: unknown, session: unknown][] = [];
  const door = await openDoor((req, res) => {
    asked.push([req.method, req.headers["last-event-id"], req.headers["mcp-session-id"]]);
    const says = req.method === "POST" ? first : (later[asked.length - 2] ?? 405);
    if (typeof says === "number") return void res.writeHead(says).end();
    stream(res).write(says, () => (breaks && req.method === "POST" ? res.destroy() : res.end()));
  });
  const sessions = {
    seal: () => null,
    eventId: (_: unknown, __: unknown, id: string) => id,
    isCut: () => false,
    isKept: () => kept,
    isWithheld: () => false,
    underWay: () => null,
  };
  const upstream = upstreamAt(`${door.url}/mcp`, { timeoutMs: 20_000, sessions });
  closing.push(
    () => door.close(),
    () => upstream.close(0),
  );
  const answer = new KeptAnswer();
  const ask = (era: "legacy" | "modern") => send(upstream, CALL, { answer, era, head: { sessionId: era === "legacy" ? "s1" : null } });
  return { ask, asked, answer };
}

const BEGINS = "id: e1\nretry: 20\ndata:\n\n";

test("a stream that its server ends before the answer is gone on with there, and the client hears one stream", async () => {
  for (const breaks of [false, true]) {
    const { ask, asked, answer } = await polled(BEGINS, [409, `id: e2\n${progress(1)}`, final], { breaks });
    const { kind, refusal, last, bytesIn } = await ask("legacy");
    expect([kind, refusal, last?.toString()]).toEqual(["result", null, final]);
    expect(answer.pieces).toEqual([BEGINS, `id: e2\n${progress(1)}`]);
    expect(bytesIn).toBe([...answer.pieces, final].join("").length);
    expect(asked).toEqual([
      ["POST", undefined, "s1"],
      ["GET", "e1", "s1"],
      ["GET", "e1", "s1"],
      ["GET", "e2", "s1"],
    ]);
  }
});

test("where nothing has to be counted or guarded the client hears that the stream has ended, and may resume it itself", async () => {
  const { ask, asked, answer } = await polled(BEGINS, [final], { kept: false });
  expect(await ask("legacy")).toMatchObject({ kind: "unknown", sent: true, refusal: null });
  expect([answer.pieces, asked.length]).toEqual([[BEGINS], 1]);
});

test("what a server replays for others is not this request's", async () => {
  const other = 'id: e2\ndata: {"jsonrpc":"2.0","id":2,"result":{"content":[]}}\n\n';
  const { ask, answer } = await polled(BEGINS, [`${other}${final}`]);
  expect((await ask("legacy")).kind).toBe("result");
  expect(answer.pieces).toEqual([BEGINS]);
});

test("a stream that nobody goes on with is invalid: at once where the server says so, after six tries where it is away, and in 2026-07-28", async () => {
  for (const [era, later, gets] of [
    ["legacy", [405], 1],
    ["legacy", [404], 1],
    ["legacy", [503, 503, 409, 503, 409, 503, final], 6],
    ["modern", [final], 0],
  ] as const) {
    const { ask, asked } = await polled(BEGINS, later);
    const { kind, sent, refusal } = await ask(era);
    expect([kind, sent, refusal?.refused]).toEqual(["unknown", true, "upstream_invalid"]);
    expect(asked.length).toBe(1 + gets);
  }
  // Without an id there is nothing to go on from.
  const { ask, asked } = await polled(progress(1), [final]);
  expect((await ask("legacy")).refusal?.refused).toBe("upstream_invalid");
  expect(asked.length).toBe(1);
});

test("a GET stream passes as it comes until its client leaves, and ends when the agent's token does", async () => {
  const { upstream, arrived } = await manual();
  const answer = new WatchedAnswer();
  const outcome = send(upstream, null, { ...GET, answer });
  const { res, closed } = await arrived;
  const asks = 'id: 1\ndata: {"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{}}\n\n';
  stream(res).write(`${asks}: ping\n\n`);
  await answer.until(2);
  expect(answer.pieces).toEqual([asks, ": ping\n\n"]);
  answer.leave.abort();
  await closed;
  expect(await outcome).toMatchObject({ kind: "stream", sent: true, refusal: null, last: null });

  const again = await manual();
  const short = send(again.upstream, null, { ...GET, agent: alice(Date.now() + 300) });
  stream((await again.arrived).res);
  expect((await short).kind).toBe("stream");
});

test("a GET stream is cut at an event over 4 MiB, and drops what is not MCP", async () => {
  const { upstream, arrived } = await manual();
  const answer = new KeptAnswer();
  const outcome = send(upstream, null, { ...GET, answer });
  stream((await arrived).res).write(`data: hello\n\nevent: x\ndata: {}\n\n${progress(1)}data: ${"x".repeat(4_194_304)}`);
  expect((await outcome).kind).toBe("stream");
  expect(answer.pieces).toEqual([progress(1)]);
});

test("a list that is resumed on a GET stream is filtered there, or does not pass", async () => {
  const list = '{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a"},{"name":"hidden"}]}}';
  const run = async (asking: Asking) => {
    const { upstream, arrived } = await manual();
    const answer = new KeptAnswer();
    const outcome = send(upstream, null, { ...GET, ...asking, answer });
    stream((await arrived).res).end(`id: e2\ndata: ${list}\n\n${final}`);
    await outcome;
    return answer.pieces;
  };
  expect(await run({})).toEqual([final]);
  expect(await run({ visible: ({ name }) => name === "a" })).toEqual([
    'id: e2\ndata: {"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a"}]}}\n\n',
    final,
  ]);
});

test("tools/list as a stream is filtered in its last event, which keeps its id", async () => {
  const { upstream, arrived } = await manual();
  const outcome = send(upstream, request("tools/list"), { visible: ({ name }) => name === "a" });
  stream((await arrived).res).end(
    'id: 4\nevent: message\ndata: {"jsonrpc":"2.0","id":1,\ndata: "result":{"tools":[{"name":"b"},{"name":"a"}]}}\n\n',
  );
  expect((await outcome).last?.toString()).toBe(
    'id: 4\nevent: message\ndata: {"jsonrpc":"2.0","id":1,\ndata: "result":{"cacheScope":"private","tools":[{"name":"a"}]}}\n\n',
  );
});

test("a change that a server announces on its GET stream is a change of its catalogue", async () => {
  const legacy = await startLegacyUpstream();
  const upstream = upstreamAt(legacy.mcpUrl);
  closing.push(
    () => legacy.close(),
    () => upstream.close(0),
  );
  const opening = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
  await send(upstream, request("initialize", opening), { era: "legacy" });
  const [sessionId = "none"] = legacy.sessions();
  const head = { sessionId, forwarded: { "mcp-protocol-version": "2025-11-25" } };
  await send(upstream, { jsonrpc: "2.0", method: "notifications/initialized" }, { era: "legacy", head });
  const lists = () => legacy.received.filter(({ body }) => body.includes('"tools/list"')).length;
  expect(await upstream.definition("echo", alice(), NO_CREDENTIAL)).toMatchObject({ name: "echo" });
  const once = lists();
  await upstream.definition("echo", alice(), NO_CREDENTIAL);
  expect(lists()).toBe(once);

  const answer = new WatchedAnswer();
  const opened = Promise.withResolvers<void>();
  answer.head = () => opened.resolve();
  const outcome = send(upstream, null, { era: "legacy", answer, head: { ...head, httpMethod: "GET" } });
  await opened.promise;
  legacy.toolsChanged();
  await answer.until(1);
  expect(answer.pieces[0]).toContain("notifications/tools/list_changed");
  await upstream.definition("echo", alice(), NO_CREDENTIAL);
  expect(lists()).toBeGreaterThan(once);
  answer.leave.abort();
  await outcome;
});

test("subscriptions/listen lives until its client leaves, however short a call's time is", async () => {
  const { door, arrived } = await manual();
  const upstream = upstreamAt(`${door.url}/mcp`, { timeoutMs: 50 });
  closing.push(() => upstream.close(0));
  const answer = new WatchedAnswer();
  const outcome = send(upstream, request("subscriptions/listen", { notifications: { toolsListChanged: true }, _meta: MODERN_META }), {
    answer,
  });
  const { res, closed } = await arrived;
  stream(res);
  for (const n of [1, 2, 3]) {
    await new Promise((resolve) => setTimeout(resolve, 40));
    res.write(progress(n));
    await answer.until(n);
  }
  answer.leave.abort();
  await closed;
  expect(await outcome).toMatchObject({ kind: "cancelled", sent: true });
});
