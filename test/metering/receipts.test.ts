import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMessage } from "../../src/call/forward/message.ts";
import { withoutReceipt, withReceipt } from "../../src/call/forward/receipt.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type LegacyUpstream, startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { startTellingUpstream, type TellingUpstream } from "../fixtures/telling-upstream.ts";

const KEY = "io.tollgate/receipt";
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: calls, each: agent, meter: calls, limit: 1000, period: total }
`;
const CHILD = join(import.meta.dirname, "../../node_modules/@modelcontextprotocol/server-everything/dist/index.js");

let both: Upstream;
let old: LegacyUpstream;
let telling: TellingUpstream;
let on: GatewayProcess;
let off: GatewayProcess;
const agents = new Map<GatewayProcess, Credentials>();

beforeAll(async () => {
  [both, old, telling] = await Promise.all([startHttpUpstream(), startLegacyUpstream(), startTellingUpstream()]);
  const servers = `  both: { url: "${both.mcpUrl}" }
  old: { url: "${old.mcpUrl}" }
  telling: { url: "${telling.mcpUrl}" }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(CHILD)}, stdio] }`;
  on = await GatewayProcess.start({ policies: POLICIES, servers, more: "receipts: true" });
  off = await GatewayProcess.start({ policies: POLICIES, servers });
  for (const gateway of [on, off]) agents.set(gateway, await gateway.createAgent("bot"));
});
afterAll(async () => {
  for (const each of [on, off]) await each?.stop();
  for (const each of [both, old, telling]) await each?.close();
});

async function tokenFor(gateway: GatewayProcess, server: string): Promise<string> {
  const agent = agents.get(gateway);
  if (agent === undefined) throw new Error("no agent");
  return gateway.accessToken(agent, server);
}

async function v2(gateway: GatewayProcess, server: string, mode: "legacy" | "modern") {
  const versionNegotiation = mode === "modern" ? { mode: { pin: "2026-07-28" } } : { mode };
  const client = new Client({ name: "v2", version: "1" }, { versionNegotiation } as ConstructorParameters<typeof Client>[1]);
  const requestInit = { headers: { authorization: `Bearer ${await tokenFor(gateway, server)}` } };
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${gateway.publicUrl}/mcp${server === "" ? "" : `/${server}`}`), { requestInit }),
  );
  return client;
}

async function v1(gateway: GatewayProcess, server: string) {
  const client = new ClientV1({ name: "v1", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${await tokenFor(gateway, server)}` } };
  await client.connect(new TransportV1(new URL(`${gateway.publicUrl}/mcp${server === "" ? "" : `/${server}`}`), { requestInit }) as never);
  return client;
}

describe.each([
  ["SDK v1 in front of a server with sessions", "old", () => v1(on, "old")],
  ["SDK v2, 2026-07-28, in front of a server of both eras", "both", () => v2(on, "both", "modern")],
  ["SDK v2, 2025-11-25, in front of a server with sessions", "old", () => v2(on, "old", "legacy")],
  ["SDK v2, 2026-07-28, in front of a server with sessions among others", "", () => v2(on, "", "modern")],
  ["SDK v2, 2025-11-25, in front of a server over stdio", "child", () => v2(on, "child", "legacy")],
  ["SDK v2, 2026-07-28, in front of a server over stdio", "child", () => v2(on, "child", "modern")],
])("%s", (_, server, connect) => {
  test("reads with a tool's result what the call cost, and what is left", async () => {
    const client = await connect();
    const args = server === "child" ? { message: "hello" } : { text: "hello" };
    const call = () => client.callTool({ name: server === "" ? "old__echo" : "echo", arguments: args } as never);
    const [first, second] = [await call(), await call()];
    const [one, two] = [first, second].map(({ _meta }) => (_meta as Record<string, never> | undefined)?.[KEY]) as unknown as Receipt[];
    expect(one).toMatchObject({
      call_id: expect.stringMatching(/^call_/),
      usage: { calls: 1, tool_tokens: expect.any(Number) },
      remaining: [{ budget: "calls", meter: "calls", limit: 1000, resets_at: null }],
    });
    expect(two?.call_id).not.toBe(one?.call_id);
    expect(two?.remaining[0]?.remaining).toBe(Number(one?.remaining[0]?.remaining) - 1);
    expect(JSON.stringify(first.content)).toContain("hello");
    await client.close();
  });
});

type Receipt = { call_id: string; usage: object; remaining: { remaining: number }[] };

const forged = (meta: string) => `{"_meta":${meta},"content":[{"type":"text","text":"x"}]}`;
const FORGED: readonly (readonly [string, string, string])[] = [
  ["alone", `{"${KEY}":{"calls":0}}`, "{}"],
  ["first of several", `{"${KEY}":1,"a":1, "b":2}`, '{"a":1, "b":2}'],
  ["in the middle", `{"a":1 ,"${KEY}":[1] , "b":2}`, '{"a":1 , "b":2}'],
  ["last of several", `{"a":1, "${KEY}":"x" }`, '{"a":1 }'],
  ["by another spelling", '{"io.tollgate\\u002freceipt":null}', "{}"],
];

describe.each([
  ["JSON, 2026-07-28", modernRequest, false],
  ["a stream, 2026-07-28", modernRequest, true],
  ["JSON, 2025-11-25", legacyRequest, false],
  ["a stream, 2025-11-25", legacyRequest, true],
] as const)("a receipt of the server's own, in %s", (_, request, stream) => {
  const call = async (gateway: GatewayProcess, result: string) => {
    const answer = await request(`${gateway.publicUrl}/mcp/telling`, await tokenFor(gateway, "telling"), "tools/call", {
      name: "say",
      arguments: { result, stream },
    });
    const text = await answer.text();
    return stream ? (text.split("\n").findLast((line) => line.startsWith("data: ")) ?? "").slice("data: ".length) : text;
  };

  test.each(FORGED)("%s is taken out, and all else stays byte for byte", async (_how, meta, cleaned) => {
    const told = await call(off, forged(meta));
    expect(told).toBe(`{"jsonrpc":"2.0","id":1,"result":${forged(cleaned)}}`);
    const { result } = JSON.parse(await call(on, forged(meta))) as { result: { _meta: Record<string, unknown> } };
    expect(result._meta[KEY]).toMatchObject({ call_id: expect.stringMatching(/^call_/), usage: { calls: 1 } });
    expect({ ...result._meta, [KEY]: undefined }).toEqual(JSON.parse(cleaned));
  });

  test("is not missed: without one the result is that of the server", async () => {
    for (const result of ['{"content":[]}', '{ "content" : [] , "_meta" : {"a":1} }', "{}"])
      expect(await call(off, result)).toBe(`{"jsonrpc":"2.0","id":1,"result":${result}}`);
  });

  test("is put where there is no place for one yet, and only into a success", async () => {
    for (const result of ['{"content":[]}', "{}", '{"content":[],"_meta":{}}', '{"_meta":null,"content":[]}'])
      expect(JSON.parse(await call(on, result)).result._meta[KEY].usage.calls).toBe(1);
    const failed = '{"isError":true,"content":[]}';
    expect(await call(on, failed)).toBe(`{"jsonrpc":"2.0","id":1,"result":${failed}}`);
  });
});

test("what a task came to stands a level deeper, and is cleaned as well", () => {
  const bytes = Buffer.from(
    `{"jsonrpc":"2.0","id":1,"result":{"status":"completed","result":{"content":[],"_meta":{"${KEY}":1}},"_meta":{"${KEY}":2}}}`,
  );
  const message = readMessage(bytes);
  if (message.kind !== "response") throw new Error("a response");
  const own = withoutReceipt(bytes, message).bytes;
  expect(own.toString()).toBe('{"jsonrpc":"2.0","id":1,"result":{"status":"completed","result":{"content":[],"_meta":{}},"_meta":{}}}');
  expect(JSON.parse(withReceipt(own, '{"a":1}').toString()).result._meta).toEqual({ [KEY]: { a: 1 } });
});
