/** Permits that lapse, at the front door of a gateway whose calendar is turned on by weeks. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { folderOf, tollgate } from "../cli/terminal.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { freePorts, modernRequest } from "./gateway-process.ts";

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 10, 1);
const rules = (from = "2026-11-01") => `apiVersion: tollgate/v1
entitlements:
  - { name: may-echo, permit: [up/echo], from: ${from}, idle: 30d }
  - { name: may-add, permit: [up/add], from: ${from}, idle: 30d }
  - { name: may-list, permit: [up/big] }
budgets:
  - { name: none, who: { team: poor }, meter: calls, limit: 0, period: total }
`;

let upstream: Upstream;
let gateway: Gateway;
let file: string;

const policyFile = () => join(file, "../policies/a.yaml");
const start = () => startGateway({ configFile: file, env: {}, log: createLog("silent") });
const turnTo = (day: number) => vi.setSystemTime(START_MS + day * DAY_MS);

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: START_MS });
  upstream = await startHttpUpstream();
  const ports = await freePorts(3);
  file = join(folderOf({ "policies/a.yaml": rules() }), "tollgate.yaml");
  const [listen, admin, probes] = ports.map((port) => `{ port: ${port} }`);
  const head = `apiVersion: tollgate/v1\npublicUrl: http://127.0.0.1:${ports[0]}\n`;
  writeFileSync(file, `${head}listen: ${listen}\nadmin: ${admin}\nprobes: ${probes}\nservers: { up: { url: "${upstream.mcpUrl}" } }\n`);
  gateway = await start();
  for (const [name, team] of [
    ["bot", "rich"],
    ["other", "rich"],
    ["poor", "poor"],
  ] as const)
    await command("agent", "create", name, "--team", team, "--owner", "o@example.com", "--purpose", "testing");
});
afterAll(async () => {
  // A command that answers no sets it for its process, which here is that of the tests.
  process.exitCode = undefined;
  await gateway?.close();
  await upstream?.close();
  vi.useRealTimers();
});

async function command(...args: string[]): Promise<string> {
  const { code, out, err } = await tollgate([...args, "-c", file, "--json"]);
  expect([code, err]).toEqual([0, ""]);
  return out;
}

async function ask(agent: string, method: string, params: object) {
  const { access_token } = JSON.parse(await command("token", "--agent", agent, "--server", "up")) as { access_token: string };
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, access_token, method, { ...params });
  return (await answer.json()) as { result?: { tools?: { name: string }[] }; error?: { data: { reason: string } } };
}
const call = async (agent: string, name: string) =>
  (await ask(agent, "tools/call", { name, arguments: name === "echo" ? { text: "x" } : { a: 1, b: 2 } })).error?.data.reason ?? "done";
const listed = async (agent: string) => (await ask(agent, "tools/list", {})).result?.tools?.map(({ name }) => name).toSorted();

test("a call that was let through is a use, and lets a permit go on for that agent; nothing else does", async () => {
  turnTo(20);
  expect([await call("bot", "echo"), await listed("other"), await call("poor", "echo")]).toEqual([
    "done",
    ["add", "big", "echo"],
    "budget_exhausted",
  ]);
  turnTo(31);
  expect([await call("other", "echo"), await call("bot", "add"), await call("poor", "echo")]).toEqual(Array(3).fill("tool_unknown"));
  expect([await listed("bot"), await listed("other")]).toEqual([["big", "echo"], ["big"]]);
  turnTo(49);
  expect(await call("bot", "echo")).toBe("done");
});

test("what was used before a restart is known before the first call after it", async () => {
  await gateway.close();
  turnTo(78);
  gateway = await start();
  expect([await call("bot", "echo"), await call("other", "echo")]).toEqual(["done", "tool_unknown"]);
});

test("a permit that begins to lapse knows what was used before it did, and a newer from renews it for all", async () => {
  writeFileSync(policyFile(), rules().replaceAll(", from: 2026-11-01, idle: 30d", ""));
  expect(await gateway.reload()).toBe(true);
  expect(await call("other", "add")).toBe("done");
  writeFileSync(policyFile(), rules());
  expect(await gateway.reload()).toBe(true);
  turnTo(80);
  expect([await call("other", "add"), await call("bot", "add"), await call("bot", "echo")]).toEqual(["done", "tool_unknown", "done"]);
  writeFileSync(policyFile(), rules("2027-01-10"));
  expect(await gateway.reload()).toBe(true);
  expect([await call("bot", "add"), await call("other", "echo")]).toEqual(["done", "done"]);
});

test("it is explained with the uses that the gateway knows", async () => {
  turnTo(120);
  const said = await tollgate(["policy", "explain", "--agent", "bot", "--tool", "up/echo", "-c", file, "--json"]);
  const { considered } = JSON.parse(said.out) as { considered: { name: string; differs: string[] }[] };
  expect(considered.find(({ name }) => name === "may-echo")?.differs).toEqual([
    "it lapsed: not used since 2027-01-20T00:00:00.000Z; write a newer from to renew it",
  ]);
});
