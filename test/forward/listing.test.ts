/** The gateway reads a server's own list in whatever era it speaks, within limits, and says plainly when it cannot. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { IssuedToken } from "../../src/call/exchange/issued-token.ts";
import type { HttpUpstreamOptions } from "../../src/call/forward/http-upstream.ts";
import { ALL_MISBEHAVIOURS, startBadUpstream } from "../fixtures/bad-upstream.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { alice, upstreamAt } from "./http-client.ts";
import { NO_CREDENTIAL } from "./stdio-message.ts";

const ISSUED: IssuedToken = { kind: "bearer", headers: { authorization: "Bearer one" }, expiresAtMs: null, shareKey: "one" };
const FRESH: IssuedToken = { kind: "bearer", headers: { authorization: "Bearer two" }, expiresAtMs: null, shareKey: "two" };

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

type Asked = { readonly method: string; readonly id: number; readonly params: { cursor?: string } };
type Respond = (asked: Asked, res: ServerResponse, req: IncomingMessage) => void;

async function lister(respond: Respond): Promise<Door> {
  const door = await openDoor((req, res, body) =>
    respond(body.length === 0 ? { method: "", id: 0, params: {} } : JSON.parse(body.toString()), res, req),
  );
  closing.push(() => door.close());
  return door;
}

async function find(url: string, toolName: string, options: Partial<HttpUpstreamOptions> = {}, issued = NO_CREDENTIAL) {
  const upstream = upstreamAt(url, options);
  const found = await upstream.definition(toolName, alice(), issued);
  await upstream.close(0);
  return found;
}

const json = (res: ServerResponse, id: unknown, result: object, headers: object = {}) =>
  void res.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify({ jsonrpc: "2.0", id, result }));

test("real servers of both eras are read, and a tool they do not have is none", async () => {
  const modern = await startHttpUpstream();
  const legacy = await startLegacyUpstream();
  closing.push(
    () => modern.close(),
    () => legacy.close(),
  );
  for (const { mcpUrl } of [modern, legacy]) {
    expect(await find(mcpUrl, "echo")).toMatchObject({ name: "echo", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await find(mcpUrl, "no_such")).toBeNull();
  }
  expect(modern.received.map(({ headers }) => headers["mcp-method"])).toEqual(["tools/list", "tools/list"]);
  // A session that only served the list is not left behind.
  expect(legacy.sessions()).toEqual([]);
});

test("all pages are read, as JSON or as a stream", async () => {
  const door = await lister(({ id, params: { cursor } }, res) => {
    const page = Number(cursor ?? 0);
    const result = { tools: [{ name: `t${page}` }, 7, { title: "nameless" }], ...(page < 4 ? { nextCursor: String(page + 1) } : {}) };
    if (page % 2 === 0) return json(res, id, result);
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(`: hi\n\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\nevent: ping\ndata: now\n\n`);
    res.end(`data: ${JSON.stringify({ jsonrpc: "2.0", id, result })}\r\n\r\n`);
  });
  expect(await find(door.url, "t4")).toMatchObject({ name: "t4" });
  expect(door.received).toHaveLength(5);
});

test("a list without an end is no list", async () => {
  const endless = await lister(({ id }, res) => json(res, id, { tools: [], nextCursor: "again" }));
  expect(await find(endless.url, "a")).toMatchObject({ refused: "upstream_unreachable" });
  expect(endless.received).toHaveLength(100);
  const crowded = await lister(({ id }, res) => json(res, id, { tools: Array.from({ length: 10_001 }, (_, i) => ({ name: `t${i}` })) }));
  expect(await find(crowded.url, "t1")).toMatchObject({ refused: "upstream_unreachable" });
});

test("the pages share one time", async () => {
  const slow = await lister(({ id }, res) => void setTimeout(() => json(res, id, { tools: [], nextCursor: "again" }), 20));
  expect(await find(slow.url, "a", { timeoutMs: 200 })).toMatchObject({ refused: "upstream_unreachable" });
  expect(slow.received.length).toBeLessThan(20);
});

test("an event without an end is let go at 16 MiB", async () => {
  let written = 0;
  const door = await lister(({ method }, res) => {
    if (method !== "tools/list") return void res.writeHead(404).end();
    res.writeHead(200, { "content-type": "text/event-stream" }).write("data: ");
    const chunk = "x".repeat(1_048_576);
    const more = () => {
      written += chunk.length;
      if (written < 200_000_000) res.write(chunk, (fault) => (fault === null || fault === undefined ? more() : undefined));
      else res.end();
    };
    res.on("error", () => {});
    more();
  });
  expect(await find(door.url, "a")).toMatchObject({ refused: "upstream_unreachable" });
  expect(written).toBeLessThan(60_000_000);
});

test("an answer to another question is none", async () => {
  const door = await lister(({ id }, res) => json(res, id + 1, { tools: [{ name: "a" }] }));
  expect(await find(door.url, "a")).toMatchObject({ refused: "upstream_unreachable" });
});

test("whatever an upstream does to the list, it is refused or read, and never a fault", async () => {
  const bad = await startBadUpstream();
  closing.push(() => bad.close());
  for (const mode of ALL_MISBEHAVIOURS) {
    const found = await find(bad.badUrl(mode, "everything"), "echo", { timeoutMs: mode.startsWith("hang") ? 100 : 20_000 });
    const refused = mode === "unauthorized" || mode === "forbidden" ? "exchange_failed" : "upstream_unreachable";
    expect([mode, found]).toEqual([mode, expect.objectContaining({ refused, facts: {} })]);
  }
  expect(bad.followed()).toBe(0);
});

test.each(["null", "7", '"a"', "[]", "[null]", "{}", '{"id":1}', '{"id":1,"result":null}', '{"id":1,"result":{"tools":{}}}', "", "{"])(
  "%s instead of a list is a refusal",
  async (body) => {
    const door = await lister((_, res) => void res.writeHead(200, { "content-type": "application/json" }).end(body));
    expect(await find(door.url, "a")).toMatchObject({ refused: "upstream_unreachable" });
  },
);

test("a refused credential is renewed once for the list too", async () => {
  const door = await lister(({ id }, res, req) => {
    if (req.headers.authorization === "Bearer two") json(res, id, { tools: [{ name: "a" }] });
    else res.writeHead(401, { "www-authenticate": "Bearer" }).end();
  });
  expect(await find(door.url, "a", { reissue: () => FRESH }, ISSUED)).toMatchObject({ name: "a" });
  expect(await find(door.url, "a", { reissue: () => ISSUED }, ISSUED)).toMatchObject({ refused: "exchange_failed" });
  expect(door.received.map(({ headers }) => headers.authorization)).toEqual(["Bearer one", "Bearer two", "Bearer one", "Bearer one"]);
});

test("the gateway's own requests carry its own headers only, and no coding is asked for", async () => {
  const door = await lister(({ id }, res) => json(res, id, { tools: [] }));
  await find(door.url, "a", {}, ISSUED);
  const { headers = {} } = door.received[0] ?? {};
  expect(headers).toMatchObject({
    "accept-encoding": "identity",
    "mcp-method": "tools/list",
    "mcp-protocol-version": "2026-07-28",
    authorization: "Bearer one",
  });
});
