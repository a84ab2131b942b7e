import { join } from "node:path";
import { expect, test } from "vitest";
import { startUpstream } from "./stdio-client.ts";
import { agentOf, call, NO_CREDENTIAL, type Reply, send, textOf } from "./stdio-message.ts";

const EVERYTHING = join(import.meta.dirname, "../../node_modules/@modelcontextprotocol/server-everything/dist/index.js");

const rpc = (method: string, params: object = {}) => ({ jsonrpc: "2.0", id: 1, method, params });
const initialize = (protocolVersion: string) =>
  rpc("initialize", { protocolVersion, capabilities: { sampling: {} }, clientInfo: { name: "t", version: "1" } });
const resultOf = ({ outcome }: Reply) => (JSON.parse(outcome.last?.toString() ?? "null") as { result: Record<string, unknown> }).result;

test.each(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])(
  "initialize is answered in the client's revision %s, without a session",
  async (revision) => {
    const { upstream } = startUpstream();
    const reply = await send(upstream, initialize(revision));
    expect(reply.outcome).toMatchObject({ kind: "result", status: 200, headers: { "content-type": "application/json" } });
    expect(resultOf(reply)).toEqual({
      protocolVersion: revision,
      capabilities: { tools: {}, resources: {}, prompts: {} },
      serverInfo: { name: "stdio-fixture", version: "1.0.0" },
      instructions: "Be kind.",
    });
  },
);

test("initialize in a revision that is unknown here is answered in the newest of its era", async () => {
  const { upstream } = startUpstream();
  expect(resultOf(await send(upstream, initialize("2031-01-01"))).protocolVersion).toBe("2025-11-25");
});

test("server/discover offers the same server to a modern client", async () => {
  const { upstream } = startUpstream();
  expect(resultOf(await send(upstream, rpc("server/discover"), { era: "modern" }))).toEqual({
    resultType: "complete",
    supportedVersions: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
    capabilities: { tools: {}, resources: {}, prompts: {} },
    instructions: "Be kind.",
    ttlMs: 0,
    cacheScope: "private",
    _meta: { "io.modelcontextprotocol/serverInfo": { name: "stdio-fixture", version: "1.0.0" } },
  });
});

test("ping is answered, notifications are accepted, and neither GET nor DELETE has anything here", async () => {
  const { upstream } = startUpstream();
  expect(resultOf(await send(upstream, { jsonrpc: "2.0", id: 1, method: "ping" }))).toEqual({});
  const accepted = await send(upstream, { jsonrpc: "2.0", method: "notifications/initialized" });
  expect(accepted.outcome).toMatchObject({ kind: "accepted", status: 202, last: null, refusal: null });
  for (const httpMethod of ["GET", "DELETE"] as const) {
    const { outcome } = await send(upstream, "", { httpMethod });
    expect(outcome).toMatchObject({ sent: false, refusal: { refused: "http_method", facts: { allow: "POST" } } });
  }
});

test("a result carries what 2026-07-28 requires, beside what the server says itself", async () => {
  const { upstream } = startUpstream();
  const read = rpc("resources/read", { uri: "test://a" });
  expect((await send(upstream, read, { era: "modern" })).outcome.last?.toString()).toBe(
    '{"result":{"resultType":"complete","cacheScope":"private","contents":[{"uri":"test://a","text":"read"}],"ttlMs":5},"jsonrpc":"2.0","id":1}',
  );
  expect(resultOf(await send(upstream, read))).toEqual({ contents: [{ uri: "test://a", text: "read" }], ttlMs: 5 });
  const called = await send(upstream, call("pid"), { era: "modern" });
  expect(Object.keys(resultOf(called))).toEqual(["resultType", "content"]);
  // What is recorded of a result is what the server said.
  expect(called.outcome.result?.toString()).not.toContain("resultType");
});

test("an unknown method is the server's own -32601: with 404 in 2026-07-28, with 200 before", async () => {
  const { upstream } = startUpstream();
  const modern = await send(upstream, rpc("no/such"), { era: "modern" });
  expect(modern.outcome).toMatchObject({ kind: "protocol_error", status: 404, refusal: null });
  const legacy = await send(upstream, rpc("no/such"));
  expect(legacy.outcome).toMatchObject({ kind: "protocol_error", status: 200, refusal: null });
});

test("subscriptions are refused by name: nothing could come of them", async () => {
  const { upstream } = startUpstream();
  const { outcome } = await send(upstream, rpc("resources/subscribe", { uri: "test://a" }));
  expect(outcome).toMatchObject({ sent: false, refusal: { refused: "method_unknown" } });
});

test("a list keeps only what is visible, byte for byte, page by page", async () => {
  const { upstream } = startUpstream();
  const visible = ({ name }: { name: string }) => name !== "echo";
  const { outcome } = await send(upstream, rpc("tools/list"), { visible });
  expect(outcome.last?.toString()).toBe(
    '{"result":{"tools":[{"name":"line","inputSchema":{"type":"object","maximum":9007199254740993}}],"nextCursor":"2"},"jsonrpc":"2.0","id":1}',
  );
  const modern = resultOf(await send(upstream, rpc("tools/list", { cursor: "2" }), { era: "modern", visible: () => false }));
  expect(modern).toEqual({ tools: [], ttlMs: 0, cacheScope: "private", resultType: "complete" });
});

test("a definition is found on any page, told apart by its bytes, and read again when the list changes", async () => {
  const { upstream } = startUpstream();
  const find = (name: string) => upstream.definition(name, agentOf("alice"), NO_CREDENTIAL);
  expect(await find("progress")).toMatchObject({ name: "progress", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(await find("grown")).toBeNull();
  await send(upstream, call("grow"));
  expect(await find("grown")).toMatchObject({ name: "grown" });
});

test("a real server of the SDK serves clients of both eras", async () => {
  const { upstream, warnings } = startUpstream({ command: [process.execPath, EVERYTHING, "stdio"] });
  expect(resultOf(await send(upstream, initialize("2025-06-18")))).toMatchObject({
    protocolVersion: "2025-06-18",
    capabilities: { tools: {} },
  });
  const echoed = await send(upstream, call("echo", { message: "hello" }), { era: "modern" });
  expect(textOf(echoed)).toBe("Echo: hello");
  expect(echoed.outcome.resultTexts).toEqual(["Echo: hello"]);
  const long = await send(upstream, call("trigger-long-running-operation", { duration: 0.2, steps: 2 }, { progressToken: "p" }));
  expect(long.answer.pieces).toHaveLength(2);
  expect(long.answer.pieces[0]).toContain('"progressToken":"p"');
  expect(await upstream.definition("echo", agentOf("alice"), NO_CREDENTIAL)).toMatchObject({ name: "echo" });
  expect(warnings.filter(({ message }) => message.includes("dropped"))).toEqual([]);
});
