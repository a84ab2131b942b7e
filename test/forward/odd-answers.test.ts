/** Answers that no fixture's path names: each is judged by what it is, never by what it says it is. */
import type { ServerResponse } from "node:http";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import type { Outcome } from "../../src/call/forward/outcome.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { type Asking, request, send, upstreamAt } from "./http-client.ts";
import { KeptAnswer } from "./stdio-message.ts";

const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream" };
const RESULT = '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"fine"}]}}';
const CALL = request("tools/call", { name: "echo", arguments: {} });

const doors: Door[] = [];
afterEach(async () => {
  for (const door of doors.splice(0)) await door.close();
});

async function answeredBy(
  respond: (res: ServerResponse) => void,
  asking: Asking = {},
  message: object | string | null = CALL,
  maxResultBytes?: number,
): Promise<Outcome> {
  const door = await openDoor((_, res) => respond(res));
  doors.push(door);
  const upstream = upstreamAt(`${door.url}/mcp`, maxResultBytes === undefined ? {} : { maxResultBytes });
  const outcome = await send(upstream, message, asking);
  await upstream.close(0);
  return outcome;
}

const INVALID = { kind: "unknown", sent: true, last: null, result: null, refusal: { refused: "upstream_invalid" } };

test.each<[string, Record<string, string | string[]>, Buffer]>([
  ["br", { "content-encoding": "br" }, brotliCompressSync(RESULT)],
  ["gzip under another case", { "Content-Encoding": "GZIP" }, gzipSync(RESULT)],
  ["a chain of two", { "content-encoding": "gzip, gzip" }, gzipSync(gzipSync(RESULT))],
  ["two headers", { "content-encoding": ["identity", "identity"] }, Buffer.from(RESULT)],
  ["a chain of a thousand", { "content-encoding": Array(1_000).fill("gzip").join() }, gzipSync(RESULT)],
])("a content coding (%s) is refused without decoding a byte", async (_, headers, body) => {
  expect(await answeredBy((res) => res.writeHead(200, { ...JSON_TYPE, ...headers }).end(body))).toMatchObject({
    ...INVALID,
    refusal: { refused: "upstream_invalid", note: "a content coding" },
  });
});

test("a gzip bomb is let go before it is read", async () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1_048_576));
  const outcome = await answeredBy((res) => res.writeHead(200, { ...JSON_TYPE, "content-encoding": "gzip" }).end(bomb));
  expect(outcome).toMatchObject({ ...INVALID, bytesIn: 0 });
});

test.each([
  ["202 to a request", 202, {}, ""],
  ["a redirect to another origin", 307, { location: "http://192.0.2.1/" }, ""],
  ["a permanent redirect that carries a result", 308, { ...JSON_TYPE, location: "/x" }, RESULT],
  ["304", 304, {}, ""],
  ["a result as text/plain", 200, { "content-type": "text/plain" }, RESULT],
  ["a result as another kind of JSON", 200, { "content-type": "application/problem+json" }, RESULT],
  ["a result without a type", 200, {}, RESULT],
  ["a byte order mark", 200, JSON_TYPE, `\ufeff${RESULT}`],
  ["two messages", 200, JSON_TYPE, `${RESULT}${RESULT}`],
  ["a result and an error", 200, JSON_TYPE, RESULT.replace('"id":1,', '"id":1,"error":{"code":1,"message":"x"},')],
  ["neither", 200, JSON_TYPE, '{"jsonrpc":"2.0","id":1}'],
  ["an id of another type", 200, JSON_TYPE, RESULT.replace('"id":1', '"id":"1"')],
  ["an id that is null", 200, JSON_TYPE, RESULT.replace('"id":1', '"id":null')],
  ["no id", 200, JSON_TYPE, RESULT.replace('"id":1,', "")],
  ["a duplicate key behind an escape", 200, JSON_TYPE, RESULT.replace('"text":"fine"', '"text":"fine","t\\u0065xt":"other"')],
  ["a lone surrogate", 200, JSON_TYPE, RESULT.replace("fine", "\\ud800")],
  ["a thousand levels", 200, JSON_TYPE, RESULT.replace('"fine"', `${"[".repeat(1_000)}${"]".repeat(1_000)}`)],
  ["a request instead of an answer", 200, JSON_TYPE, '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}'],
  ["another's id in a stream", 200, SSE_TYPE, `data: ${RESULT.replace('"id":1', '"id":2')}\n\ndata: ${RESULT}\n\n`],
  ["no JSON in a stream", 200, SSE_TYPE, `data: hello\n\ndata: ${RESULT}\n\n`],
] as const)("%s is upstream_invalid", async (_, status, headers, body) => {
  const answer = new KeptAnswer();
  expect(await answeredBy((res) => res.writeHead(status, headers).end(body), { answer })).toMatchObject(INVALID);
  expect(answer.pieces.join("")).not.toContain("fine");
});

test("a JSON-RPC error passes with its status, whatever HTTP says, and nothing beside it", async () => {
  const body = '{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch"}}';
  const headers = { ...JSON_TYPE, "set-cookie": "a=b", "www-authenticate": "Bearer", server: "x", "retry-after": "5" };
  expect(await answeredBy((res) => res.writeHead(400, headers).end(body))).toMatchObject({
    kind: "http_error",
    sent: true,
    status: 400,
    headers: { "content-type": "application/json", "retry-after": "5" },
    last: Buffer.from(body),
    refusal: null,
  });
});

test("an error page of any size is upstream_invalid and never passes", async () => {
  const outcome = await answeredBy((res) => res.writeHead(500, JSON_TYPE).end(`{"secret":"${"x".repeat(1_000_000)}"}`));
  expect(outcome).toMatchObject({ kind: "http_error", sent: true, last: null, refusal: { refused: "upstream_invalid" } });
  expect(outcome.refusal?.facts).toEqual({ upstream_status: 500 });
});

test("Retry-After passes as seconds only", async () => {
  for (const value of ["Fri, 31 Dec 2027 23:59:59 GMT", "-1", "1e9", "99999999"]) {
    expect((await answeredBy((res) => res.writeHead(429, { "retry-after": value }).end())).headers).toEqual({});
  }
});

test("a lost session is the client's to hear, a missing page is not", async () => {
  const lost = await answeredBy((res) => res.writeHead(404).end("gone"), { era: "legacy", head: { sessionId: "s1" } });
  expect(lost).toMatchObject({ kind: "http_error", status: 404, refusal: null, last: null });
  const missing = await answeredBy((res) => res.writeHead(404).end("gone"), { era: "legacy" });
  expect(missing.refusal?.refused).toBe("upstream_invalid");
});

test("a result larger than the limit is over budget where a budget meters it, and invalid elsewhere", async () => {
  const respond = (type: object, body: string) => (res: ServerResponse) => res.writeHead(200, { ...type }).end(body);
  const large = RESULT.replace("fine", "x".repeat(5_000));
  for (const give of [respond(JSON_TYPE, large), respond(SSE_TYPE, `data: ${large}\n\n`)]) {
    const metered = await answeredBy(give, { metersResult: true }, CALL, 4_096);
    expect(metered).toMatchObject({ kind: "unknown", sent: true, last: null, refusal: { refused: "result_over_budget" } });
    const free = await answeredBy(give, {}, CALL, 4_096);
    expect(free).toMatchObject({ kind: "unknown", sent: true, last: null, refusal: { refused: "upstream_invalid" } });
  }
});

test("what follows an answer in the same breath does not undo it, however large", async () => {
  const outcome = await answeredBy(
    (res) => res.writeHead(200, SSE_TYPE).end(`data: ${RESULT}\n\ndata: ${"x".repeat(5_000)}`),
    {},
    CALL,
    4_096,
  );
  expect(outcome).toMatchObject({ kind: "result", refusal: null, resultTexts: ["fine"] });
});

test("a tool's error is an answer, and so is a protocol's", async () => {
  const tool = RESULT.replace('"resultType"', '"isError":true,"resultType"');
  expect(await answeredBy((res) => res.writeHead(200, JSON_TYPE).end(tool))).toMatchObject({
    kind: "tool_error",
    sent: true,
    refusal: null,
  });
  const protocol = '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool"}}';
  const outcome = await answeredBy((res) => res.writeHead(200, SSE_TYPE).end(`data: ${protocol}\n\n`));
  expect(outcome).toMatchObject({ kind: "protocol_error", sent: true, refusal: null, resultTexts: ["Unknown tool"] });
});

test("an answer is known by its id as a value, in JSON and in a stream alike", async () => {
  const body = RESULT.replace('"id":1', '"id":"\\u0061"');
  const call = request("tools/call", { name: "echo" }, "a");
  const json = await answeredBy((res) => res.writeHead(200, { "content-type": "Application/JSON; charset=utf-8" }).end(body), {}, call);
  const sse = await answeredBy((res) => res.writeHead(200, { "content-type": "text/event-stream;x=y" }).end(`data: ${body}\n\n`), {}, call);
  for (const { kind, result } of [json, sse]) expect([kind, JSON.parse(`${result}`).content[0].text]).toEqual(["result", "fine"]);
  expect(json.last?.toString()).toBe(body);
  expect(sse.last?.toString()).toBe(`data: ${body}\n\n`);
});

test("a notification is accepted, whatever else the upstream says of it", async () => {
  const note = { jsonrpc: "2.0", method: "notifications/initialized" };
  const legacy: Asking = { era: "legacy" };
  expect(await answeredBy((res) => res.writeHead(202).end(), legacy, note)).toMatchObject({ kind: "accepted", status: 202, last: null });
  const html = await answeredBy((res) => res.writeHead(200, { "content-type": "text/html" }).end("<p>hi"), legacy, note);
  expect(html).toMatchObject({ kind: "accepted", status: 202, last: null, headers: {} });
  const moved = await answeredBy((res) => res.writeHead(301, { location: "/x" }).end(), legacy, note);
  expect(moved.refusal?.refused).toBe("upstream_invalid");
});

test("GET and DELETE end as their transport says: 405 passes, a page that is no stream does not", async () => {
  const get: Asking = { era: "legacy", head: { httpMethod: "GET" } };
  expect(await answeredBy((res) => res.writeHead(405, { allow: "POST, X" }).end(), get, null)).toMatchObject({
    status: 405,
    headers: { allow: "POST" },
  });
  const page = await answeredBy((res) => res.writeHead(200, { "content-type": "text/html" }).end("<p>"), get, null);
  expect(page.refusal?.refused).toBe("upstream_invalid");
  const end: Asking = { era: "legacy", head: { httpMethod: "DELETE", sessionId: "s1" } };
  expect(await answeredBy((res) => res.writeHead(204).end(), end, null)).toMatchObject({ kind: "accepted", status: 200 });
});

test.each(['"result":null', '"result":5', '"result":[]', '"error":"boom"', '"error":null'])(
  "an answer with %s is no MCP",
  async (member) => {
    const outcome = await answeredBy((res) => res.writeHead(200, JSON_TYPE).end(`{"jsonrpc":"2.0","id":1,${member}}`));
    expect(outcome).toMatchObject(INVALID);
  },
);

test("an HTTP error passes with a JSON-RPC error for this request, not with one for another", async () => {
  const error = (id: string) => `{"jsonrpc":"2.0","id":${id},"error":{"code":-32000,"message":"no"}}`;
  const ask = (id: string) => answeredBy((res) => res.writeHead(400, JSON_TYPE).end(error(id)));
  expect(await ask("1")).toMatchObject({ kind: "http_error", status: 400, refusal: null });
  expect(await ask("null")).toMatchObject({ kind: "http_error", refusal: null });
  expect(await ask("999")).toMatchObject({ kind: "http_error", last: null, refusal: { refused: "upstream_invalid" } });
});
