/** What comes after the first answer of a guarded call: tasks, rounds and resumed streams are no way past its guards. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminAt } from "../../src/cli/admin-client.ts";
import { FORBIDDEN_WORD, type Guard, startGuard } from "../fixtures/guard.ts";
import { type Door, type Handler, openDoor } from "../fixtures/listener.ts";
import { startTasksUpstream, type TasksUpstream } from "../fixtures/tasks-upstream.ts";
import { GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: a-free, permit: [tasks/report], when: has(args.free) }
  - { name: b-watched, permit: [tasks/report], inspect: [words] }
  - { name: asks, permit: [seats/book], inspect: [{ by: words, of: [arguments] }] }
  - { name: talks, permit: [late/free] }
  - { name: listens, permit: [late/guarded], inspect: [{ by: words, of: [result] }] }
  - { name: later, permit: [late/later] }
budgets:
  - { name: tokens, who: { team: poor }, meter: tool_tokens, limit: 101, period: total }
`;
const EXTENSIONS = { extensions: { "io.modelcontextprotocol/tasks": {} } };
const DECLARED = { _meta: { "io.modelcontextprotocol/clientCapabilities": EXTENSIONS } };

type Era = "modern" | "legacy";
type Reply = {
  text: string;
  result?: { taskId?: string; task?: { taskId: string }; status?: string; resultType?: string };
  error?: { code: number; data: { reason: string; of?: string } };
};

let guard: Guard;
let tasks: TasksUpstream;
let seats: Door;
let late: Door;
let gateway: GatewayProcess;
const tokens = new Map<string, string>();

beforeAll(async () => {
  [guard, tasks, seats, late] = await Promise.all([startGuard(), startTasksUpstream(), openDoor(answerSeats), openDoor(answerLate)]);
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    more: `inspectors: { words: { url: "${guard.guardUrl("words")}", timeout: 10s, onFailure: refuse } }`,
    servers: `  tasks: { url: "${tasks.mcpUrl}", reserve: { tool_tokens: 100 } }
  seats: { url: "${seats.url}/mcp" }
  late: { url: "${late.url}/mcp" }`,
  });
  const bot = await gateway.createAgent("bot");
  const poor = await gateway.createAgent("poor", "poor");
  for (const server of ["tasks", "seats", "late"]) tokens.set(server, await gateway.accessToken(bot, server));
  tokens.set("poor", await gateway.accessToken(poor, "tasks"));
}, 120_000);

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await Promise.all([guard?.close(), tasks?.close(), seats?.close(), late?.close()]);
});

async function ask(server: string, era: Era, method: string, params: object, who = server): Promise<Reply> {
  const send = era === "modern" ? modernRequest : legacyRequest;
  const declared = server === "tasks" && era === "modern" ? DECLARED : {};
  const answer = await send(`${gateway.publicUrl}/mcp/${server}`, tokens.get(who) ?? "", method, { ...declared, ...params });
  const text = await answer.text();
  return { text, ...(text.startsWith("{") ? (JSON.parse(text) as object) : {}) };
}

async function report(era: Era, who = "tasks"): Promise<string> {
  const task = era === "legacy" ? { task: { ttl: 60_000 } } : {};
  const { result, text } = await ask("tasks", era, "tools/call", { name: "report", arguments: {}, ...task }, who);
  const taskId = result?.taskId ?? result?.task?.taskId;
  expect(taskId, text).toBeDefined();
  return taskId ?? "";
}

const heard = (method: string) => tasks.methods().filter((each) => each === method).length;

test.each([
  ["modern", "tasks/get"],
  ["legacy", "tasks/result"],
] as const)("what a task came to is looked at each time that it is fetched, by %s %s", async (era, method) => {
  const taskId = await report(era);
  const asked = guard.asked("words").length;
  expect((await ask("tasks", era, "tasks/get", { taskId })).result?.status).toBe("working");
  // To look says nothing: there is one question, about what came.
  expect(guard.asked("words").length).toBe(asked + 1);
  tasks.finish(taskId, `a ${FORBIDDEN_WORD}`);
  for (let look = 1; look <= 3; look++) {
    const { error, text } = await ask("tasks", era, method, { taskId });
    expect(error).toMatchObject({ code: 40304, data: { reason: "content_refused", of: "result" } });
    expect(text).not.toContain(FORBIDDEN_WORD);
  }
  tasks.finish(taskId, "something else");
  expect((await ask("tasks", era, method, { taskId })).text).toContain("something else");
  expect(JSON.parse(guard.asked("words").at(-1) ?? "")).toMatchObject({
    inspect: "result",
    method,
    target: { kind: "tool", name: "report" },
  });
});

test("what an agent tells a task is looked at as arguments are, and reaches nobody where a guard refuses it", async () => {
  const taskId = await report("modern");
  const before = heard("tasks/update");
  const tell = (content: string) => ask("tasks", "modern", "tasks/update", { taskId, inputResponses: { seat: { content } } });
  expect((await tell(FORBIDDEN_WORD)).error).toMatchObject({ code: 40304, data: { of: "arguments" } });
  expect(heard("tasks/update")).toBe(before);
  expect((await tell("12a")).error).toBeUndefined();
  expect(heard("tasks/update")).toBe(before + 1);
});

test("a guard costs no budget: a task can be ended and told when nothing is left", async () => {
  const taskId = await report("modern", "poor");
  expect((await ask("tasks", "modern", "tasks/get", { taskId }, "poor")).error?.data.reason).toBe("budget_insufficient");
  expect((await ask("tasks", "modern", "tasks/update", { taskId, inputResponses: {} }, "poor")).error).toBeUndefined();
  expect((await ask("tasks", "modern", "tasks/cancel", { taskId }, "poor")).error).toBeUndefined();
});

test("what the client answers in a further round is looked at beside the arguments", async () => {
  const book = (more: object) => ask("seats", "modern", "tools/call", { name: "book", arguments: { day: "friday" }, ...more });
  const answer = (seat: string) => ({ inputResponses: { seat: { action: "accept", content: { seat } } }, requestState: "s" });
  expect((await book({})).result?.resultType).toBe("input_required");
  const before = seats.received.length;
  expect((await book(answer(FORBIDDEN_WORD))).error).toMatchObject({ code: 40304, data: { of: "arguments" } });
  expect(seats.received.length).toBe(before);
  expect((await book(answer("12a"))).result?.resultType).toBe("complete");
  expect(JSON.parse(guard.asked("words").at(-1) ?? "")).toMatchObject({
    arguments: { day: "friday" },
    input_responses: { seat: { content: { seat: "12a" } } },
  });
});

/** Calls a tool whose server breaks the stream off, and resumes it. */
async function resumed(name: string): Promise<string> {
  const url = `${gateway.publicUrl}/mcp/late`;
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
    authorization: `Bearer ${tokens.get("late")}`,
  };
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
  const post = (body: object, session = {}) =>
    fetch(url, { method: "POST", headers: { ...headers, ...session }, body: JSON.stringify({ jsonrpc: "2.0", ...body }) });
  const opened = await post({ id: 1, method: "initialize", params });
  const session = { "mcp-session-id": opened.headers.get("mcp-session-id") ?? "none" };
  const broken = await (await post({ id: 2, method: "tools/call", params: { name, arguments: {} } }, session)).text();
  const lastEventId = /^id: (.*)$/m.exec(broken)?.[1] ?? "none";
  const { "content-type": _, ...reading } = headers;
  const again = await fetch(url, { headers: { ...reading, ...session, accept: "text/event-stream", "last-event-id": lastEventId } });
  expect(again.status).toBe(200);
  return await again.text();
}

test("a guarded result does not come on a stream that the client resumes, and any other does", async () => {
  expect(await resumed("free")).toContain("the late answer");
  const withheld = await resumed("guarded");
  expect(withheld).toContain("meanwhile");
  expect(withheld).not.toContain("the late answer");
});

test("a guard counts from the reload that brings it, and an unknown one keeps the old policies", async () => {
  const file = join(gateway.folder, "policies", "test.yaml");
  const late = async () => (await ask("late", "modern", "tools/call", { name: "later", arguments: { say: FORBIDDEN_WORD } })).error?.code;
  const reloaded = async (by: string, holds: () => Promise<boolean>) => {
    writeFileSync(file, POLICIES.replace("permit: [late/later]", `permit: [late/later], inspect: [${by}]`));
    for (let i = 0; !(await holds()); i++) {
      if (i > 400) throw new Error(`it never came to be:\n${gateway.output.slice(-2_000)}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  };
  expect(await late()).not.toBe(40304);
  await reloaded("word", async () => gateway.output.includes("the config has no inspector word; did you mean words?"));
  expect(await late()).not.toBe(40304);
  await reloaded("words", async () => (await late()) === 40304);
});

test("a decision without a call asks no guard, and says that a call would be looked at", async () => {
  const before = guard.received.length;
  const admin = adminAt(gateway.adminUrl, () => readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim());
  const { items } = await admin.get<{ items: { id: string; name: string }[] }>("/agents");
  const agent_id = items.find(({ name }) => name === "bot")?.id;
  const authorize = (tool: string) => admin.post("/mcp/authorize", { agent_id, tool, arguments: { say: FORBIDDEN_WORD } });
  expect(await authorize("seats/book")).toMatchObject({ allowed: true, inspected: true });
  expect(await authorize("late/free")).toMatchObject({ allowed: true, inspected: false });
  const check = await fetch(`${gateway.publicUrl}/v1/me/check`, {
    method: "POST",
    headers: { authorization: `Bearer ${tokens.get("seats")}`, "content-type": "application/json" },
    body: JSON.stringify({ tool: "seats/book", arguments: {} }),
  });
  expect(await check.json()).toMatchObject({ allowed: true, inspected: true });
  expect(guard.received.length).toBe(before);
});

type Message = { id: number; method: string; params: { name?: string; inputResponses?: object } };

function answerSeats(...[, res, body]: Parameters<Handler>): void {
  const { id, method, params } = JSON.parse(body.toString()) as Message;
  const say = (result: object) =>
    void res.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  if (method === "tools/list") return say(listOf("book"));
  if (params.inputResponses !== undefined) return say({ resultType: "complete", content: [] });
  const inputRequests = { seat: { method: "elicitation/create", params: { mode: "form", message: "Which seat?" } } };
  say({ resultType: "input_required", inputRequests, requestState: "s" });
}

function answerLate(...[req, res, body]: Parameters<Handler>): void {
  const event = (message: object) => `data: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`;
  if (req.method === "GET") {
    const meanwhile = event({ method: "notifications/message", params: { level: "info", data: "meanwhile" } });
    const result = event({ id: 2, result: { content: [{ type: "text", text: "the late answer" }] } });
    return void res.writeHead(200, { "content-type": "text/event-stream" }).end(meanwhile + result);
  }
  const { id, method, params } = JSON.parse(body.toString()) as Message;
  const say = (result: object) =>
    void res.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  if (method === "initialize") {
    res.setHeader("mcp-session-id", "own-session");
    return say({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "late", version: "1" } });
  }
  if (method === "tools/list") return say(listOf("free", "guarded", "later"));
  if (params.name === "later") return say({ resultType: "complete", content: [] });
  res.writeHead(200, { "content-type": "text/event-stream" }).end("id: e-1\ndata: \n\n");
}

function listOf(...names: string[]): object {
  const tools = names.map((name) => ({ name, inputSchema: { type: "object" } }));
  return { resultType: "complete", tools, ttlMs: 0, cacheScope: "private" };
}
