import { afterAll, beforeAll, expect, test } from "vitest";
import { type Credentials, GatewayProcess, legacyRequest, modernRequest } from "../e2e/gateway-process.ts";
import { startTasksUpstream, type TasksUpstream } from "../fixtures/tasks-upstream.ts";

const EXTENSIONS = { extensions: { "io.modelcontextprotocol/tasks": {} } };

let upstream: TasksUpstream;
let gateway: GatewayProcess;
let accessToken: string;

beforeAll(async () => {
  upstream = await startTasksUpstream();
  gateway = await GatewayProcess.start({
    policies: "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [up/*] }\n",
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: `receipts: true
outcomes: [{ name: reported, tool: up/report, when: "result.content[0].text.contains('done')" }]
meters:
  - { name: texts, tool: up/report, pointer: /content, max: 10 }
  - { name: asked, tool: up/report, of: arguments, pointer: /n, max: 10 }
`,
  });
  const agent: Credentials = await gateway.createAgent("bot");
  accessToken = await gateway.accessToken(agent, "up");
});
afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

test.each([
  ["modern", "tasks/get"],
  ["legacy", "tasks/result"],
] as const)("what a task came to is counted once, however often it is asked for: %s %s", async (era, method) => {
  const ask = async (name: string, params: object) => {
    const send = era === "modern" ? modernRequest : legacyRequest;
    const declared = era === "modern" ? { _meta: { "io.modelcontextprotocol/clientCapabilities": EXTENSIONS } } : {};
    const answer = await send(`${gateway.publicUrl}/mcp/up`, accessToken, name, { ...declared, ...params });
    const { result } = (await answer.json()) as { result: { taskId?: string; task?: { taskId: string }; _meta?: Record<string, unknown> } };
    return { taskId: result.taskId ?? result.task?.taskId ?? "", receipt: result._meta?.["io.tollgate/receipt"] };
  };
  const before = await counted();
  const made = await ask("tools/call", { name: "report", arguments: { n: 3 }, ...(era === "legacy" ? { task: { ttl: 60_000 } } : {}) });
  expect(made.receipt).toBeUndefined();
  // What it was given is known already.
  expect(await counted()).toEqual({ ...before, calls: before.calls + 1, asked: before.asked + 3 });
  upstream.finish(made.taskId, "it is done");
  const looks = [];
  for (let i = 0; i < 3; i++) looks.push((await ask(method, { taskId: made.taskId })).receipt);
  expect(looks).toMatchObject([{ usage: { calls: 0, outcomes: { reported: 1 }, outputs: { texts: 1 } } }, undefined, undefined]);
  expect(await counted()).toEqual({
    calls: before.calls + 1,
    reported: before.reported + 1,
    texts: before.texts + 1,
    asked: before.asked + 3,
  });
});

async function counted() {
  const { rows } = await gateway.json<{ rows: Record<string, number>[] }>("usage", "--by", "tool", "--where", "tool=report");
  const [row = {}] = rows;
  return { calls: row.calls ?? 0, reported: row["outcome:reported"] ?? 0, texts: row.texts ?? 0, asked: row.asked ?? 0 };
}
