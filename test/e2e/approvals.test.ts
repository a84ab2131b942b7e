import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type ApprovalJson, type Person, person, personWith, root } from "./approver.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: free, who: { team: support }, permit: ["up/slow"] }
  - name: a-person-decides
    who: { team: support }
    permit: ["up/echo", "up/add", "up/no_such_tool"]
    approval: { by: [role:approver, "key:named"], within: 15m }
  - { name: soon-over, who: { team: support }, permit: ["up/search"], approval: { by: [role:approver], within: 2s } }
  - { name: no-budget, who: { team: support }, permit: ["up/structured"], approval: { by: [role:approver] } }
  - { name: down, who: { team: support }, permit: ["down/echo"], approval: { by: [role:approver] } }
  - { name: vendor, who: { team: support }, permit: ["method:up/vendor/refund", "method:up/logging/setLevel"], approval: { by: [role:approver] } }
budgets:
  - { name: nothing-left, meter: calls, limit: 0, period: total, tools: ["up/structured"] }
  - { name: few, meter: calls, limit: 1000, period: total }
`;

type Answer = {
  result?: { content?: { text: string }[]; resultType?: string; requestState?: string; isError?: boolean };
  error?: { code: number; message: string; data: { reason: string; approval_id?: string; retry_after_ms?: number; call_id: string } };
};

let upstream: Upstream;
let gateway: GatewayProcess;
let agent: Credentials;
let approver: Person;

const SERVERS = () => `  up: { url: "${upstream.mcpUrl}" }\n  down: { url: "http://127.0.0.1:9/mcp" }`;

beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: SERVERS() });
  agent = await gateway.createAgent("bot");
  approver = await person(gateway, "ann", "approver");
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
});

async function call(tool: string, args: object, more: object = {}, server = "up"): Promise<Answer> {
  const params = { name: tool, arguments: args, ...more };
  const accessToken = await gateway.accessToken(agent, server);
  return (await (await modernRequest(`${gateway.publicUrl}/mcp/${server}`, accessToken, "tools/call", params)).json()) as Answer;
}

const reasonOf = ({ error }: Answer) => error?.data.reason ?? "passed";
const idOf = ({ error }: Answer) => error?.data.approval_id ?? "none";
const textOf = ({ result }: Answer) => result?.content?.[0]?.text;
const ran = (marker: string) => upstream.received.filter(({ body }) => body.includes(marker) && body.includes("tools/call")).length;

describe("a call that a person has to approve", () => {
  test("waits, goes through once when it is approved, and its record says who said yes and why", async () => {
    const first = await call("echo", { text: "once" });
    expect(first.error).toMatchObject({ code: 40330, data: { reason: "approval_required" } });
    expect(idOf(first)).toMatch(/^apr_[0-9a-z]{26}$/);
    expect(first.error?.data.retry_after_ms).toBeGreaterThan(0);
    // The same call while it waits: the same question, whatever the order of its members.
    expect(idOf(await call("echo", { text: "once" }))).toBe(idOf(first));
    const [shown] = (await approver.pending()).filter(({ id }) => id === idOf(first));
    expect(shown).toMatchObject({
      target: "up/echo",
      arguments: '{"text":"once"}',
      call_id: first.error?.data.call_id,
      agent: { name: "bot", owner: "owner@example.com", purpose: "testing", customer: "default" },
      rule: { name: "a-person-decides", file: expect.stringContaining("test.yaml"), line: 4 },
      approvers: ["role:approver", "key:named"],
      may_decide: true,
    });
    expect(ran("once")).toBe(0);
    expect(await approver.decide("approve", idOf(first), "a test")).toBe(200);
    expect(textOf(await call("echo", { text: "once" }))).toBe("once");
    // Once: the next one is another question.
    const again = await call("echo", { text: "once" });
    expect([reasonOf(again), idOf(again) === idOf(first), ran("once")]).toEqual(["approval_required", false, 1]);

    type Record = { kind: string; call_id: string; reason: string | null; approval: object | null; details: object | null };
    const records = await gateway.json<Record[]>("audit", "tail", "--limit", "1000");
    const line = { id: idOf(first), state: "approved", by: "ann", reason: "a test" };
    expect(records.find(({ kind, reason, approval }) => kind === "call" && reason === null && approval !== null)?.approval).toMatchObject(
      line,
    );
    const asking = records.find(({ call_id }) => call_id === first.error?.data.call_id);
    expect(asking).toMatchObject({ reason: "approval_required", approval: { id: idOf(first), state: "pending" } });
    const acts = records.filter(({ details }) => JSON.stringify(details).includes(idOf(first))).map(({ kind }) => kind);
    expect(acts).toEqual(["approval.created", "approval.decided"]);
    expect(JSON.stringify(records)).not.toContain('{"text":"once"}');
    const why = (await gateway.command("why", String(first.error?.data.call_id))).stdout;
    expect(why).toContain(`It waits for the approval ${idOf(first)}`);
    expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
  });

  test("is not the same with another value, another number that a double cannot tell apart, or a member beside the arguments", async () => {
    const send = async (args: string, beside = "") => {
      const accessToken = await gateway.accessToken(agent, "up");
      const answer = await fetch(`${gateway.publicUrl}/mcp/up`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${accessToken}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": "2025-11-25",
        },
        body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add",${beside}"arguments":${args}}}`,
      });
      return idOf((await answer.json()) as Answer);
    };
    const id = await send('{"a":9007199254740993,"b":1}');
    expect(id).toMatch(/^apr_/);
    expect(await send('{ "b" : 1, "a" : 9007199254740993 }')).toBe(id);
    expect(await send('{"\\u0061":9007199254740993,"b":1}')).toBe(id);
    expect(await send('{"a":9007199254740993,"b":1}', '"_meta":{"progressToken":7},')).toBe(id);
    for (const other of ['{"a":9007199254740992,"b":1}', '{"a":9007199254740993,"b":"1"}', '{"a":9007199254740993,"b":1,"c":null}'])
      expect(await send(other)).not.toBe(id);
    const beside = await send('{"a":9007199254740993,"b":1}', '"vendor":{"for":"real"},');
    expect(beside).not.toBe(id);
    const shown = (await approver.pending()).find((each) => each.id === beside);
    expect(shown?.arguments).toBe('{"arguments":{"a":9007199254740993,"b":1},"vendor":{"for":"real"}}');
  });

  test("goes through once however many ask at once, and one question is made for all of them", async () => {
    const at = (i: number) => ({ arguments: i % 2 === 0 ? { text: "crowd", nonce: "n" } : { nonce: "n", text: "crowd" } });
    const accessToken = await gateway.accessToken(agent, "up");
    const all = () =>
      Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", ...at(i) });
          return (await answer.json()) as Answer;
        }),
      );
    const asked = await all();
    const [id = ""] = asked.map(idOf);
    expect(new Set(asked.map(idOf))).toEqual(new Set([id]));
    expect(await approver.decide("approve", id)).toBe(200);
    const retried = await all();
    expect(retried.map(reasonOf).filter((reason) => reason === "passed").length).toBe(1);
    expect(new Set(retried.map(reasonOf))).toEqual(new Set(["passed", "approval_required"]));
    expect(ran("crowd")).toBe(1);
  });

  test("that is denied stays denied, for this call alone; the first decision stands", async () => {
    const id = idOf(await call("echo", { text: "denied" }));
    expect(await approver.decide("deny", id, "too dear")).toBe(200);
    expect(await approver.decide("approve", id)).toBe(409);
    const answer = await call("echo", { text: "denied" });
    expect(answer.error).toMatchObject({ code: 40331, data: { reason: "approval_denied", approval_id: id } });
    expect(answer.error?.data.retry_after_ms).toBeGreaterThan(0);
    expect(JSON.stringify(answer)).not.toContain("too dear");
    expect(reasonOf(await call("echo", { text: "not denied" }))).toBe("approval_required");
    expect(ran('"denied"')).toBe(0);
    const why = (await gateway.command("why", String(answer.error?.data.call_id))).stdout;
    expect(why).toMatch(/ann denied it \(apr_[0-9a-z]+, .*\): too dear/);
  });

  test("whose time is over is a no that is recorded once, and the same call asks anew; a yes that was not used in time counts no more", async () => {
    const [forgotten, unused] = [await call("search", { query: "forgotten" }), await call("search", { query: "unused" })];
    expect(await approver.decide("approve", idOf(unused))).toBe(200);
    await until(async () => (await approver.ask<ApprovalJson>("GET", `/approvals/${idOf(forgotten)}`)).json.state === "expired");
    expect(await approver.decide("approve", idOf(forgotten))).toBe(409);
    for (const [query, old] of [
      ["forgotten", forgotten],
      ["unused", unused],
    ] as const) {
      const anew = await call("search", { query });
      expect([reasonOf(anew), idOf(anew) !== idOf(old)]).toEqual(["approval_required", true]);
    }
    const records = await gateway.json<{ kind: string; details: Record<string, string> | null }[]>("audit", "tail", "--limit", "1000");
    const expired = records.filter(({ kind, details }) => kind === "approval.expired" && details?.approval_id === idOf(forgotten));
    expect(expired.length).toBe(1);
    expect([ran("forgotten"), ran("unused")]).toEqual([0, 0]);
  });

  test("asks nobody where the budgets cannot carry it", async () => {
    expect(reasonOf(await call("structured", {}))).toBe("budget_exhausted");
    expect((await approver.pending()).filter(({ target }) => target === "up/structured")).toEqual([]);
  });

  test("gives the yes back where nothing was sent", async () => {
    for (const [tool, server, reason] of [
      ["echo", "down", "upstream_unreachable"],
      ["no_such_tool", "up", "tool_unknown"],
    ] as const) {
      const id = idOf(await call(tool, { text: "unsent" }, {}, server));
      expect(await approver.decide("approve", id)).toBe(200);
      for (let i = 0; i < 2; i++) expect(reasonOf(await call(tool, { text: "unsent" }, {}, server))).toBe(reason);
      const shown = await approver.ask<ApprovalJson>("GET", `/approvals/${id}`);
      expect(shown.json).toMatchObject({ state: "approved", used_by: null });
    }
  });

  test("is asked about also where nothing is metered", async () => {
    const url = `${gateway.publicUrl}/mcp/up`;
    const refund = async (amount: number) =>
      (await (await modernRequest(url, await gateway.accessToken(agent, "up"), "vendor/refund", { amount })).json()) as Answer;
    const asked = await refund(5);
    expect(reasonOf(asked)).toBe("approval_required");
    expect((await approver.pending()).find(({ id }) => id === idOf(asked))?.arguments).toBe('{"amount":5}');
    expect(await approver.decide("approve", idOf(asked))).toBe(200);
    expect(reasonOf(await refund(500))).toBe("approval_required");
    // The server knows no such method: its own answer, so it was asked.
    expect((await refund(5)).error).toMatchObject({ code: -32601 });
    expect(reasonOf(await refund(5))).toBe("approval_required");
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400 && !(await holds()); i++) await sleep(25);
  expect(await holds()).toBe(true);
}

describe("who decides", () => {
  test("is whom the rule names: a role or a key, not the agent and not whoever may do more", async () => {
    const id = idOf(await call("echo", { text: "who decides" }));
    const [operator, named, auditor, viewer] = [
      await person(gateway, "olga", "operator"),
      await person(gateway, "named", "viewer"),
      await person(gateway, "audrey", "auditor"),
      await person(gateway, "vic", "viewer"),
    ];
    for (const other of [operator, auditor, viewer, root(gateway)]) expect(await other.decide("approve", id)).toBe(403);
    const accessToken = await gateway.accessToken(agent, "up");
    for (const credential of [accessToken, agent.client_secret])
      expect(await personWith(gateway, credential).decide("approve", id)).toBe(401);
    expect([await personWith(gateway, "").decide("approve", id), await approver.decide("approve", id, " ")]).toEqual([401, 422]);
    for (const [sees, status] of [
      [operator, 200],
      [auditor, 200],
      [viewer, 403],
    ] as const) {
      const { json, ...said } = await sees.ask<ApprovalJson>("GET", `/approvals/${id}`);
      expect([said.status, json.may_decide ?? false, json.link ?? null]).toEqual([status, false, null]);
    }
    expect(await named.decide("approve", id, "named by the rule")).toBe(200);
    expect(textOf(await call("echo", { text: "who decides" }))).toBe("who decides");
    const decided = (await approver.ask<ApprovalJson>("GET", `/approvals/${id}`)).json;
    expect(decided).toMatchObject({ state: "approved", decided_by: "named", arguments: null, link: null });
    expect(decided.used_by).toMatch(/^call_/);
  });

  test("is of the agent's own customer: others see and decide nothing, in the bytes of what is not there", async () => {
    const id = idOf(await call("echo", { text: "isolated" }));
    const [theirs, others] = [
      await person(gateway, "ann-default", "approver", "default"),
      await person(gateway, "ann-acme", "approver", "acme"),
    ];
    expect(await others.pending()).toEqual([]);
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["POST", "/approve", { reason: "x" }],
      ["POST", "/deny", { reason: "x" }],
    ] as const) {
      const about = await others.ask(method, `/approvals/${id}${path}`, body);
      expect([about.status, about]).toEqual([404, await others.ask(method, `/approvals/apr_nothing${path}`, body)]);
    }
    expect((await theirs.pending()).map((each) => each.id)).toContain(id);
    expect(await theirs.decide("deny", id)).toBe(200);
  });

  test("page by page", async () => {
    const seen: string[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: { items: ApprovalJson[]; next_cursor: string | null } = (
        await approver.ask<{ items: ApprovalJson[]; next_cursor: string | null }>("GET", `/approvals?limit=3&after=${after}`)
      ).json;
      seen.push(...page.items.map(({ id }) => id));
      after = page.next_cursor;
    }
    expect(seen.length).toBeGreaterThan(8);
    expect(seen).toEqual([...new Set(seen)].toSorted());
    expect((await approver.ask("GET", "/approvals?state=lost")).status).toBe(400);
  });
});

describe("a link", () => {
  const page = (link: string, init?: RequestInit) => fetch(link, { redirect: "manual", ...init });
  const post = (link: string, form: Record<string, string>) =>
    page(link, { method: "POST", body: new URLSearchParams(form), headers: { origin: "null" } });
  const linkOf = async (id: string) => (await approver.pending()).find((each) => each.id === id)?.link ?? "none";

  test("shows what is asked without deciding it, decides once in the name of whoever listed it, and is over", async () => {
    const id = idOf(await call("echo", { text: "<script>by link</script>\u202e" }));
    const link = await linkOf(id);
    expect(link.startsWith(`${gateway.adminUrl}/api/v1/approvals/decide/`)).toBe(true);
    for (const method of ["GET", "HEAD", "GET"]) expect((await page(link, { method })).status).toBe(200);
    const shown = await page(link);
    const text = await shown.text();
    expect(text).toContain("&lt;script&gt;by link&lt;/script&gt;\\u202e");
    expect(text).not.toMatch(/<script|\u202e/);
    expect(Object.fromEntries(shown.headers)).toMatchObject({
      "content-security-policy": expect.stringMatching(/^default-src 'none';.*form-action 'self'/),
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
    });
    expect(reasonOf(await call("echo", { text: "<script>by link</script>\u202e" }))).toBe("approval_required");
    expect([(await post(link, { decision: "approve", reason: " " })).status, (await post(link, { reason: "x" })).status]).toEqual([
      422, 422,
    ]);
    expect((await post(link, { decision: "approve", reason: "seen on the phone" })).status).toBe(200);
    for (const again of [await page(link), await post(link, { decision: "deny", reason: "x" })]) {
      expect([again.status, await again.text()]).toEqual([410, expect.stringContaining("This link was used, or its time is over")]);
    }
    const decided = (await approver.ask<ApprovalJson>("GET", `/approvals/${id}`)).json;
    expect(decided).toMatchObject({ state: "approved", decided_by: "ann" });
    expect(textOf(await call("echo", { text: "<script>by link</script>\u202e" }))).toContain("by link");
    expect(gateway.output).not.toContain(link.split("/").at(-1));
  });

  test("that was changed, is somebody's own invention, or whose key has ended decides nothing; no other route opens by it", async () => {
    const id = idOf(await call("echo", { text: "forged links" }));
    const leaving = await person(gateway, "leaving", "approver");
    const link = (await leaving.pending()).find((each) => each.id === id)?.link ?? "none";
    const secret = link.split("/").at(-1) ?? "";
    const at = (path: string) => `${gateway.adminUrl}/api/v1/approvals/decide/${path}`;
    const changed = `${secret.slice(0, -2)}${secret.endsWith("AA") ? "BB" : "AA"}`;
    for (const forged of [changed, "", "approve", `${secret}/`, `${secret}%2f..`, "a".repeat(4_000)]) {
      expect((await page(at(forged))).status, forged).toBe(404);
      expect((await post(at(forged), { decision: "approve", reason: "x" })).status, forged).toBe(404);
    }
    expect((await fetch(`${gateway.adminUrl}/api/v1/approvals`)).status).toBe(401);
    expect((await fetch(`${gateway.adminUrl}/api/v1/approvals/${id}`)).status).toBe(401);
    expect((await root(gateway).ask("POST", "/admin-keys/leaving/revoke", {})).status).toBe(200);
    expect([(await page(link)).status, (await post(link, { decision: "approve", reason: "x" })).status]).toEqual([410, 410]);
    expect(reasonOf(await call("echo", { text: "forged links" }))).toBe("approval_required");
  });
});

describe("a client of 2026-07-28 that can ask its user", () => {
  async function connect(
    answer: (message: string) => Promise<"accept" | "decline" | "cancel">,
  ): Promise<{ client: Client; asked: string[] }> {
    const asked: string[] = [];
    const client = new Client({ name: "asks", version: "1" }, {
      versionNegotiation: { mode: { pin: "2026-07-28" } },
      capabilities: { elicitation: {} },
    } as ConstructorParameters<typeof Client>[1]);
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      asked.push(params.message);
      const action = await answer(params.message);
      return action === "accept" ? { action, content: {} } : { action };
    });
    const requestInit = { headers: { authorization: `Bearer ${await gateway.accessToken(agent, "up")}` } };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${gateway.publicUrl}/mcp/up`), { requestInit }));
    return { client, asked };
  }
  const idIn = (message: string) => /apr_[0-9a-z]{26}/.exec(message)?.[0] ?? "none";

  test("is told whom it waits for, continues when it is approved, and the server hears nothing of the question", async () => {
    const { client, asked } = await connect(async (message) => {
      expect(await approver.decide("approve", idIn(message), "asked by the client")).toBe(200);
      return "accept";
    });
    const result = await client.callTool({ name: "echo", arguments: { text: "asked and answered" } });
    expect(result.content).toEqual([{ type: "text", text: "asked and answered" }]);
    expect(asked).toEqual([
      expect.stringMatching(/^A person has to approve up\/echo \(approval apr_[0-9a-z]{26}\)\. Continue when it is approved\.$/),
    ]);
    const sent = upstream.received.filter(({ body }) => body.includes("asked and answered"));
    expect(sent.length).toBe(1);
    expect(sent[0]?.body.toString()).not.toMatch(/inputResponses|requestState|tollgate/);
    await client.close();
  });

  test("that continues too early is refused and may call again; the question is the same", async () => {
    const { client, asked } = await connect(async () => "accept");
    const early = client.callTool({ name: "echo", arguments: { text: "too early" } });
    await expect(early).rejects.toMatchObject({ code: 40330, data: { reason: "approval_required", retry_after_ms: expect.any(Number) } });
    expect(await approver.decide("approve", idIn(asked[0] ?? ""))).toBe(200);
    expect((await client.callTool({ name: "echo", arguments: { text: "too early" } })).content).toEqual([
      { type: "text", text: "too early" },
    ]);
    expect(asked.length).toBe(1);
    await client.close();
  });

  test.each(["decline", "cancel"] as const)("whose user says %s withdraws the question", async (action) => {
    const { client, asked } = await connect(async () => action);
    const text = `withdrawn by ${action}`;
    await expect(client.callTool({ name: "echo", arguments: { text } })).rejects.toMatchObject({ code: 40331 });
    const shown = (await approver.ask<ApprovalJson>("GET", `/approvals/${idIn(asked[0] ?? "")}`)).json;
    expect(shown).toMatchObject({ state: "denied", decided_by: agent.id });
    expect(await approver.decide("approve", shown.id)).toBe(409);
    expect(ran(text)).toBe(0);
    await client.close();
  });

  test("gets nothing by a state that is another's, invented or changed: the server never sees it", async () => {
    const declares = { _meta: { "io.modelcontextprotocol/clientCapabilities": { elicitation: { form: {} } } } };
    const first = await call("echo", { text: "states" }, declares);
    expect(first.result).toMatchObject({ resultType: "input_required" });
    const state = first.result?.requestState ?? "";
    const other = await gateway.createAgent("other-bot");
    const accept = { inputResponses: { approval: { action: "accept", content: {} } } };
    const params = { name: "echo", arguments: { text: "states" }, ...accept, requestState: state, ...declares };
    const foreign = await modernRequest(`${gateway.publicUrl}/mcp/up`, await gateway.accessToken(other, "up"), "tools/call", params);
    expect(((await foreign.json()) as Answer).result).toMatchObject({ resultType: "input_required" });
    for (const forged of [`${state.slice(0, -2)}AA`, "tollgate-approval.x", "x"]) {
      const said = await call("echo", { text: "states" }, { ...declares, ...accept, requestState: forged });
      expect(said.result?.content, forged).toBe(undefined);
    }
    // One that asks with a decline cannot withdraw another's question either.
    const declined = { ...params, inputResponses: { approval: { action: "decline" } } };
    await modernRequest(`${gateway.publicUrl}/mcp/up`, await gateway.accessToken(other, "up"), "tools/call", declined);
    expect(reasonOf(await call("echo", { text: "states" }))).toBe("approval_required");
    // A form is shown only to whom can show one.
    const urls = { _meta: { "io.modelcontextprotocol/clientCapabilities": { elicitation: { url: {} } } } };
    expect(reasonOf(await call("echo", { text: "states" }, urls))).toBe("approval_required");
    expect(ran("states")).toBe(0);
  });
});

test("a client of 2025-11-25 hears the refusal with its data, and calls again once it is approved", async () => {
  const client = new ClientV1({ name: "v1", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${await gateway.accessToken(agent, "up")}` } };
  await client.connect(new TransportV1(new URL(`${gateway.publicUrl}/mcp/up`), { requestInit }) as never);
  const ask = () => client.callTool({ name: "echo", arguments: { text: "older" } });
  const refused = (await ask().catch((fault: unknown) => fault)) as { code: number; data: { approval_id: string } };
  expect(refused).toMatchObject({ code: 40330, data: { reason: "approval_required" } });
  expect(await approver.decide("approve", refused.data.approval_id)).toBe(200);
  expect((await ask()).content).toEqual([{ type: "text", text: "older" }]);
  await client.close();
});

test("questions and answers outlive a restart, and an agent has no more of them open than a person reads", async () => {
  const waiting = await call("echo", { text: "before the restart" });
  expect(await approver.decide("approve", idOf(waiting))).toBe(200);
  const pending = idOf(await call("echo", { text: "also before" }));
  expect(await gateway.stop()).toBe(0);
  await gateway.serve();
  expect(textOf(await call("echo", { text: "before the restart" }))).toBe("before the restart");
  expect(reasonOf(await call("echo", { text: "before the restart" }))).toBe("approval_required");
  expect(idOf(await call("echo", { text: "also before" }))).toBe(pending);
  const many = await Promise.all(Array.from({ length: 25 }, (_, i) => call("echo", { text: `many ${i}` })));
  expect(new Set(many.map(reasonOf))).toEqual(new Set(["approval_required", "concurrency_limited"]));
  expect((await approver.pending()).filter(({ agent: { id } }) => id === agent.id).length).toBe(20);
});
