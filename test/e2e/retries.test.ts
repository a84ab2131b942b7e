import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { person, root } from "./approver.ts";
import { type Credentials, GatewayProcess, sleep } from "./gateway-process.ts";
import { type Keyed, keyedCall, reasonOf, type Said, textOf } from "./keyed-call.ts";

const EVERYTHING = new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url).pathname;

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: plain, permit: ["up/echo", "up/slow", "up/fail", "rounds/*", "gone/*", "told/*", "resource:up/*"] }
  - { name: kept, permit: ["up/search", "up/add", "up/big", "up/fail_*", "stream/*", "child/*"], idempotency: { replay: 1h } }
  - { name: a-person-decides, permit: ["up/delete_everything"], approval: { by: [role:approver] } }
budgets:
  - { name: calls, meter: calls, limit: 10_000, period: total }
  - { name: one, meter: calls, limit: 1, period: total, who: { agent: poor } }
`;

let upstream: Upstream;
let rounds: Door;
let gateway: GatewayProcess;
let agent: Credentials;
let other: Credentials;
let poor: Credentials;
let accessToken: string;

/** Asks for a seat first; its lists are those of one tool. */
function resultOf(method: string, params: { inputResponses?: object }): object {
  if (method === "tools/list") {
    return { resultType: "complete", tools: [{ name: "book", inputSchema: { type: "object" } }], ttlMs: 0, cacheScope: "private" };
  }
  if (params.inputResponses !== undefined) return { resultType: "complete", content: [{ type: "text", text: "booked" }] };
  const requestedSchema = { type: "object", properties: { seat: { type: "string" } } };
  const inputRequests = { seat: { method: "elicitation/create", params: { mode: "form", message: "Which seat?", requestedSchema } } };
  return { resultType: "input_required", inputRequests, requestState: "state-1" };
}

beforeAll(async () => {
  upstream = await startHttpUpstream();
  rounds = await openDoor((_request, response, body) => {
    const { id, method, params } = JSON.parse(body.toString()) as { id: unknown; method: string; params: { inputResponses?: object } };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ jsonrpc: "2.0", id, result: resultOf(method, params) }));
  });
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }
  stream: { url: "${upstream.mcpUrl}" }
  told: { url: "${upstream.mcpUrl}", idempotent: header }
  rounds: { url: "${rounds.url}/mcp" }
  gone: { url: "http://127.0.0.1:9/mcp" }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }`,
  });
  [agent, other, poor] = await Promise.all([gateway.createAgent("bot"), gateway.createAgent("other"), gateway.createAgent("poor")]);
  accessToken = await gateway.accessToken(agent, "up");
});

afterAll(async () => {
  await gateway?.stop();
  await Promise.all([upstream?.close(), rounds?.close()]);
});

async function call(name: string, args: object, keyed: Keyed = {}): Promise<Said> {
  const token = keyed.server === undefined ? accessToken : await gateway.accessToken(agent, keyed.server);
  return keyedCall(gateway, token, name, args, keyed);
}

const runs = (nonce: string) => upstream.executions.filter(({ id }) => id === nonce).length;

async function started(nonce: string): Promise<void> {
  for (let i = 0; i < 400 && runs(nonce) === 0; i++) await sleep(10);
}

describe("a key", () => {
  test("makes one call of a call and its retries: the others hear how the first ended, and are charged nothing", async () => {
    const args = { text: "once", nonce: "k-settled" };
    const first = await call("echo", args, { key: '"k-settled"', id: 7 });
    expect(textOf(first)).toBe("once");
    const again = await call("echo", { nonce: "k-settled", text: "once" }, { key: "k-settled", id: 8 });
    expect(again).toMatchObject({ status: 200, id: 8, error: { code: 40902, data: { reason: "idempotency_settled" } } });
    const told = again.error?.data.first_call;
    expect(told).toMatchObject({ fate: "known", outcome: "result", usage: { calls: 1 } });
    expect(Date.parse(told?.key_expires_at ?? "")).toBeGreaterThan(Date.now() + 86_000_000);
    expect(reasonOf(await call("echo", args, { metaKey: "k-settled" }))).toBe("idempotency_settled");
    expect(runs("k-settled")).toBe(1);

    // What stands in the books: the retry names the call that it repeats.
    const { words, record } = await gateway.json<{ words: string[]; record: object }>("why", again.error?.data.call_id ?? "");
    expect(record).toMatchObject({ logical_call_id: told?.call_id, usage: null, settlement: null });
    expect(words.join(" ")).toContain(`It repeats ${told?.call_id}, which was not made again.`);
    const me = await fetch(`${gateway.publicUrl}/v1/me/calls/${again.error?.data.call_id}`, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    expect(await me.json()).toMatchObject({ reason: "idempotency_settled", logical_call_id: told?.call_id, usage: null });
  });

  test("of another call is refused: other arguments, another tool", async () => {
    expect(reasonOf(await call("echo", { text: "a", nonce: "k-other" }, { key: "k-other" }))).toBe("passed");
    const changed = await call("echo", { text: "b", nonce: "k-other" }, { key: "k-other" });
    expect(changed.error).toMatchObject({ code: 42201, data: { reason: "idempotency_mismatch" } });
    expect(JSON.stringify(changed)).not.toContain("first_call");
    expect(reasonOf(await call("search", { query: "a", nonce: "k-other" }, { key: "k-other" }))).toBe("idempotency_mismatch");
    expect(runs("k-other")).toBe(1);
  });

  test("is the agent's own: another agent's same key is another call, and a new token is the same agent", async () => {
    const args = { text: "x", nonce: "k-scope" };
    expect(reasonOf(await call("echo", args, { key: "k-scope" }))).toBe("passed");
    expect(reasonOf(await keyedCall(gateway, await gateway.accessToken(other, "up"), "echo", args, { key: "k-scope" }))).toBe("passed");
    expect(reasonOf(await call("echo", args, { key: "k-scope", server: "up" }))).toBe("idempotency_settled");
    expect(runs("k-scope")).toBe(2);
  });

  test("of a call that is under way is told so, and of ten at once exactly one runs", async () => {
    const args = { ms: 400, nonce: "k-flight" };
    const slow = call("slow", args, { key: "k-flight" });
    await started("k-flight");
    const meanwhile = await call("slow", args, { key: "k-flight" });
    expect(meanwhile.error).toMatchObject({ code: 40901, data: { reason: "idempotency_in_flight", retry_after_ms: 1000 } });
    expect(reasonOf(await call("slow", { ...args, ms: 1 }, { key: "k-flight" }))).toBe("idempotency_mismatch");
    expect(reasonOf(await slow)).toBe("passed");
    const ten = await Promise.all(Array.from({ length: 10 }, (_, id) => call("echo", { text: "t", nonce: "k-ten" }, { key: "k-ten", id })));
    expect(ten.filter((said) => reasonOf(said) === "passed").length).toBe(1);
    for (const said of ten) expect(["passed", "idempotency_in_flight", "idempotency_settled"]).toContain(reasonOf(said));
    expect([runs("k-flight"), runs("k-ten")]).toEqual([1, 1]);
  });

  test("is free again where nothing was sent: a refused call, an unreachable server, a call that waits for a person", async () => {
    const token = await gateway.accessToken(poor, "up");
    expect(reasonOf(await keyedCall(gateway, token, "echo", { text: "1", nonce: "p1" }))).toBe("passed");
    for (let i = 0; i < 2; i++)
      expect(reasonOf(await keyedCall(gateway, token, "echo", { text: "2", nonce: "p2" }, { key: "p2" }))).toBe("budget_exhausted");
    for (let i = 0; i < 2; i++)
      expect(reasonOf(await call("echo", { text: "3" }, { key: "p3", server: "gone" }))).toBe("upstream_unreachable");

    const ask = () => call("delete_everything", { nonce: "k-asked" }, { key: "k-asked" });
    const waits = await ask();
    expect(reasonOf(waits)).toBe("approval_required");
    expect(reasonOf(await ask())).toBe("approval_required");
    const approver = await person(gateway, "ann", "approver");
    const [{ id = "" } = {}] = await approver.pending();
    expect(await approver.decide("approve", id, "a test")).toBe(200);
    expect(reasonOf(await ask())).toBe("passed");
    expect(reasonOf(await ask())).toBe("idempotency_settled");
    expect(runs("k-asked")).toBe(1);
  });

  test("holds over the rounds of one call, whether or not the later ones repeat it", async () => {
    const answer = { inputResponses: { seat: { action: "accept", content: { seat: "1a" } } }, requestState: "state-1" };
    await call("book", { day: "none" }, { server: "rounds", key: "r-taken" });
    for (const key of ["k-repeated", undefined]) {
      const first = `r-${key}`;
      const args = { day: first };
      expect((await call("book", args, { server: "rounds", key: first })).result?.resultType).toBe("input_required");
      // The answer may have been lost: asked again, it asks again.
      expect((await call("book", args, { server: "rounds", key: first })).result?.resultType).toBe("input_required");
      // A wrong key takes nothing from the round that waits.
      expect(reasonOf(await call("book", args, { server: "rounds", more: answer, key: "r-taken" }))).toBe("idempotency_mismatch");
      const last = await call("book", args, { server: "rounds", more: answer, ...(key === undefined ? {} : { key: first }) });
      expect(textOf(last)).toBe("booked");
      const retry = await call("book", args, { server: "rounds", more: answer, key: first });
      expect(reasonOf(retry)).toBe("idempotency_settled");
      expect(reasonOf(await call("book", args, { server: "rounds", key: first }))).toBe("idempotency_settled");
    }
    expect(rounds.received.filter(({ body }) => body.includes('"inputResponses"')).length).toBe(2);
  });

  test("that is none is refused in words: empty, too long, not visible, no string, two that differ", async () => {
    const odd: readonly Keyed[] = [
      { key: '""' },
      { key: "a b" },
      { key: "k".repeat(256) },
      { key: '"open' },
      { metaKey: "" },
      { metaKey: 7 },
      { metaKey: "ä" },
    ];
    for (const keyed of odd) {
      const said = await call("echo", { text: "x", nonce: "odd" }, keyed);
      expect([said.status, reasonOf(said)]).toEqual([400, "request_malformed"]);
      expect(said.error?.data.invalid).toContain("1 to 255 visible ASCII characters");
    }
    const differ = await call("echo", { text: "x", nonce: "odd" }, { key: "a", metaKey: "b" });
    expect(differ.error).toMatchObject({ code: -32020, data: { reason: "header_mismatch", header: "Idempotency-Key" } });
    expect(runs("odd")).toBe(0);
    expect(reasonOf(await call("echo", { text: "x", nonce: "even" }, { key: '"q\\"q"', metaKey: 'q"q' }))).toBe("passed");
    expect(reasonOf(await call("echo", { text: "x", nonce: "even" }, { key: "k".repeat(255) }))).toBe("passed");
  });

  test("goes nowhere: not to the server, not into the log, the journal or a backup of it", async () => {
    await call("echo", { text: "x", nonce: "canary" }, { key: "canary-header-key" });
    await call("echo", { text: "x", nonce: "canary" }, { metaKey: "canary-meta-key" });
    await call("search", { query: "canary-kept-answer", limit: 1 }, { key: "k-canary" });
    for (const canary of ["canary-header-key", "canary-meta-key", "idempotency-key"]) expect(upstream.heard(canary)).toBe(false);
    const raw = new Database(join(gateway.folder, "data", "journal.db"));
    raw.pragma("wal_checkpoint(TRUNCATE)");
    raw.close();
    const written = gateway.output + readFileSync(join(gateway.folder, "data", "journal.db"), "latin1");
    for (const canary of ["canary-header-key", "canary-meta-key", "canary-kept-answer"]) expect(written).not.toContain(canary);
  });

  test("is shown to a server that understands one as a key of the gateway's: one for all retries, another for another agent", async () => {
    const args = { text: "shown", nonce: "k-shown" };
    const shownTo = () => upstream.received.flatMap(({ headers, body }) => (body.includes("k-shown") ? [headers["idempotency-key"]] : []));
    const others = await gateway.accessToken(other, "told");
    await call("echo", args, { key: "k-shown", server: "told" });
    await keyedCall(gateway, others, "echo", args, { key: "k-shown", server: "told" });
    await call("echo", args, { server: "told" });
    expect(shownTo()).toEqual([expect.stringMatching(/^"[\w-]{43}"$/), expect.stringMatching(/^"[\w-]{43}"$/), undefined]);
    expect(new Set(shownTo()).size).toBe(3);
  });

  test("of a client that left hears how the call ended", async () => {
    const leaving = new AbortController();
    const args = { ms: 300, nonce: "k-left" };
    const left = call("slow", args, { key: "k-left", signal: leaving.signal }).catch(() => null);
    await started("k-left");
    leaving.abort();
    await left;
    let said = await call("slow", args, { key: "k-left" });
    for (let i = 0; i < 200 && reasonOf(said) === "idempotency_in_flight"; i++) {
      await sleep(10);
      said = await call("slow", args, { key: "k-left" });
    }
    // In 2026-07-28 leaving cancels: nobody knows how far the tool came.
    expect(said.error?.data).toMatchObject({ reason: "idempotency_settled", first_call: { fate: "unknown", outcome: "cancelled" } });
    expect(runs("k-left")).toBe(1);
  });
});

describe("with idempotency.replay in the policy", () => {
  test.each([
    ["up", "search", { query: "kept", limit: 2 }, "1. kept\n2. kept"],
    ["stream", "slow", { ms: 20, steps: 2 }, "waited 20 ms"],
    ["child", "echo", { message: "kept" }, "Echo: kept"],
  ])(
    "a retry of %s/%s gets the first result under its own id, marked, and nothing runs or is charged",
    async (server, tool, args, text) => {
      const key = `kept-${server}`;
      const meta = { progressToken: "p1" };
      const first = await call(tool, args, { key, server, id: 1, meta });
      expect([textOf(first), first.stream]).toEqual([text, server === "stream"]);
      const second = await call(tool, args, { key, server, id: "other" });
      expect(second).toMatchObject({ status: 200, replayed: "true", id: "other", result: { resultType: "complete" } });
      expect(textOf(second)).toBe(text);
      const receipt = second.result?._meta?.["io.tollgate/receipt"];
      expect(receipt).toMatchObject({ replayed: true, usage: { calls: 0, tool_tokens: 0 } });
      const { json } = await root(gateway).ask<{ record: object }>("GET", `/audit/records/${receipt?.call_id}`);
      expect(json.record).toMatchObject({ outcome: "replayed", usage: null, settlement: null, logical_call_id: receipt?.logical_call_id });
      expect(reasonOf(await call(tool, { ...args, nonce: "z" }, { key, server }))).toBe("idempotency_mismatch");
    },
  );

  test("a result of up to 64 KiB is kept whole, a larger one is told of", async () => {
    const near = { bytes: 65_000, nonce: "k-near" };
    expect(textOf(await call("big", near, { key: "k-near" }))?.length).toBe(65_000);
    const again = await call("big", near, { key: "k-near" });
    expect([again.replayed, textOf(again)?.length]).toEqual(["true", 65_000]);
    const args = { bytes: 70_000, nonce: "k-big" };
    expect(textOf(await call("big", args, { key: "k-big" }))?.length).toBe(70_000);
    expect(reasonOf(await call("big", args, { key: "k-big" }))).toBe("idempotency_settled");
    expect(runs("k-big")).toBe(1);
  });

  test("real clients of both eras hear the same again, on a connection of their own each", async () => {
    const token = await gateway.accessToken(agent, "up");
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    const url = new URL(`${gateway.publicUrl}/mcp/up`);
    const params = { name: "add", arguments: { a: 20, b: 22, nonce: "k-sdk" }, _meta: { "io.tollgate/idempotencyKey": "k-sdk" } };
    for (const pin of ["2026-07-28", null]) {
      const options = { versionNegotiation: pin === null ? { mode: "legacy" } : { mode: { pin } } };
      const client = new Client({ name: "v2", version: "1" }, options as ConstructorParameters<typeof Client>[1]);
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
      expect((await client.callTool(params)).structuredContent).toEqual({ sum: 42 });
      await client.close();
    }
    const client = new ClientV1({ name: "v1", version: "1" });
    await client.connect(new TransportV1(url, { requestInit }) as never);
    const last = await client.callTool(params);
    expect(last.structuredContent).toEqual({ sum: 42 });
    expect(last._meta).toMatchObject({ "io.tollgate/receipt": { replayed: true } });
    await client.close();
    expect(runs("k-sdk")).toBe(1);
  });
});

describe("over a stop of the gateway", () => {
  test("a retry of a call that was cut by kill -9 hears that its fate is unknown; results that were kept are told again; an erased agent's keys go", async () => {
    const args = { ms: 60_000, nonce: "k-killed" };
    expect(textOf(await call("search", { query: "kept", limit: 1 }, { key: "k-restart" }))).toBe("1. kept");
    const cut = call("slow", args, { key: "k-killed" }).catch(() => null);
    await started("k-killed");
    await gateway.signal("SIGKILL");
    await cut;
    await gateway.serve();
    accessToken = await gateway.accessToken(agent, "up");
    const said = await call("slow", args, { key: "k-killed" });
    expect(said.error?.data).toMatchObject({
      reason: "idempotency_settled",
      first_call: { fate: "unknown", outcome: "unknown", usage: null },
    });
    expect(runs("k-killed")).toBe(1);
    expect(await call("search", { query: "kept", limit: 1 }, { key: "k-restart" })).toMatchObject({ replayed: "true" });

    const keys = () => {
      const raw = new Database(join(gateway.folder, "data", "journal.db"), { readonly: true });
      const count = raw.prepare("SELECT count(*) FROM retry_key WHERE agent = ?").pluck().get(agent.id);
      raw.close();
      return Number(count);
    };
    expect(keys()).toBeGreaterThan(5);
    const admin = root(gateway);
    expect((await admin.ask("POST", `/agents/${agent.id}/revoke`, { reason: "a test" })).status).toBe(200);
    expect((await admin.ask("POST", "/erasures", { agent: agent.id, reason: "a test" })).status).toBe(200);
    expect(keys()).toBe(0);
  });
});
