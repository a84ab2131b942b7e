/** What an agent might hope to have for nothing: by tasks, by padding, by streams, by old keys, by reservations. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FORBIDDEN_WORD, type Guard, startGuard } from "../fixtures/guard.ts";
import { type Door, type Handler, openDoor } from "../fixtures/listener.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest, sleep } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const KEEP_MS = 5_000;
const MORE = (guard: string, held: string) => `idempotency: { keep: ${KEEP_MS / 1000}s }
inspectors:
  words: { url: "${guard}", onFailure: refuse }
  held: { url: "${held}", onFailure: refuse, timeout: 30s }
outcomes:
  - { name: resolved, tool: up/close, when: 'result.structuredContent.status == "resolved" && args.id != "none"' }
  - { name: worked, tool: up/work }
  - { name: greeted, tool: up/work, when: 'result.structuredContent.missing == true' }
meters:
  - { name: inferences, tool: "up/*", of: arguments, pointer: /items, max: 1000 }
  - { name: renders, tool: up/noisy, pointer: /structuredContent/pages, max: 300 }
  - { name: pages, tool: up/work, pointer: /structuredContent/pages, max: 500 }
  - { name: pages, tool: up/work, of: arguments, pointer: /sheets, max: 100 }
prices:
  - { server: twin, perCall: 0, currency: EUR }
  - { tool: up/close, outcomes: { resolved: 990_000 }, currency: EUR }
  - { tool: up/work, outcomes: { greeted: 50_000 }, currency: EUR }
`;
const EACH = "each: agent, period: total";
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["up/work", "up/noisy", "up/slow", "up/echo", "twin/work", "method:*/*"] }
  - { name: seen, permit: ["up/close"], inspect: [{ by: words, of: [result] }] }
  - { name: weighed, permit: ["up/late"], inspect: [{ by: held, of: [result] }] }
  - { name: features, permit: ["feature/*"] }
budgets:
  - { name: inferences, who: { team: billed }, ${EACH}, meter: inferences, limit: 100_000 }
  - { name: pages, who: { team: billed }, ${EACH}, meter: pages, limit: 1_000 }
  - { name: renders, who: { team: billed }, ${EACH}, meter: renders, limit: 1_000 }
  - { name: money, who: { team: billed }, ${EACH}, meter: cost_micros, limit: 100_000_000, tools: [up/close, up/work] }
  - { name: resolved, who: { team: billed }, ${EACH}, meter: "outcome:resolved", limit: 100 }
  - { name: few, who: { team: short }, ${EACH}, meter: tool_tokens, limit: 1_000 }
  - { name: bytes, who: { team: wired }, ${EACH}, meter: bytes, limit: 2_000_000 }
  - { name: owing, who: { team: owing }, ${EACH}, meter: bytes, limit: 2_000_000, overrun: deliver }
  - { name: purse, who: { team: pursed }, ${EACH}, meter: cost_micros, limit: 1_000_000 }
limits:
  - { name: one, who: { team: limited }, each: agent, concurrent: 1, tools: [up/slow] }
  - { name: circles, who: { team: limited }, tools: [up/echo], loop: { calls: 3, within: 10m, action: refuse } }
`;

const PIECE = "x".repeat(16_384);
const NOTICE = `data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/message", params: { level: "info", data: PIECE } })}\n\n`;
const TASKS = { _meta: { "io.modelcontextprotocol/clientCapabilities": { extensions: { "io.modelcontextprotocol/tasks": {} } } } };
let lastTask = "";
/** GETs that a server does not answer. */
const unheard = new Set<object>();
const DONE = { status: "completed", createdAt: "2026-01-01T00:00:00Z", lastUpdatedAt: "2026-01-01T00:00:00Z" };

/** Answers every tool; with a task where `arguments.task` or, in the older era, the client asks for one. */
function answering(ran: string[]): Handler {
  const tasks = new Map<string, Record<string, unknown>>();
  const resumable = new Map<string, string>();
  const takesOver = new Map<string, () => void>();
  /** What a GET that resumes a stream gets, where that is not the rest of it: the POST brings it then. */
  const instead = new Map<string, unknown>();
  return async (req, res, body) => {
    if (req.method === "GET") {
      // Whoever resumes a stream takes it over.
      takesOver.get(String(req.headers["last-event-id"]))?.();
      const other = instead.get(String(req.headers["last-event-id"]));
      if (other === "json") return void res.writeHead(200, { "content-type": "application/json" }).end("{}");
      if (other === "silence") {
        instead.delete(String(req.headers["last-event-id"]));
        unheard.add(res);
        return void res.once("close", () => unheard.delete(res));
      }
      if (other === "conflict") return void res.writeHead(409).end();
      if (other === "general") return void res.writeHead(200, { "content-type": "text/event-stream" }).write(NOTICE);
      const rest = resumable.get(String(req.headers["last-event-id"])) ?? NOTICE.repeat(50);
      return void res.writeHead(200, { "content-type": "text/event-stream" }).end(rest);
    }
    if (req.method !== "POST") return void res.writeHead(405).end();
    const { id, method, params } = JSON.parse(body.toString());
    const isModern = req.headers["mcp-protocol-version"] === "2026-07-28";
    const say = (result: object) =>
      void res
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ jsonrpc: "2.0", id, result: { ...(isModern ? { resultType: "complete" } : {}), ...result } }));
    const comesTo = ({ pages = 1, text = "ok", words = 0 }: Record<string, unknown>) => ({
      content: [{ type: "text", text: `${text}${" word".repeat(Number(words))}` }],
      structuredContent: { pages, status: "resolved" },
    });
    if (id === undefined) return void res.writeHead(202).end();
    if (method === "initialize") {
      res.setHeader("mcp-session-id", crypto.randomUUID());
      return say({
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {}, tasks: { requests: { tools: { call: {} } } } },
        serverInfo: { name: "raw", version: "1" },
      });
    }
    if (method === "tools/list")
      return say({
        ...(isModern ? { ttlMs: 0, cacheScope: "private" } : {}),
        tools: ["close", "work", "noisy", "slow", "echo", "late"].map((name) => ({
          ...{ name, inputSchema: { type: "object" }, execution: { taskSupport: "optional" } },
        })),
      });
    const given = tasks.get(params?.taskId);
    if (method === "tasks/result" && tasks.get(params.taskId)?.asks === true) {
      const question = {
        jsonrpc: "2.0",
        id: "srv-1",
        method: "elicitation/create",
        params: { message: "sure?", requestedSchema: { type: "object", properties: {} } },
      };
      res.writeHead(200, { "content-type": "text/event-stream" });
      return void res.end(
        `${NOTICE}data: ${JSON.stringify(question)}\n\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result: comesTo({}) })}\n\n`,
      );
    }
    if (method === "tasks/result" && given?.state === true && given.looked !== true) {
      tasks.set(params.taskId, { ...given, looked: true });
      return say({ taskId: params.taskId, ...DONE, status: "working" });
    }
    if (method === "tasks/result") return say(comesTo(tasks.get(params.taskId) ?? {}));
    if (method === "tasks/cancel") return say({ taskId: params.taskId, ...DONE, result: comesTo(given ?? {}), ...comesTo(given ?? {}) });
    // What servers write while a task runs, or beside what it came to.
    if (
      method === "tasks/get" &&
      typeof given?.odd === "string" &&
      (given.looked !== true || ["chatty", "crowded", "garrulous"].includes(given.odd))
    ) {
      tasks.set(params.taskId, { ...given, looked: true });
      const early = (more: object) =>
        say({ ...{ taskId: params.taskId, ...DONE, status: "working", ttlMs: 60_000, pollIntervalMs: 10 }, ...more });
      if (given.odd === "guarded") return early({ status: "completed", result: comesTo({ text: FORBIDDEN_WORD }) });
      if (given.odd === "null") return early({ error: null, result: null });
      if (given.odd === "crowded")
        return early({
          status: "completed",
          result: comesTo({}),
          error: { code: 1, message: "word ".repeat(300) },
          ...comesTo({ words: 300 }),
        });
      if (given.odd === "garrulous") return early({ statusMessage: PIECE.repeat(10) });
      if (given.odd === "hollow") return early({ status: "completed", result: { content: [] } });
      if (given.odd === "excused") return early({ status: "failed", error: { code: -1, message: "see the result" } });
      if (given.odd === "placeholder") return early({ status: "RUNNING", result: {} });
      if (given.odd === "unknown") return early({ status: "in-progress ", result: { progress: 10 } });
      if (given.odd === "partial") return early({ result: comesTo({ text: "a part" }) });
      res.writeHead(200, { "content-type": "text/event-stream" });
      return void res.end(`: ${PIECE}\n\n`.repeat(5) + NOTICE.repeat(5));
    }
    if (method === "tasks/get") {
      const came = comesTo({ ...given, ...(given?.grows === undefined ? {} : { pages: given.grows }) });
      const whole = given?.flat === true ? came : { result: came, error: given?.beside };
      return say({
        ...{ taskId: params.taskId, ...DONE },
        ...(isModern ? { ttlMs: 60_000, pollIntervalMs: 10, ...whole } : { ttl: 60_000, pollInterval: 10 }),
      });
    }
    if (method !== "tools/call") return say({});
    const { name, arguments: args = {}, task } = params as { name: string; arguments: Record<string, unknown>; task?: object };
    ran.push(name);
    if (args.task === true || task !== undefined) {
      const taskId = typeof args.fixed === "string" ? args.fixed : crypto.randomUUID();
      tasks.set(taskId, args);
      lastTask = taskId;
      const inline =
        args.inline === undefined
          ? { status: "working" }
          : { status: args.inline === true ? "completed" : args.inline, result: comesTo(args) };
      const handle = { taskId, ...DONE, statusMessage: args.message, ...inline };
      return say(
        isModern
          ? { resultType: "task", ...handle, ttlMs: 60_000, pollIntervalMs: 10 }
          : { task: { ...handle, ttl: 60_000, pollInterval: 10 } },
      );
    }
    if (args.ended === true) {
      const eventId = crypto.randomUUID();
      const rest = `id: ${eventId}\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result: comesTo(args) })}\n\n`;
      resumable.set(eventId, args.floods === true ? NOTICE.repeat(50) : rest);
      res.writeHead(200, { "content-type": "text/event-stream" }).write(`id: ${eventId}\nretry: ${args.retry ?? 500}\ndata:\n\n`);
      takesOver.set(eventId, () => {
        if (args.instead === "both") res.end(rest);
        else if (args.instead === undefined) res.end();
        else setTimeout(() => res.end(rest), 200);
      });
      instead.set(eventId, args.instead);
      return args.stays === true ? undefined : void res.end();
    }
    if (name === "slow") await sleep(600);
    if (name !== "noisy") return say(comesTo(args));
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < Number(args.pieces) && !res.destroyed; i++) {
      res.write(args.ids === true ? `id: e${i}\n${NOTICE}` : NOTICE);
    }
    if (args.ends === true)
      res.end(`data: ${JSON.stringify({ jsonrpc: "2.0", id, result: { resultType: "complete", ...comesTo({}) } })}\n\n`);
  };
}

let door: Door;
let guard: Guard;
let gateway: GatewayProcess;
const ran: string[] = [];

beforeAll(async () => {
  [door, guard] = await Promise.all([openDoor(answering(ran)), startGuard()]);
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${door.url}/mcp", timeout: 20s, reserve: { tool_tokens: 200, bytes: 100_000 } }\n  twin: { url: "${door.url}/mcp" }`,
    more: MORE(guard.guardUrl("words"), guard.guardUrl("held")),
  });
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await Promise.all([door?.close(), guard?.close()]);
});

type Answer = {
  result?: { taskId?: string; task?: { taskId: string } };
  error?: { data: { reason: string; budget?: string } };
};
let agents = 0;

async function caller(team: string) {
  const agent: Credentials = await gateway.createAgent(`${team}-${agents++}`, team);
  const accessToken = await gateway.accessToken(agent, "up");
  const url = `${gateway.publicUrl}/mcp/up`;
  const modern = async (method: string, params: object) =>
    (await (await modernRequest(url, accessToken, method, { ...params, ...TASKS })).json()) as Answer;
  const legacy = async (method: string, params: Record<string, unknown>) =>
    (await (await legacyRequest(url, accessToken, method, params)).json()) as Answer;
  const call = (name: string, args: object, key?: string) =>
    modernRequest(url, accessToken, "tools/call", {
      ...{ name, arguments: args },
      ...(key === undefined ? {} : { _meta: { "io.tollgate/idempotencyKey": key } }),
    });
  const reason = async (...asked: Parameters<typeof call>) => ((await (await call(...asked)).json()) as Answer).error?.data.reason ?? "ran";
  /** [committed, held, debt] of its own counter. */
  const counted = async (name: string): Promise<readonly [number, number, number]> => {
    const { items } = (await (await administer(gateway, "GET", "/budgets")).json()) as {
      items: { name: string; scope: string; committed: number; held: number; debt: number }[];
    };
    const row = items.find((each) => each.name === name && each.scope === `agent=${agent.id}`);
    return [row?.committed ?? 0, row?.held ?? 0, row?.debt ?? 0];
  };
  /** What its usage events say of a meter. */
  const billed = async (meter: string): Promise<number> => {
    const { rows } = await gateway.json<{ rows: (Record<string, number> & { agent: string })[] }>("usage", "--by", "agent");
    return rows.find((row) => row.agent === agent.name)?.[meter] ?? 0;
  };
  return { agent, accessToken, url, modern, legacy, call, reason, counted, billed };
}

const items = Array.from({ length: 40 }, (_, i) => i);

test("what a call gives to a task is counted when the call is answered with it, once, in both eras", async () => {
  const { modern, legacy, counted, billed } = await caller("billed");
  const made = await modern("tools/call", { name: "work", arguments: { items, task: true, pages: 7 } });
  expect([await counted("inferences"), await counted("pages")]).toEqual([
    [40, 0, 0],
    [0, 0, 0],
  ]);
  for (let i = 0; i < 2; i++) await modern("tasks/get", { taskId: made.result?.taskId });
  expect([await counted("inferences"), await counted("pages")]).toEqual([
    [40, 0, 0],
    [7, 0, 0],
  ]);
  const asked = await legacy("tools/call", { name: "work", arguments: { items, pages: 2 }, task: { ttl: 60_000 } });
  await legacy("tasks/result", { taskId: asked.result?.task?.taskId });
  expect([await counted("inferences"), await counted("pages")]).toEqual([
    [80, 0, 0],
    [9, 0, 0],
  ]);
  expect([await billed("inferences"), await billed("pages")]).toEqual([80, 9]);
});

test("an outcome that depends on arguments is judged by them when the task has ended", async () => {
  const { modern, counted } = await caller("billed");
  const close = async (args: object) => {
    const made = await modern("tools/call", { name: "close", arguments: { ...args, task: true } });
    await modern("tasks/get", { taskId: made.result?.taskId });
  };
  await close({ id: "none" });
  expect([await counted("resolved"), await counted("money")]).toEqual([
    [0, 0, 0],
    [0, 0, 0],
  ]);
  await close({ id: "7" });
  expect([await counted("resolved"), await counted("money")]).toEqual([
    [1, 0, 0],
    [990_000, 0, 0],
  ]);
  // Too large to be kept until then: it counts.
  await close({ id: "none", pad: "y".repeat(4_000) });
  expect(await counted("resolved")).toEqual([2, 0, 0]);
});

test.each(["null", "placeholder", "partial", "unknown"])(
  "a look at a task that runs and brings %s leaves what it comes to charged in full",
  async (odd) => {
    const { modern, counted, billed } = await caller("billed");
    const made = await modern("tools/call", { name: "close", arguments: { id: "8", task: true, odd } });
    for (let i = 0; i < 3; i++) await modern("tasks/get", { taskId: made.result?.taskId });
    expect([await counted("resolved"), await counted("money"), await billed("outcome:resolved")]).toEqual([[1, 0, 0], [990_000, 0, 0], 1]);
  },
);

test("what a guard keeps of a task is charged when it is delivered; a task whose handle it keeps is nobody's", async () => {
  const { modern, counted } = await caller("billed");
  const made = await modern("tools/call", { name: "close", arguments: { id: "9", task: true, odd: "guarded" } });
  const look = async (taskId?: string) => (await modern("tasks/get", { taskId })).error?.data.reason ?? "delivered";
  const looks: string[] = [];
  for (let i = 0; i < 3; i++) looks.push(await look(made.result?.taskId));
  expect(looks).toEqual(["content_refused", "delivered", "delivered"]);
  expect([await counted("resolved"), await counted("money")]).toEqual([
    [1, 0, 0],
    [990_000, 0, 0],
  ]);
  const kept = await modern("tools/call", { name: "close", arguments: { id: "9", items, task: true, message: FORBIDDEN_WORD } });
  expect(kept.error?.data.reason).toBe("content_refused");
  expect(await look(lastTask)).toBe("task_unknown");
  expect(await counted("inferences")).toEqual([0, 0, 0]);
});

test("looks at a task bring no notifications under a hard budget of bytes, however many there are", async () => {
  const { modern, counted, url, accessToken } = await caller("wired");
  const made = await modern("tools/call", { name: "noisy", arguments: { task: true, odd: "chatty" } });
  const [before] = await counted("bytes");
  let passed = 0;
  for (let i = 0; i < 5; i++) {
    const answer = await modernRequest(url, accessToken, "tasks/get", { taskId: made.result?.taskId, ...TASKS });
    passed += (await answer.text()).length;
  }
  expect(passed).toBeLessThan(5 * 2_000);
  expect((await counted("bytes"))[0]).toBeLessThan(before + 5 * 2_000);
});

test("of two servers that mint one task id, a route to both of them brings neither's task, and each is found on its own route", async () => {
  const { agent, modern } = await caller("plain");
  const accessToken = await gateway.accessToken(agent, "");
  const ask = async (method: string, params: object) =>
    (await (await modernRequest(`${gateway.publicUrl}/mcp`, accessToken, method, { ...params, ...TASKS })).json()) as Answer;
  for (const name of ["up__work", "twin__work"]) await ask("tools/call", { name, arguments: { task: true, fixed: "one" } });
  expect((await ask("tasks/get", { taskId: "one" })).error?.data.reason).toBe("task_unknown");
  expect((await modern("tasks/get", { taskId: "one" })).result).toMatchObject({ taskId: "one" });
});

test("a question to the client passes on a look's stream, whatever budgets there are", async () => {
  const { legacy, url, accessToken } = await caller("wired");
  const made = await legacy("tools/call", { name: "work", arguments: { asks: true }, task: { ttl: 60_000 } });
  const answer = await legacyRequest(url, accessToken, "tasks/result", { taskId: made.result?.task?.taskId });
  const text = await answer.text();
  expect(text).toContain("elicitation/create");
  expect(text).toContain('"status":"resolved"');
  expect(text).not.toContain(PIECE);
});

test("what comes on a stream that the server ended before its answer is counted, and kept where the budget cannot carry it", async () => {
  const { url, accessToken, counted } = await caller("short");
  const call = async (words: number) =>
    await (await legacyRequest(url, accessToken, "tools/call", { name: "work", arguments: { ended: true, words } })).text();
  expect(await call(500)).toContain("word word");
  const [first] = await counted("few");
  expect(first).toBeGreaterThan(500);
  const over = await call(700);
  expect(over).toContain("result_over_budget");
  expect(over).not.toContain("word word");
  expect((await counted("few")).slice(1)).toEqual([0, 0]);
});

/** Asks, and waits until the stream of the answer has begun. */
async function beginning({ url, accessToken }: { url: string; accessToken: string }, name: string, args: object) {
  const headers = { authorization: `Bearer ${accessToken}`, accept: "text/event-stream", "mcp-protocol-version": "2025-11-25" };
  const answer = await legacyRequest(url, accessToken, "tools/call", { name, arguments: { ended: true, stays: true, ...args } });
  const reader = answer.body?.getReader();
  const eventId = /^id: (.+)$/m.exec(Buffer.from((await reader?.read())?.value ?? []).toString())?.[1] ?? "";
  return {
    leave: () => reader?.cancel(),
    resume: async () => await (await fetch(url, { headers: { ...headers, "last-event-id": eventId } })).text(),
    async rest() {
      let rest = "";
      for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) rest += Buffer.from(read.value).toString();
      return rest;
    },
  };
}

/** What comes on the stream that resumes it, and on its own. */
async function resuming(...asked: Parameters<typeof beginning>): Promise<[string, string]> {
  const begun = await beginning(...asked);
  return [await begun.resume(), await begun.rest()];
}

test("what is resumed while its call is under way is the call's answer: counted once, and kept on every stream where the budget cannot carry it", async () => {
  const short = await caller("short");
  const call = async (words: number) =>
    (await resuming(short, "work", { words })).map((text) => [text.includes("word word"), text.includes("result_over_budget")]);
  expect(await call(500)).toEqual([
    [true, false],
    [true, false],
  ]);
  const [first] = await short.counted("few");
  expect([first > 500, first < 600]).toEqual([true, true]);
  expect(await call(600)).toEqual([
    [false, true],
    [false, true],
  ]);
  expect((await short.counted("few")).slice(1)).toEqual([0, 0]);
});

test("what a guard has seen comes on the stream that its client resumes, and nothing that it keeps", async () => {
  const billed = await caller("billed");
  const allowed = await resuming(billed, "close", { id: "1", text: "harmless" });
  expect(allowed.map((text) => text.includes("harmless"))).toEqual([true, true]);
  const kept = await resuming(billed, "close", { id: "2", text: FORBIDDEN_WORD });
  expect(kept.map((text) => text.includes(FORBIDDEN_WORD))).toEqual([false, false]);
  // Whoever resumes a call hears as much of its end as the one who made it.
  const [resumed, own] = kept.map((text) => /data: (\{.*"content_refused".*\})/.exec(text)?.[1]);
  expect([resumed !== undefined, resumed]).toEqual([true, own]);
  expect(await billed.counted("resolved")).toEqual([1, 0, 0]);
});

test("of two calls under one id each has its own answer, and nothing that is kept of the other", async () => {
  const billed = await caller("billed");
  const other = await beginning(billed, "work", { text: "the other's" });
  const kept = await resuming(billed, "close", { id: "1", text: FORBIDDEN_WORD });
  expect(kept.map((text) => [text.includes(FORBIDDEN_WORD), text.includes("content_refused")])).toEqual([
    [false, true],
    [false, true],
  ]);
  expect([(await other.resume()).includes("the other's"), (await other.rest()).includes("the other's")]).toEqual([true, true]);
});

test.each([
  ["json", false],
  ["conflict", false],
  ["general", true],
])("a GET that its server does not answer with the rest of a call takes nothing from it: %s", async (instead, isStream) => {
  const billed = await caller("billed");
  const [resumed, own] = await resuming(billed, "work", { instead, pages: 3 });
  expect([resumed.includes('"pages":3'), own.includes('"pages":3')]).toEqual([isStream, true]);
  expect(await billed.counted("pages")).toEqual([3, 0, 0]);
});

/** Longer than the gateway waits for any answer of this server. */
const LATE = { stays: false, retry: 30_000 };

test("who resumes a call that its server has ended need not wait until the gateway would", async () => {
  const short = await caller("short");
  const [resumed, own] = await resuming(short, "work", { ...LATE, words: 500 });
  expect([resumed.includes("word word"), own.includes("word word")]).toEqual([true, true]);
  expect((await short.counted("few"))[0]).toBeGreaterThan(500);
});

test("a server that does not answer the gateway is asked no more once its client has brought the answer", async () => {
  const billed = await caller("billed");
  const begun = await beginning(billed, "work", { stays: false, retry: 20, instead: "silence", pages: 3 });
  await expect.poll(() => unheard.size).toBe(1);
  expect([(await begun.resume()).includes('"pages":3'), (await begun.rest()).includes('"pages":3')]).toEqual([true, true]);
  await expect.poll(() => unheard.size, { timeout: 5_000 }).toBe(0);
  expect(await billed.counted("pages")).toEqual([3, 0, 0]);
});

test.each(["work", "close"])("who has left its POST has the answer by GET, where a server sends it on both: %s", async (tool) => {
  const billed = await caller("billed");
  for (let i = 0; i < 5; i++) {
    const begun = await beginning(billed, tool, { id: String(i), instead: "both", text: "for both" });
    await begun.leave();
    expect(await begun.resume()).toContain("for both");
  }
});

test.each([{}, LATE])("who resumes a call hears no more than was held for it, and then none of it: %j", async (more) => {
  const wired = await caller("wired");
  const begun = await beginning(wired, "work", { floods: true, ...more });
  const [resumed, own] = [await begun.resume(), await begun.rest()];
  expect([resumed.length < 100_000, resumed, own].map((text) => text === true || String(text).includes("result_over_budget"))).toEqual([
    true,
    true,
    true,
  ]);
  expect(await begun.resume()).toContain("session_unknown");
  expect((await wired.counted("bytes"))[0]).toBeLessThan(110_000);
});

test("who resumes a call whose answer is looked at just then waits for it, and gets it", async () => {
  const begun = await beginning(await caller("billed"), "late", { text: "looked at", stays: false });
  await expect.poll(() => guard.asked("held").length).toBe(1);
  const resumed = begun.resume();
  await sleep(100);
  guard.letGo();
  expect([(await resumed).includes("looked at"), (await begun.rest()).includes("looked at")]).toEqual([true, true]);
});

test("nothing that is called an end pays for what comes after it", async () => {
  const { modern, legacy, counted } = await caller("billed");
  let pages = 0;
  for (const odd of ["hollow", "excused", "unknown", "partial"]) {
    const made = await modern("tools/call", { name: "work", arguments: { task: true, odd, pages: 5, text: odd } });
    const { taskId } = made.result ?? {};
    await modern("tasks/get", { taskId });
    const [before] = await counted("pages");
    await legacy("tasks/result", { taskId });
    expect([odd, before, await counted("pages")]).toEqual([odd, odd === "partial" ? pages + 1 : pages, [pages + 5, 0, 0]]);
    pages += 5;
  }
});

test("a handle that brings what its task came to is charged for it, whatever its status, and looks at it are not", async () => {
  const { modern, counted } = await caller("billed");
  for (const [i, inline] of [true, "working", "odd"].entries()) {
    const made = await modern("tools/call", { name: "work", arguments: { task: true, inline, pages: 7 } });
    expect(await counted("pages")).toEqual([7 * (i + 1), 0, 0]);
    for (let look = 0; look < 2; look++) await modern("tasks/get", { taskId: made.result?.taskId });
    expect(await counted("pages")).toEqual([7 * (i + 1), 0, 0]);
  }
});

test("all that a look brings is counted, wherever it stands, and what is told of a task without end is bytes", async () => {
  const short = await caller("short");
  const crowded = await short.modern("tools/call", { name: "work", arguments: { task: true, odd: "crowded" } });
  for (let look = 0; look < 2; look++) await short.modern("tasks/get", { taskId: crowded.result?.taskId });
  const [tokens] = await short.counted("few");
  expect([tokens > 600, tokens < 700]).toEqual([true, true]);
  const wired = await caller("wired");
  const garrulous = await wired.modern("tools/call", { name: "work", arguments: { task: true, odd: "garrulous" } });
  const told = async () => (await wired.modern("tasks/get", { taskId: garrulous.result?.taskId })).error?.data.reason ?? "told";
  expect(await told()).toBe("told");
  const [once] = await wired.counted("bytes");
  expect([once > 140_000, once < 170_000]).toEqual([true, true]);
  expect(await told()).toBe("told");
  expect((await wired.counted("bytes"))[0]).toBeGreaterThan(280_000);
});

test("what the arguments say of a meter is not taken for what the result says of it", async () => {
  const { modern, counted } = await caller("billed");
  const sheets = Array(40).fill(0);
  const made = await modern("tools/call", { name: "work", arguments: { task: true, inline: "working", pages: 1, grows: 100, sheets } });
  expect(await counted("pages")).toEqual([41, 0, 0]);
  for (let look = 0; look < 2; look++) await modern("tasks/get", { taskId: made.result?.taskId });
  expect(await counted("pages")).toEqual([140, 0, 0]);
});

test("another tool that hands out the task of a dear one makes it no cheaper", async () => {
  const { modern, counted } = await caller("billed");
  const fixed = `handed-${agents}`;
  await modern("tools/call", { name: "work", arguments: { task: true, fixed, pages: 7 } });
  await modern("tools/call", { name: "echo", arguments: { task: true, fixed, pages: 7 } });
  for (let look = 0; look < 2; look++) await modern("tasks/get", { taskId: fixed });
  expect(await counted("pages")).toEqual([7, 0, 0]);
});

test("an answer about a task that is free does not bring what the task came to", async () => {
  const { modern, counted } = await caller("billed");
  const made = await modern("tools/call", { name: "work", arguments: { task: true, pages: 7 } });
  const { taskId } = made.result ?? {};
  const { result } = await modern("tasks/cancel", { taskId });
  expect(result).toMatchObject({ taskId, status: "completed" });
  expect(Object.keys(result ?? {})).not.toEqual(expect.arrayContaining([expect.stringMatching(/result$|content/i)]));
  expect(await counted("pages")).toEqual([0, 0, 0]);
  await modern("tasks/get", { taskId });
  expect(await counted("pages")).toEqual([7, 0, 0]);
});

test("a stream that was cut is not resumed", async () => {
  const { url, accessToken, counted } = await caller("wired");
  const send = (method: string, headers: object, body?: object) =>
    fetch(url, {
      method,
      headers: {
        ...{ "content-type": "application/json", accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25" },
        ...{ authorization: `Bearer ${accessToken}`, ...headers },
      },
      ...(body === undefined ? {} : { body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...body }) }),
    });
  const opened = await send(
    "POST",
    {},
    { method: "initialize", params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "c", version: "1" } } },
  );
  const session = { "mcp-session-id": opened.headers.get("mcp-session-id") ?? "" };
  await opened.text();
  const cut = await (
    await send("POST", session, { id: 2, method: "tools/call", params: { name: "noisy", arguments: { pieces: 100, ids: true } } })
  ).text();
  expect(cut).toContain("result_over_budget");
  const [, eventId = ""] = /^id: ?(.+)$/m.exec(cut) ?? [];
  expect(eventId).not.toBe("");
  const resumed = await send("GET", { ...session, "last-event-id": eventId });
  expect([resumed.status, await resumed.text()]).toEqual([404, expect.stringContaining("session_unknown")]);
  expect((await counted("bytes"))[0]).toBeLessThan(110_000);
});

test("an empty error beside a result hides nothing, and a handle that brings its result is the result", async () => {
  const { modern, legacy, counted } = await caller("billed");
  const made = await modern("tools/call", { name: "close", arguments: { id: "8", task: true, beside: {} } });
  for (let i = 0; i < 2; i++) await modern("tasks/get", { taskId: made.result?.taskId });
  expect(await counted("resolved")).toEqual([1, 0, 0]);
  const inline = await modern("tools/call", { name: "work", arguments: { items, pages: 4, task: true, inline: true } });
  await modern("tasks/get", { taskId: inline.result?.taskId });
  expect([await counted("inferences"), await counted("pages")]).toEqual([
    [40, 0, 0],
    [4, 0, 0],
  ]);
  await legacy("tools/call", { name: "work", arguments: { pages: 5, inline: true }, task: { ttl: 60_000 } });
  expect(await counted("pages")).toEqual([9, 0, 0]);
});

test("a state in place of a result, and a result that stands flat in the task, hide nothing", async () => {
  const { modern, legacy, counted } = await caller("billed");
  const asked = await legacy("tools/call", { name: "work", arguments: { pages: 3, state: true }, task: { ttl: 60_000 } });
  for (let i = 0; i < 3; i++) await legacy("tasks/result", { taskId: asked.result?.task?.taskId });
  expect(await counted("pages")).toEqual([3, 0, 0]);
  const made = await modern("tools/call", { name: "work", arguments: { pages: 4, flat: true, task: true } });
  for (let i = 0; i < 2; i++) await modern("tasks/get", { taskId: made.result?.taskId });
  expect(await counted("pages")).toEqual([7, 0, 0]);
});

test("a handle whose result was withheld is not paid for by that", async () => {
  const { modern, counted } = await caller("short");
  const fixed = `inline-${agents}`;
  const withheld = await modern("tools/call", { name: "work", arguments: { task: true, inline: true, words: 3_000, fixed } });
  expect(withheld.error?.data.reason).toBe("result_over_budget");
  expect((await modern("tasks/get", { taskId: fixed })).error?.data.reason).toBe("result_over_budget");
  expect((await counted("few"))[0]).toBe(200);
});

test("what a task came to and no budget carries is withheld at each look, and costs nothing", async () => {
  const { modern, counted, billed } = await caller("short");
  const made = await modern("tools/call", { name: "work", arguments: { task: true, words: 3_000 } });
  const [before] = await counted("few");
  for (let i = 0; i < 3; i++)
    expect((await modern("tasks/get", { taskId: made.result?.taskId })).error?.data.reason).toBe("result_over_budget");
  expect([await counted("few"), await billed("outcome:worked")]).toEqual([[before, 0, 0], 0]);
});

test("arguments or results that are too large for a condition count as held; a member that is not there counts nothing", async () => {
  const { reason, counted, billed } = await caller("billed");
  expect(await reason("close", { id: "1", pad: Array(1_001).fill(0) })).toBe("ran");
  expect([await counted("resolved"), await counted("money"), await billed("outcome:resolved")]).toEqual([[1, 0, 0], [990_000, 0, 0], 1]);
  expect(await reason("work", {})).toBe("ran");
  expect([await counted("money"), await billed("outcome:greeted")]).toEqual([[990_000, 0, 0], 0]);
});

test("a result that a guard keeps is no outcome: neither counted nor priced", async () => {
  const { reason, counted, billed } = await caller("billed");
  expect(await reason("close", { id: "1", text: FORBIDDEN_WORD })).toBe("content_refused");
  expect([await counted("resolved"), await counted("money"), await billed("outcome:resolved"), await billed("cost_micros")]).toEqual([
    [0, 0, 0],
    [0, 0, 0],
    0,
    0,
  ]);
});

test("what is charged as held is billed as held, on every meter", async () => {
  const { url, accessToken, counted, billed } = await caller("billed");
  const left = new AbortController();
  const asked = { name: "noisy", arguments: { pieces: 1 } };
  const answer = await modernRequest(url, accessToken, "tools/call", asked, 1, left.signal);
  await answer.body?.getReader().read();
  left.abort();
  await expect.poll(() => counted("renders")).toEqual([300, 0, 0]);
  expect(await billed("renders")).toBe(300);
});

test("a stream brings no more bytes than were held for them", async () => {
  const { reason, call, counted } = await caller("wired");
  const answer = await call("noisy", { pieces: 200, ends: true });
  const text = await answer.text();
  expect(text.length).toBeLessThan(110_000);
  expect(text).toContain("result_over_budget");
  const [once] = await counted("bytes");
  expect(once).toBeGreaterThan(text.length - 10_000);
  // What fits passes whole.
  expect(await (await call("noisy", { pieces: 3, ends: true })).text()).toContain('"status":"resolved"');
  expect(await reason("echo", {})).toBe("ran");
});

test("where a budget delivers, what has passed of a stream that is left is charged, and owed", async () => {
  const { url, accessToken, counted } = await caller("owing");
  const left = new AbortController();
  const asked = { name: "noisy", arguments: { pieces: 400 } };
  const answer = await modernRequest(url, accessToken, "tools/call", asked, 1, left.signal);
  let passed = 0;
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    passed += chunk.length;
    if (passed > 5_000_000) break;
  }
  left.abort();
  await expect.poll(async () => (await counted("owing"))[1]).toBe(0);
  const [committed, , debt] = await counted("owing");
  expect(committed + debt).toBeGreaterThanOrEqual(passed);
  expect(committed).toBeLessThanOrEqual(2_000_000);
});

test("a key whose time is over is no way around places and loops, and a retry takes no place", async () => {
  const { reason } = await caller("limited");
  for (let i = 0; i < 5; i++) await reason("work", {}, `old-${i}`);
  for (let i = 0; i < 5; i++) await reason("work", {}, `loop-${i}`);
  await sleep(KEEP_MS + 200);
  ran.length = 0;
  const atOnce = await Promise.all(Array.from({ length: 5 }, (_, i) => reason("slow", {}, `old-${i}`)));
  expect(atOnce.filter((each) => each === "ran").length).toBe(1);
  expect(atOnce.filter((each) => each === "concurrency_limited").length).toBe(4);
  const inTurn: string[] = [];
  for (let i = 0; i < 5; i++) inTurn.push(await reason("echo", { same: 1 }, `loop-${i}`));
  expect(inTurn).toEqual(["ran", "ran", "ran", "loop_detected", "loop_detected"]);
  expect(ran.filter((name) => name !== "work")).toEqual(["slow", "echo", "echo", "echo"]);

  expect(await reason("slow", { n: 1 }, "settled")).toBe("ran");
  for (let i = 0; i < 4; i++) {
    const [again, other] = await Promise.all([reason("slow", { n: 1 }, "settled"), reason("slow", {}, `new-${i}`)]);
    expect([again, other]).toEqual(["idempotency_settled", "ran"]);
  }
});

test("a reservation of what has no price is refused where a budget counts money, unless it says what it costs", async () => {
  const { agent } = await caller("pursed");
  const reserve = async (body: object) =>
    (await (await administer(gateway, "POST", "/reservations", { agent_id: agent.id, ...body })).json()) as {
      allowed: boolean;
      reason?: string;
      reservation_id?: string;
    };
  expect(await reserve({ feature: "render", meters: { calls: 1 } })).toMatchObject({ allowed: false, reason: "entitlement_denied" });
  const reserved = await reserve({ feature: "render", meters: { calls: 1, cost_micros: 400_000 } });
  expect(reserved).toMatchObject({ allowed: true });
  expect((await administer(gateway, "POST", `/reservations/${reserved.reservation_id}/settle`, {})).status).toBe(200);
  const { stdout } = await gateway.command("why", String(reserved.reservation_id));
  expect(stdout).toMatch(/By the administrator .*, for agent pursed-/);
  expect(stdout).toMatch(/Permitted by features/);
  expect(stdout).toMatch(/Budget purse for .*: held 400_000 cost_micros, posted 400_000/);
});

test("a correction is of a counter on which a call can draw, or it is refused", async () => {
  const { agent, counted, reason } = await caller("billed");
  const debit = async (scope: string) => {
    const answer = await administer(gateway, "POST", "/budgets/resolved/debit", { scope, amount: 1, reason: "elsewhere" });
    return [answer.status, ((await answer.json()) as { detail?: string }).detail ?? ""] as const;
  };
  expect(await debit("agent=nobody")).toEqual([422, expect.stringMatching(/there is no agent nobody/)]);
  expect(await debit("team=billed")).toEqual([422, expect.stringMatching(/each of agent/)]);
  expect(await debit(`agent=${agent.id}&team=x`)).toEqual([422, expect.stringMatching(/each of agent/)]);
  expect((await debit(`agent=${agent.name}`))[0]).toBe(201);
  expect(await counted("resolved")).toEqual([0, 0, 1]);
  expect(await reason("close", { id: "1" })).toBe("ran");
});
