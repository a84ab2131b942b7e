/** Approvals where more than one thing is asked: by the gateway and by the server, in each way of refusing, at several gateways, and where nobody is asked at all. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { type Person, person, personWith } from "./approver.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";
import { type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: asked, who: { team: support }, permit: ["*/*"], approval: { by: [role:approver], within: 15m } }
`;

type Answer = {
  id?: unknown;
  result?: { resultType?: string; requestState?: string; isError?: boolean; content?: { text: string }[] };
  error?: { code: number; data: { reason: string; approval_id?: string; retry_after_ms?: number } };
};
const reasonOf = ({ error }: Answer) => error?.data.reason ?? "passed";
const idOf = ({ error }: Answer) => error?.data.approval_id ?? "none";

describe("a server that asks for input itself", () => {
  let upstream: Door;
  let gateway: GatewayProcess;
  let agent: Credentials;
  let approver: Person;

  type Params = { inputResponses?: object; requestState?: string };
  beforeAll(async () => {
    upstream = await openDoor((_request, response, body) => {
      const { id, method, params } = JSON.parse(body.toString()) as { id: unknown; method: string; params: Params };
      const tools = [{ name: "book", inputSchema: { type: "object" } }];
      const inputRequests = {
        seat: {
          method: "elicitation/create",
          params: { mode: "form", message: "Which?", requestedSchema: { type: "object", properties: {} } },
        },
      };
      const result =
        method === "tools/list"
          ? { resultType: "complete", tools, ttlMs: 0, cacheScope: "private" }
          : params.inputResponses === undefined
            ? { resultType: "input_required", inputRequests, requestState: "of the server" }
            : { resultType: "complete", content: [{ type: "text", text: `booked by ${params.requestState}` }] };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    });
    gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.url}/mcp" }` });
    agent = await gateway.createAgent("bot");
    approver = await person(gateway, "ann", "approver");
  });
  afterAll(async () => {
    expect(await gateway?.stop()).toBe(0);
    await upstream?.close();
  });

  const book = async (more: object = {}) => {
    const params = { name: "book", arguments: { day: "friday" }, ...more };
    return (await (
      await modernRequest(`${gateway.publicUrl}/mcp/up`, await gateway.accessToken(agent, "up"), "tools/call", params)
    ).json()) as Answer;
  };
  const declares = { _meta: { "io.modelcontextprotocol/clientCapabilities": { elicitation: {} } } };
  const seat = { inputResponses: { seat: { action: "accept", content: { seat: "12a" } } }, requestState: "of the server" };

  test("gets its answer without a second question to a person, once; what went before is one call with it", async () => {
    const asked = await book(declares);
    const requestState = asked.result?.requestState ?? "";
    const [waiting] = await approver.pending();
    expect(await approver.decide("approve", waiting?.id ?? "")).toBe(200);
    const continued = await book({ ...declares, inputResponses: { approval: { action: "accept", content: {} } }, requestState });
    expect(continued.result).toMatchObject({ resultType: "input_required", requestState: "of the server" });
    expect((await book({ ...declares, ...seat })).result?.content?.[0]?.text).toBe("booked by of the server");
    // The round is over: the same answer again is a call of its own, which a person has to approve, told without replacing the server's state.
    const again = await book({ ...declares, ...seat });
    expect([reasonOf(again), again.result]).toEqual(["approval_required", undefined]);
    expect(upstream.received.filter(({ body }) => body.includes("tools/call")).length).toBe(2);
    expect(upstream.received.some(({ body }) => body.includes("tollgate-approval"))).toBe(false);
    type Row = {
      kind: string;
      call_id: string;
      logical_call_id: string;
      usage: { calls: number } | null;
      approval: { id: string; by: string } | null;
    };
    const rows = (await gateway.json<Row[]>("audit", "tail")).filter(({ kind, usage }) => kind === "call" && usage !== null);
    expect(rows.map(({ usage, approval }) => [usage?.calls, approval?.id, approval?.by])).toEqual([
      [1, waiting?.id, "ann"],
      [0, waiting?.id, "ann"],
    ]);
    expect(new Set(rows.map(({ logical_call_id }) => logical_call_id)).size).toBe(1);
  });

  test("is answered by one of many that bring the same answer at once", async () => {
    // What was asked with an answer to the server is another question than the bare call.
    const [withAnswer] = await approver.pending();
    expect(await approver.decide("deny", withAnswer?.id ?? "")).toBe(200);
    expect(reasonOf(await book())).toBe("approval_required");
    const [waiting] = await approver.pending();
    expect(await approver.decide("approve", waiting?.id ?? "")).toBe(200);
    expect((await book()).result?.resultType).toBe("input_required");
    const all = await Promise.all(Array.from({ length: 10 }, () => book(seat)));
    expect(all.filter((answer) => reasonOf(answer) === "passed").length).toBe(1);
  });
});

describe.each([
  ["jsonrpc", 200],
  ["http", 403],
  ["toolResult", 200],
] as const)("refusals: %s", (mode, status) => {
  test("a call that waits, and one that is denied, are told so", async () => {
    const upstream = await startHttpUpstream();
    const gateway = await GatewayProcess.start({
      policies: POLICIES,
      more: `refusals: ${mode}`,
      servers: `  up: { url: "${upstream.mcpUrl}" }`,
    });
    try {
      const accessToken = await gateway.accessToken(await gateway.createAgent("bot"), "up");
      const approver = await person(gateway, "ann", "approver");
      for (const [send, text] of [
        [modernRequest, "newer"],
        [legacyRequest, "older"],
      ] as const) {
        const ask = () => send(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: { text } }, "id-1");
        for (const [reason, code] of [
          ["approval_required", 40330],
          ["approval_denied", 40331],
        ] as const) {
          const answer = await ask();
          const body = (await answer.json()) as Answer;
          const [waiting] = await approver.pending();
          expect([answer.status, body.id, Number(answer.headers.get("retry-after")) > 0]).toEqual([status, "id-1", true]);
          if (mode === "toolResult")
            expect([body.result?.isError, body.result?.content?.[0]?.text]).toEqual([true, expect.stringMatching(`${reason}, call_`)]);
          else expect(body.error).toMatchObject({ code, data: { reason, approval_id: expect.stringMatching(/^apr_/) } });
          if (mode === "toolResult") expect(body.result?.content?.[0]?.text).toContain("approval apr_");
          if (waiting !== undefined) await approver.decide("deny", waiting.id);
        }
        // A question is a result in every mode.
        const more = { _meta: { "io.modelcontextprotocol/clientCapabilities": { elicitation: {} } } };
        if (text === "newer") {
          const asked = await send(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: {}, ...more });
          expect([asked.status, ((await asked.json()) as Answer).result?.resultType]).toEqual([200, "input_required"]);
          await approver.decide("deny", (await approver.pending())[0]?.id ?? "");
        }
      }
    } finally {
      expect(await gateway.stop()).toBe(0);
      await upstream.close();
    }
  });
});

test("mode: observe asks nobody, lets the call pass, and records what it would have been", async () => {
  const upstream = await startHttpUpstream();
  const gateway = await GatewayProcess.start({ policies: POLICIES, more: "mode: observe", servers: `  up: { url: "${upstream.mcpUrl}" }` });
  try {
    const accessToken = await gateway.accessToken(await gateway.createAgent("bot"), "up");
    const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", {
      name: "echo",
      arguments: { text: "seen" },
    });
    expect(await answer.text()).toContain("seen");
    expect(await (await person(gateway, "ann", "approver")).pending()).toEqual([]);
    const [record] = (await gateway.json<{ kind: string; shadow: object; approval: null }[]>("audit", "tail")).filter(
      ({ kind }) => kind === "call",
    );
    expect(record).toMatchObject({ approval: null, shadow: { mode: "observe", decision: "refuse", reason: "approval_required" } });
  } finally {
    expect(await gateway.stop()).toBe(0);
    await upstream.close();
  }
});

describe.skipIf(withoutPostgres)("two gateways of one registry", () => {
  let upstream: Upstream;
  let both: SharedRegistry;
  beforeAll(async () => {
    upstream = await startHttpUpstream();
    both = await startSharedRegistry({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  }, 120_000);
  afterAll(async () => {
    await both?.close();
    await upstream?.close();
  });

  test("ask once between them, let one call of many through, and refuse while the registry is away", async () => {
    const { first, second, postgres } = both;
    const accessToken = await first.accessToken(await first.createAgent("bot"), "up");
    const call = async (gateway: GatewayProcess, text: string) => {
      const answer = await modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: { text } });
      return (await answer.json()) as Answer;
    };
    const all = (text: string) => Promise.all(Array.from({ length: 20 }, (_, i) => call(i % 2 === 0 ? first : second, text)));
    // The other gateway hears of the new agent in its own time.
    for (let i = 0; i < 200 && reasonOf(await call(second, "known")) === "agent_unknown"; i++) await new Promise((r) => setTimeout(r, 25));
    const asked = await all("at both");
    expect(new Set(asked.map(idOf)).size).toBe(1);
    const ann = await person(first, "ann", "approver");
    expect(await personWith(second, ann.key).decide("approve", idOf(asked[0] ?? {}))).toBe(200);
    const retried = await all("at both");
    expect(retried.filter((answer) => reasonOf(answer) === "passed").length).toBe(1);
    expect(upstream.executions.filter((ran) => JSON.stringify(ran).includes("echo")).length).toBe(1);
    await postgres.kill();
    const away = await call(first, "away");
    expect(reasonOf(away)).toBe("store_unavailable");
    await postgres.start();
    for (let i = 0; i < 400 && reasonOf(await call(first, "back")) !== "approval_required"; i++)
      await new Promise((r) => setTimeout(r, 25));
    expect(reasonOf(await call(first, "back"))).toBe("approval_required");
  });
});
