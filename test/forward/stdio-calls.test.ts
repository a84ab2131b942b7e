import { expect, test } from "vitest";
import { startUpstream } from "./stdio-client.ts";
import { agentOf, call, KeptAnswer, send, textOf } from "./stdio-message.ts";

test("arguments and results keep every digit of a number that no double holds", async () => {
  const { upstream } = startUpstream();
  const { outcome } = await send(
    upstream,
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"n":9007199254740993,"f":1.10}}}',
  );
  expect(outcome.last?.toString()).toBe(
    '{"result":{"content":[],"structuredContent":{"n":9007199254740993,"f":1.10}},"jsonrpc":"2.0","id":1}',
  );
  expect(outcome.result?.toString()).toBe('{"content":[],"structuredContent":{"n":9007199254740993,"f":1.10}}');
});

test("a pretty-printed body reaches the server as one line, its strings untouched and its members unparsed", async () => {
  const { upstream } = startUpstream();
  const body =
    '{\r\n  "jsonrpc": "2.0",\n  "id": "a\\nb",\n  "method": "tools/call",\n  "params": {\n    "name": "line",\n    "arguments": { "text": "one\\ntwo" },\n    "inputResponses": {}\n  }\n}\n';
  const reply = await send(upstream, body);
  expect(textOf(reply).split("\n")).toHaveLength(1);
  expect(textOf(reply)).toMatch(/"id": [0-9]+,/);
  expect(textOf(reply).replace(/[ \r]+/g, " ")).toContain('"arguments": { "text": "one\\ntwo" }, "inputResponses": {} }');
  expect(reply.outcome.last?.toString().endsWith('"id":"a\\nb"}')).toBe(true);
});

test("two clients that use one id over one shared server each get their own answer", async () => {
  const { upstream } = startUpstream({ child: "shared" });
  const texts = ["alice", "bob", "carol"];
  const replies = await Promise.all(
    texts.map((name) => send(upstream, call("echo", { name }, { id: 7, progressToken: 7 }), { agent: agentOf(name) })),
  );
  expect(replies.map(({ outcome }) => outcome.result?.toString())).toEqual(
    texts.map((name) => `{"content":[],"structuredContent":{"name":"${name}"}}`),
  );
});

test("progress turns the answer into a stream, under the client's own token", async () => {
  const { upstream } = startUpstream();
  const { outcome, answer } = await send(upstream, call("progress", { steps: 2 }, { id: "q", progressToken: "my token" }));
  expect(answer.headers["content-type"]).toBe("text/event-stream");
  expect(answer.pieces).toEqual(
    [1, 2].map(
      (done) =>
        `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"my token","progress":${done},"total":2,"message":""}}\n\n`,
    ),
  );
  expect(outcome.last?.toString()).toMatch(/^event: message\ndata: \{"result":.*"id":"q"\}\n\n$/);
  expect(outcome.headers).toEqual({});
});

test("progress that the client did not ask for, and word that belongs to no request, go nowhere", async () => {
  const { upstream } = startUpstream();
  // The server guesses our own id for the call, which is the token where there is one.
  const { outcome, answer } = await send(upstream, call("progress", { steps: 2, guess: 2 }));
  expect(answer.started).toBe(false);
  expect(outcome.headers["content-type"]).toBe("application/json");
});

test("a client that does not read holds back a bounded part of a flood of progress", async () => {
  const { upstream } = startUpstream();
  const answer = new KeptAnswer();
  answer.stall = new Promise(() => {});
  const { outcome } = await send(upstream, call("progress", { steps: 300, pad: "x".repeat(10_000) }, { progressToken: 1 }), { answer });
  expect(outcome.kind).toBe("result");
  expect(answer.pieces.join("").length).toBeLessThan(1_100_000);
  expect(answer.pieces.length).toBeGreaterThan(90);
});

test("noise on the server's output is dropped and told, and the answer behind it passes", async () => {
  const { upstream, warnings } = startUpstream();
  const { outcome } = await send(upstream, call("garbage"));
  expect(outcome.last?.toString()).toBe('{"jsonrpc":"2.0","id":1,"result":{"content":[]}}');
  expect(warnings.filter(({ message }) => message.includes("dropped"))).toHaveLength(4);
});

test("an answer that two parsers read differently is invalid at once, not a time-out", async () => {
  const { upstream } = startUpstream();
  const { outcome } = await send(upstream, call("twice"));
  expect(outcome).toMatchObject({ kind: "unknown", sent: true, last: null, refusal: { refused: "upstream_invalid" } });
});

test("a result that is no object is invalid", async () => {
  const { upstream } = startUpstream();
  const { outcome } = await send(upstream, call("shapeless"));
  expect(outcome.refusal?.refused).toBe("upstream_invalid");
});

test("a result over the limit is refused by name, and the next call is well", async () => {
  const { upstream } = startUpstream({ maxResultBytes: 65_536 });
  const refused = async (metersResult: boolean) => {
    const { outcome } = await send(upstream, call("large", { bytes: 70_000 }), { metersResult });
    expect(outcome).toMatchObject({ kind: "unknown", sent: true });
    return outcome.refusal?.refused;
  };
  expect(await refused(true)).toBe("result_over_budget");
  expect(await refused(false)).toBe("upstream_invalid");
  const fits = await send(upstream, call("large", { bytes: 65_000 }), { metersResult: true });
  expect(textOf(fits)).toHaveLength(65_000);
});

test("an error of the server passes as its own", async () => {
  const { upstream } = startUpstream();
  const { outcome } = await send(upstream, call("failing"));
  expect(outcome).toMatchObject({ kind: "protocol_error", status: 200, refusal: null });
  expect(outcome.last?.toString()).toBe('{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such thing"}}');
});

test("what a server asks of its client is answered by the gateway: pong, or method not found", async () => {
  const { upstream } = startUpstream();
  const asked = await send(upstream, call("ask", { method: "sampling/createMessage" }));
  expect(JSON.parse(textOf(asked))).toEqual({ jsonrpc: "2.0", id: "s-1", error: { code: -32601, message: "Method not found" } });
  const pinged = await send(upstream, call("ask", { method: "ping" }));
  expect(JSON.parse(textOf(pinged))).toEqual({ jsonrpc: "2.0", id: "s-1", result: {} });
});

test("a call that takes too long is ended, and the server hears of it", async () => {
  const { upstream } = startUpstream({ timeoutMs: 1_500 });
  const { outcome } = await send(upstream, call("hang"));
  expect(outcome).toMatchObject({ kind: "timeout", sent: true, refusal: { refused: "upstream_timeout" } });
  expect(JSON.parse(textOf(await send(upstream, call("cancelled"))))).toEqual([2]);
});

test("a client that leaves cancels in 2026-07-28 and does not in the older revisions", async () => {
  const { upstream } = startUpstream();
  await send(upstream, call("pid"));
  const modern = new KeptAnswer();
  const hanging = send(upstream, call("hang"), { era: "modern", answer: modern });
  await send(upstream, call("pid"));
  modern.leave.abort();
  expect((await hanging).outcome).toMatchObject({ kind: "cancelled", refusal: null });
  const legacy = new KeptAnswer();
  legacy.leave.abort();
  expect((await send(upstream, call("pid"), { answer: legacy })).outcome.kind).toBe("result");
});

test("an older client's notifications/cancelled ends its own request, and nobody else's", async () => {
  const { upstream } = startUpstream({ child: "shared" });
  await send(upstream, call("pid"));
  const alice = agentOf("alice");
  const hanging = send(upstream, call("hang", {}, { id: "r-1" }), { agent: alice });
  const other = send(upstream, call("hang", {}, { id: "r-1" }), { agent: agentOf("bob") });
  await send(upstream, call("pid"));
  const cancellation = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\\u0072-1"}}';
  const mallory = await send(upstream, cancellation, { agent: agentOf("mallory") });
  expect(mallory.outcome).toMatchObject({ kind: "accepted", status: 202 });
  await send(upstream, cancellation, { agent: alice });
  expect((await hanging).outcome).toMatchObject({ kind: "cancelled", sent: true, headers: { "content-type": "text/event-stream" } });
  expect(JSON.parse(textOf(await send(upstream, call("cancelled"))))).toHaveLength(1);
  await upstream.close(0);
  expect((await other).outcome.refusal?.refused).toBe("upstream_unreachable");
});

test("a stopped agent's call is ended and told to the server", async () => {
  const { upstream } = startUpstream();
  await send(upstream, call("pid"));
  const stop = new AbortController();
  const hanging = send(upstream, call("hang"), { stopped: stop.signal });
  await send(upstream, call("pid"));
  stop.abort();
  expect((await hanging).outcome).toMatchObject({ kind: "cancelled", sent: true });
  expect(JSON.parse(textOf(await send(upstream, call("cancelled"))))).toHaveLength(1);
});
