import { expect, onTestFinished, test } from "vitest";
import { openDoor } from "../fixtures/listener.ts";
import { request, send, upstreamAt } from "./http-client.ts";

type Message = { readonly id?: number; readonly method: string };

/** A server of the older era with sessions; `onCall` answers the tools/call, of which `calls` counts the arrivals. */
async function startServer(onCall: (id: number, calls: number) => { status: number; body: object | null }) {
  let calls = 0;
  let sessions = 0;
  const door = await openDoor((_req, res, body) => {
    const { id, method } = JSON.parse(body.toString()) as Message;
    const say = (status: number, message: object | null) => {
      const type = message === null ? {} : { "content-type": "application/json" };
      res.writeHead(status, { ...type, ...(method === "initialize" ? { "mcp-session-id": `s${++sessions}` } : {}) });
      res.end(message === null ? undefined : JSON.stringify({ jsonrpc: "2.0", ...message }));
    };
    if (method === "server/discover") return say(400, { id: null, error: { code: -32000, message: "no session" } });
    if (method === "initialize") {
      return say(200, { id, result: { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "s", version: "1" } } });
    }
    if (id === undefined || method !== "tools/call") return say(202, null);
    calls += 1;
    const { status, body: answer } = onCall(id, calls);
    say(status, answer);
  });
  const upstream = upstreamAt(`${door.url}/mcp`);
  onTestFinished(async () => {
    await upstream.close(0);
    await door.close();
  });
  const call = (era: "modern" | "legacy" = "modern") =>
    send(upstream, request("tools/call", { name: "t" }, "mine"), { era, head: { view: "/mcp" } });
  return { call, calls: () => calls, sessions: () => sessions };
}

const gone = { id: null, error: { code: -32001, message: "Session not found" } };
const done = (id: number) => ({ status: 200, body: { id, result: { content: [] } } });

test.each([
  ["404 without a body", 404, null],
  ["404 with an error for nobody", 404, gone],
  ["400 with an error for nobody", 400, gone],
  ["400 with an error without an id", 400, { error: gone.error }],
])("a server that has forgotten the session, and says so by %s, gets the call once more in a new one", async (_, status, body) => {
  const server = await startServer((id, calls) => (calls === 1 ? { status, body } : done(id)));
  expect(await server.call()).toMatchObject({ kind: "result", status: 200 });
  expect([server.calls(), server.sessions()]).toEqual([2, 2]);
});

test("a server that forgets every session is asked twice, and then it is invalid", async () => {
  const server = await startServer(() => ({ status: 404, body: gone }));
  expect(await server.call()).toMatchObject({ kind: "http_error", refusal: { refused: "upstream_invalid" } });
  expect(server.calls()).toBe(2);
});

test("an error under the call's own id is its answer, whatever the status: the call is not sent again", async () => {
  const server = await startServer((id) => ({ status: 404, body: { id, error: { code: -32602, message: "no such tool" } } }));
  const outcome = await server.call();
  expect(outcome).toMatchObject({ kind: "http_error", status: 404 });
  expect(JSON.parse(outcome.last?.toString() ?? "")).toMatchObject({ id: "mine", error: { code: -32602 } });
  expect(server.calls()).toBe(1);
  // In the older era a 404 would end the client's session.
  expect(await server.call("legacy")).toMatchObject({ kind: "http_error", status: 200 });
});
