import { afterAll, beforeAll, expect, test } from "vitest";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
  - { name: calls, meter: calls, limit: 2, period: total }
  - { name: tokens, meter: tool_tokens, limit: 100_000, period: total }
`;

let upstream: Door;
let gateway: GatewayProcess;
let agent: Credentials;
/** How many requests are refused for their credential: nothing of them has run. */
let refusing = 0;

type Params = { name?: string; inputResponses?: object; requestState?: string };

/** Asks for a seat first: an MRTR server in twenty lines. */
function resultOf(method: string, params: Params): object {
  if (method === "tools/list") {
    const tools = [{ name: "book", inputSchema: { type: "object" } }];
    return { resultType: "complete", tools, ttlMs: 0, cacheScope: "private" };
  }
  if (params.inputResponses !== undefined && params.requestState === "opaque-é") {
    return { resultType: "complete", content: [{ type: "text", text: "booked" }] };
  }
  const requestedSchema = { type: "object", properties: { seat: { type: "string" } } };
  const inputRequests = { seat: { method: "elicitation/create", params: { mode: "form", message: "Which seat?", requestedSchema } } };
  return { resultType: "input_required", inputRequests, requestState: "opaque-é" };
}

beforeAll(async () => {
  upstream = await openDoor((_request, response, body) => {
    const { id, method, params } = JSON.parse(body.toString()) as { id: unknown; method: string; params: Params };
    if (params.inputResponses !== undefined && refusing > 0) {
      refusing -= 1;
      return void response.writeHead(401).end();
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ jsonrpc: "2.0", id, result: resultOf(method, params) }));
  });
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.url}/mcp" }` });
  agent = await gateway.createAgent("bot");
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

type Result = { result?: { resultType: string; requestState?: string; content?: { text: string }[] }; error?: { code: number } };

async function book(accessToken: string, more: object = {}): Promise<Result> {
  const params = { name: "book", arguments: { day: "friday" }, ...more };
  return (await (await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", params)).json()) as Result;
}

test("a call of two rounds counts as one call, with the tokens of both, and its records belong together", async () => {
  const accessToken = await gateway.accessToken(agent, "up");
  const answer = { inputResponses: { seat: { action: "accept", content: { seat: "12a" } } }, requestState: "opaque-é" };
  for (let call = 1; call <= 2; call++) {
    expect((await book(accessToken)).result).toMatchObject({ resultType: "input_required", requestState: "opaque-é" });
    // The budget of calls is used up by the second call; its second round needs no more of it.
    // A round of which nothing was sent keeps its place.
    refusing = 1;
    expect((await book(accessToken, answer)).error?.code).toBe(50202);
    expect((await book(accessToken, answer)).result?.content?.[0]?.text).toBe("booked");
  }
  // The state has been answered: the same answer again would be a third call.
  expect((await book(accessToken, answer)).error?.code).toBe(42910);
  expect(upstream.received.filter(({ body }) => body.includes('"inputResponses"')).length).toBe(4);

  const { rows } = await gateway.json<{ rows: { calls: number; tool_tokens: number }[] }>("usage", "--by", "tool");
  expect(rows).toMatchObject([{ calls: 2 }]);
  const records = await gateway.json<
    { kind: string; call_id: string; logical_call_id: string; outcome: string; usage: { calls: number } | null }[]
  >(...["audit", "tail"]);
  const rounds = records.filter(({ kind, usage }) => kind === "call" && usage !== null);
  expect(rounds.map(({ outcome, usage }) => [outcome, usage?.calls])).toEqual([
    ["input_required", 1],
    ["result", 0],
    ["input_required", 1],
    ["result", 0],
  ]);
  expect(rounds.map(({ logical_call_id }) => logical_call_id)).toEqual([0, 0, 2, 2].map((i) => rounds[i]?.call_id));
  expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
});
