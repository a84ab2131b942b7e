import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTasksUpstream, type TasksUpstream } from "../fixtures/tasks-upstream.ts";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest, sleep } from "./gateway-process.ts";

/** Long enough to make a task before it, on a machine that is busy. */
const SHIFT_MS = 25_000;

const EVERYTHING = new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url).pathname;

const policies = (endOfShift: Date) => `apiVersion: tollgate/v1
entitlements:
  - { name: support, who: { team: support }, permit: ["up/*", "child/*", "method:child/tasks/*"] }
  - { name: shift, who: { team: night }, permit: ["up/report"], when: now < timestamp("${endOfShift.toISOString()}") }
  - { name: night-greets, who: { team: night }, permit: ["up/greet"] }
  - { name: scoped, who: { team: scoped }, permit: ["up/report"], requires: [reports.use] }
  - { name: sealed, who: { team: sealed }, permit: ["up/*", "method:up/*"] }
  - { name: nobody-follows, who: { team: sealed }, forbid: ["method:up/tasks/*"] }
  - { name: metered, who: { team: metered }, permit: ["up/*"] }
budgets:
  - { name: tokens, who: { team: metered }, each: agent, meter: tool_tokens, limit: 300, period: total }
  - { name: calls, who: { team: metered }, each: agent, meter: calls, limit: 100, period: total }
`;

type Reply = {
  status: number;
  text: string;
  result?: { taskId?: string; task?: { taskId: string }; status?: string; tasks?: { taskId: string }[]; content?: { text: string }[] } & {
    result?: { content: { text: string }[] };
  };
  error?: { code: number; data?: { reason?: string } };
};
type Era = "modern" | "legacy";

const EXTENSIONS = { extensions: { "io.modelcontextprotocol/tasks": {} } };
const DECLARED = { modern: { _meta: { "io.modelcontextprotocol/clientCapabilities": EXTENSIONS } }, legacy: {} };

let upstream: TasksUpstream;
let gateway: GatewayProcess;
const tokens = new Map<string, string>();
let nightTask: string;

beforeAll(async () => {
  upstream = await startTasksUpstream();
  gateway = await GatewayProcess.start({
    policies: policies(new Date(Date.now() + SHIFT_MS)),
    servers: `  up: { url: "${upstream.mcpUrl}", reserve: { tool_tokens: 100 } }
  child: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }`,
  });
  await admit("night");
  nightTask = await report("night", "modern");
  expect((await ask("night", "modern", "tasks/get", { taskId: nightTask })).result?.status).toBe("working");
  await Promise.all(["support", "twin", "scoped", "sealed", "metered"].map((name) => admit(name, name === "twin" ? "support" : name)));
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
});

async function admit(name: string, team = name): Promise<void> {
  const agent: Credentials = await gateway.createAgent(name, team);
  tokens.set(name, await gateway.accessToken(agent, "up", name === "scoped" ? "mcp reports.use" : undefined));
  if (name === "scoped") tokens.set("unscoped", await gateway.accessToken(agent, "up"));
  if (name === "support") tokens.set("child", await gateway.accessToken(agent, "child"));
}

async function ask(who: string, era: Era, method: string, params: object, server = "up"): Promise<Reply> {
  const send = era === "modern" ? modernRequest : legacyRequest;
  const answer = await send(`${gateway.publicUrl}/mcp/${server}`, tokens.get(who) ?? "", method, { ...DECLARED[era], ...params });
  const text = await answer.text();
  return { status: answer.status, text, ...(text.startsWith("{") ? (JSON.parse(text) as object) : {}) };
}

async function report(who: string, era: Era, args: object = {}): Promise<string> {
  const { result } = await ask(who, era, "tools/call", {
    name: "report",
    arguments: args,
    ...(era === "legacy" ? { task: { ttl: 60_000 } } : {}),
  });
  return result?.taskId ?? result?.task?.taskId ?? "no task";
}

/** All but what names the one answer: its call. */
const masked = ({ status, text }: Reply) => [status, text.replaceAll(/call_[0-9A-Za-z]+/g, "call_")];
const tasksHeard = () => upstream.methods().filter((method) => method.startsWith("tasks/") || method === "subscriptions/listen");

const METHODS: readonly [Era, string][] = [
  ["modern", "tasks/get"],
  ["modern", "tasks/update"],
  ["modern", "tasks/cancel"],
  ["legacy", "tasks/get"],
  ["legacy", "tasks/result"],
  ["legacy", "tasks/cancel"],
];

describe.each(METHODS)("%s %s", (era, method) => {
  const more = method === "tasks/update" ? { inputResponses: {} } : {};

  test("is open to the agent whose call became the task, without a permit of its own", async () => {
    const taskId = await report("support", era);
    upstream.finish(taskId, "done");
    const { status, error } = await ask("support", era, method, { taskId, ...more });
    expect([status, error]).toEqual([200, undefined]);
  });

  test("is refused for another's task as for one that nobody has, in the same bytes, and the server hears nothing", async () => {
    const taskId = await report("support", era);
    const before = tasksHeard().length;
    const foreign = await ask("twin", era, method, { taskId, ...more });
    const invented = await ask("twin", era, method, { taskId: crypto.randomUUID(), ...more });
    expect(foreign.error).toMatchObject({ code: -32602, data: { reason: "task_unknown" } });
    expect(masked(foreign)).toEqual(masked(invented));
    expect(tasksHeard().length).toBe(before);
    // And the owner's is untouched.
    expect((await ask("support", era, "tasks/get", { taskId })).result?.status).toBe("working");
  });

  test("stays forbidden where a rule forbids the method, whoever asks", async () => {
    const taskId = await report("sealed", era);
    const before = tasksHeard().length;
    for (const id of [taskId, "invented"]) expect((await ask("sealed", era, method, { taskId: id, ...more })).error?.code).toBe(-32601);
    expect(tasksHeard().length).toBe(before);
  });

  test("does not cross to a stdio server, whatever is permitted there", async () => {
    expect((await ask("child", era, method, { taskId: "any", ...more }, "child")).error?.code).toBe(-32601);
  });
});

test("a request without a task id names no task", async () => {
  expect((await ask("support", "legacy", "tasks/get", {})).error?.code).toBe(-32602);
  expect((await ask("support", "legacy", "tasks/get", { taskId: 7 })).error?.code).toBe(-32602);
});

test("tasks/list holds the agent's own tasks only, and is no method of 2026-07-28; neither is tasks/result", async () => {
  const mine = await report("twin", "legacy");
  const theirs = await report("support", "legacy");
  const listed = (await ask("twin", "legacy", "tasks/list", {})).result?.tasks?.map(({ taskId }) => taskId);
  expect(listed).toContain(mine);
  expect(listed).not.toContain(theirs);
  expect((await ask("child", "legacy", "tasks/list", {}, "child")).error?.code).toBe(-32601);
  expect((await ask("sealed", "legacy", "tasks/list", {})).error?.code).toBe(-32601);
  for (const method of ["tasks/list", "tasks/result"]) {
    expect((await ask("twin", "modern", method, { taskId: mine })).error?.code).toBe(-32601);
  }
});

test.each(["tasks/get", "tasks/update", "tasks/cancel", "subscriptions/listen"])("%s needs the extension declared", async (method) => {
  const taskId = await report("support", "modern");
  for (const id of [taskId, "invented"]) {
    const params = { ...(method.startsWith("tasks/") ? { taskId: id } : { notifications: { taskIds: [id] } }), _meta: {} };
    const { status, error } = await ask("support", "modern", method, params);
    expect([status, error]).toMatchObject([400, { code: -32021, data: { requiredCapabilities: EXTENSIONS } }]);
  }
});

test("Mcp-Name has to be the task's id", async () => {
  const taskId = await report("support", "modern");
  const params = { taskId, name: "another" };
  expect((await ask("support", "modern", "tasks/get", params)).error?.code).toBe(-32020);
});

test("a token without the tool's scope does not follow the task either", async () => {
  const taskId = await report("scoped", "modern");
  expect((await ask("unscoped", "modern", "tasks/get", { taskId })).status).toBe(403);
  expect((await ask("scoped", "modern", "tasks/get", { taskId })).result?.status).toBe("working");
});

test("an id that the server gives a second time stays with its first owner", async () => {
  const taskId = await report("support", "modern", { id: "given-twice" });
  await report("twin", "modern", { id: "given-twice" });
  expect((await ask("twin", "modern", "tasks/get", { taskId })).error?.code).toBe(-32602);
  expect((await ask("support", "modern", "tasks/get", { taskId })).result?.status).toBe("working");
});

test("a task is unknown once its time to live is over", async () => {
  const taskId = await report("support", "modern", { ttl: 200 });
  await sleep(250);
  expect((await ask("support", "modern", "tasks/get", { taskId })).error?.code).toBe(-32602);
});

test("to listen for a task it has to be one's own, and no push brings what the task came to", async () => {
  const taskId = await report("support", "modern");
  upstream.finish(taskId, "the-result");
  const before = tasksHeard().length;
  const foreign = await ask("twin", "modern", "subscriptions/listen", { notifications: { taskIds: [taskId] } });
  const invented = await ask("twin", "modern", "subscriptions/listen", { notifications: { taskIds: ["invented"] } });
  expect(foreign.error?.code).toBe(-32602);
  expect(masked(foreign)).toEqual(masked(invented));
  expect(tasksHeard().length).toBe(before);
  const { text } = await ask("support", "modern", "subscriptions/listen", { notifications: { taskIds: [taskId] } });
  expect(text).toContain('"status":"working"');
  expect(text).not.toContain("the-result");
});

type Row = {
  kind: string;
  call_id: string;
  logical_call_id: string;
  outcome: string;
  settlement: string | null;
  request: { method: string };
};

test.each([
  ["modern", "tasks/get"],
  ["legacy", "tasks/result"],
] as const)("the %s result of a task is charged once, as the call that it belongs to, and looking is free", async (era, method) => {
  const used = async () => {
    const { rows } = await gateway.json<{
      rows: { agent: string; tool: string; calls: number; tool_tokens: number; output_tokens: number }[];
    }>(...["usage", "--by", "agent,tool"]);
    return rows.filter(({ agent }) => agent === "metered");
  };
  const [start] = await used();
  const taskId = await report("metered", era);
  const [made] = await used();
  expect(made).toMatchObject({ tool: "report", calls: (start?.calls ?? 0) + 1 });
  for (let i = 0; i < 3; i++) await ask("metered", era, "tasks/get", { taskId });
  expect(await used()).toEqual([made]);
  upstream.finish(taskId, "four words of text");
  for (let i = 0; i < 3; i++) expect((await ask("metered", era, method, { taskId })).text).toContain("four words of text");
  expect(await used()).toMatchObject([{ tool: "report", calls: made?.calls, tool_tokens: (made?.tool_tokens ?? 0) + 4 }]);
  const records = await gateway.json<Row[]>("audit", "tail");
  const looks = records.filter(({ request }) => request?.method === method).slice(-3);
  const call = records.findLast(({ request }) => request?.method === "tools/call");
  expect(call?.outcome).toBe("task");
  expect(looks.map(({ settlement }) => settlement)).toEqual(["posted", "voided", "voided"]);
  expect(looks.map(({ logical_call_id }) => logical_call_id)).toEqual(looks.map(() => call?.call_id));
});

test("a hard budget that cannot carry what a task came to withholds it each time it is asked for", async () => {
  const taskId = await report("metered", "modern");
  upstream.finish(taskId, "word ".repeat(1_000));
  const first = await ask("metered", "modern", "tasks/get", { taskId });
  expect(first.error?.code).toBe(40322);
  const second = await ask("metered", "modern", "tasks/get", { taskId });
  expect([40322, 40321, 42910]).toContain(second.error?.code);
  expect(first.text + second.text).not.toContain("word word");
  // Ending it stays possible: that costs nothing.
  expect((await ask("metered", "modern", "tasks/cancel", { taskId })).error).toBeUndefined();
  expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
});

test("when the tool is not permitted any more, its task is unknown", async () => {
  const call = () => ask("night", "modern", "tools/call", { name: "report", arguments: {} });
  const follow = () => ask("night", "modern", "tasks/get", { taskId: nightTask });
  while ((await call()).error === undefined) {
    await sleep(200);
  }
  const before = tasksHeard().length;
  expect((await follow()).error).toMatchObject({ code: -32602, data: { reason: "task_unknown" } });
  expect(tasksHeard().length).toBe(before);
}, 30_000);

test("after a restart an old task is unknown", async () => {
  const taskId = await report("support", "modern");
  expect(await gateway.stop()).toBe(0);
  await gateway.serve();
  expect((await ask("support", "modern", "tasks/get", { taskId })).error).toMatchObject({ code: -32602 });
});
