/** Policies that change while the gateway runs, and policies that are only observed, in processes of their own. */
import { existsSync, mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

type Answer = { result?: { tools?: { name: string }[] }; error?: { code: number; data: { reason: string } } };
type Recorded = {
  kind: string;
  decision: string | null;
  policy_version: string | null;
  shadow: object | null;
  details: Record<string, string> | null;
};

const file = (rules: string) => `apiVersion: tollgate/v1\nentitlements:\n${rules}\n`;
const ECHO = file("  - { name: may-echo, permit: [up/echo] }");
const BOTH = file("  - { name: may-echo, permit: [up/echo] }\n  - { name: may-count, permit: [up/add] }");
const BROKEN = file("  - { name: may-echo, permit: [up/echo], when: args.limit <= }");

let upstream: Upstream;
let gateway: GatewayProcess;
let agent: Credentials;
let accessToken: string;

beforeAll(async () => {
  upstream = await startHttpUpstream({});
  gateway = await GatewayProcess.start({ policies: ECHO, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  agent = await gateway.createAgent("bot");
  accessToken = await gateway.accessToken(agent, "up");
});
afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const policyFile = (name = "test.yaml") => join(gateway.folder, "policies", name);

async function ask(method: string, params: Record<string, unknown>): Promise<Answer> {
  return (await (await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, method, params)).json()) as Answer;
}
const call = (name: string) => ask("tools/call", { name, arguments: name === "echo" ? { text: "x" } : { a: 1, b: 2 } });
const reason = async (name: string) => (await call(name)).error?.data.reason ?? "done";

/** Asks again and again, for as long as a person would wait. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await holds()) return;
    await sleep(50);
  }
  throw new Error(`it never came to be:\n${gateway.output.slice(-2_000)}`);
}

const probe = async () => {
  const answer = await fetch(`${gateway.probesUrl}/readyz`);
  return { status: answer.status, ...((await answer.json()) as { ready: boolean; checks: Record<string, boolean> }) };
};
const metric = async () => /^tollgate_policy_current (\d)$/m.exec(await (await fetch(`${gateway.probesUrl}/metrics`)).text())?.[1];
const records = () => gateway.json<Recorded[]>("audit", "tail", "--limit", "200");

test("a change of the files is in force within moments, whole, and in the record of each call that it judged", async () => {
  expect([await reason("echo"), await reason("add")]).toEqual(["done", "tool_unknown"]);
  writeFileSync(policyFile(), BOTH);
  await until(async () => (await reason("add")) === "done");
  expect((await ask("tools/list", {})).result?.tools?.map(({ name }) => name).toSorted()).toEqual(["add", "echo"]);
  const all = await records();
  const loaded = all.filter(({ kind }) => kind === "policy.loaded");
  expect(loaded).toHaveLength(1);
  const { was, policy_version } = loaded[0]?.details ?? {};
  const versions = all.filter(({ kind }) => kind === "call").map((record) => record.policy_version);
  expect([versions[0], versions.at(-1)]).toEqual([was, policy_version]);
  expect(new Set(versions)).toEqual(new Set([was, policy_version]));
});

test("a bad set keeps the old one, says why with the line, and shows; a good one ends that", async () => {
  writeFileSync(policyFile(), BROKEN);
  await until(async () => (await probe()).checks.policies === false);
  // Other gateways got the same file: none of them leaves service for it.
  expect(await probe()).toMatchObject({ status: 200, ready: true });
  expect(await metric()).toBe("0");
  expect(gateway.output).toMatch(/policies\/test\.yaml:3:61: entitlements\[0\]\.when/);
  expect([await reason("echo"), await reason("add")]).toEqual(["done", "done"]);
  writeFileSync(policyFile(), ECHO);
  await until(async () => (await probe()).checks.policies === true);
  expect([await metric(), await reason("add")]).toEqual(["1", "tool_unknown"]);
});

test("SIGHUP reads the files at once; a folder that is switched by its link is noticed too", async () => {
  writeFileSync(policyFile(), BOTH);
  gateway.child?.kill("SIGHUP");
  await until(async () => (await reason("add")) === "done");
  // As a ConfigMap is mounted: files are links into a folder, which is replaced by another.
  const base = join(gateway.folder, "policies");
  mkdirSync(join(gateway.folder, "next"));
  writeFileSync(join(gateway.folder, "next", "test.yaml"), ECHO);
  symlinkSync(join(gateway.folder, "next", "test.yaml"), join(base, "link.tmp"));
  renameSync(join(base, "link.tmp"), policyFile());
  await until(async () => (await reason("add")) === "tool_unknown");
  unlinkSync(policyFile());
  writeFileSync(policyFile(), ECHO);
});

test("an empty or missing folder is no set of policies: the last good one goes on", async () => {
  const base = join(gateway.folder, "policies");
  renameSync(base, `${base}.away`);
  await until(async () => (await probe()).checks.policies === false);
  expect(await reason("echo")).toBe("done");
  renameSync(`${base}.away`, base);
  await until(async () => (await probe()).checks.policies === true);
});

test("an agent that a file begins to declare is there; one that leaves it is suspended", async () => {
  const declares = `${ECHO}agents: { filed: { owner: o, purpose: p } }\n`;
  writeFileSync(policyFile(), declares);
  await until(async () => (await gateway.command("agent", "show", "filed")).code === 0);
  writeFileSync(policyFile(), ECHO);
  await until(async () => (await gateway.json<{ state: string }>("agent", "show", "filed")).state === "suspended");
});

test("calls that run while policies change are all answered, each judged by one set", async () => {
  let done = false;
  let answered = 0;
  const failures: unknown[] = [];
  const caller = async () => {
    while (!done) {
      const heard = await reason("echo").catch((fault: unknown) => String(fault));
      if (heard === "done") answered += 1;
      else failures.push(heard);
    }
  };
  const callers = Array.from({ length: 4 }, caller);
  for (let i = 0; i < 20 || (answered <= 20 && i < 2_000); i++) {
    writeFileSync(policyFile(), i % 2 === 0 ? BOTH : ECHO);
    gateway.child?.kill("SIGHUP");
    await sleep(25);
  }
  done = true;
  await Promise.all(callers);
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(20);
}, 60_000);

test("mode: observe lets through what policies would refuse, and each record says what they would have said", async () => {
  const observed = await GatewayProcess.start({
    policies: `${ECHO}budgets: [{ name: one, meter: calls, limit: 1, period: day }]\n`,
    more: "mode: observe",
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
  });
  try {
    const other = await observed.createAgent("bot");
    const own = await observed.accessToken(other, "up");
    const asking = async (method: string, params: Record<string, unknown>) =>
      (await (await modernRequest(`${observed.publicUrl}/mcp/up`, own, method, params)).json()) as Answer;
    expect((await asking("tools/list", {})).result?.tools?.map(({ name }) => name)).toContain("add");
    // What a budget would have refused stands there too, where no rule says no before it.
    for (const name of ["echo", "add", "add", "echo"])
      expect((await asking("tools/call", { name, arguments: name === "echo" ? { text: "x" } : { a: 1, b: 2 } })).result).toBeDefined();
    type Call = Recorded & { target: { kind: string } | null; budget: { posted: number; debt: number }[] };
    const calls = (await observed.json<Call[]>("audit", "tail")).filter(({ target }) => target?.kind === "tool");
    expect(calls.map(({ decision, shadow }) => [decision, shadow])).toEqual([
      ["permit", null],
      ["permit", expect.objectContaining({ mode: "observe", decision: "refuse", reason: "tool_unknown" })],
      ["permit", expect.objectContaining({ mode: "observe", decision: "refuse", reason: "tool_unknown" })],
      ["permit", expect.objectContaining({ mode: "observe", decision: "refuse", reason: "budget_exhausted" })],
    ]);
    expect(calls.at(-1)?.budget[0]).toMatchObject({ budget: "one", posted: 1, debt: 0 });
    // What is no policy still refuses.
    expect((await modernRequest(`${observed.publicUrl}/mcp/up`, "forged", "tools/list", {})).status).toBe(401);
    expect(observed.output).toContain("policies are observed");
    expect((await observed.json<{ ok: boolean }>("audit", "verify")).ok).toBe(true);
  } finally {
    await observed.stop();
  }
});

test("a budget that counts another meter under its name is warned of, since what was counted stays", async () => {
  const of = (meter: string, period: string) => `${BOTH}budgets:\n  - { name: team-day, meter: ${meter}, limit: 9, period: ${period} }\n`;
  const inForce = async (text: string) => {
    const from = gateway.output.length;
    writeFileSync(policyFile(), text);
    await until(async () => gateway.output.slice(from).includes("the policies have changed"));
    return gateway.output.slice(from);
  };
  await inForce(of("calls", "day"));
  expect(await inForce(of("tool_tokens", "day"))).toMatch(/"budget":"team-day","meter":"tool_tokens","was":"calls"/);
  // With another window it begins anew, and nothing is to be said.
  expect(await inForce(of("calls", "hour"))).not.toContain("another meter");
});

test("policies that change while a gateway starts are in force soon after it is ready", async () => {
  const starting = await GatewayProcess.prepare({ policies: BOTH, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  try {
    const ready = starting.serve();
    // Read by then, and not yet ready: the journal's folder is made after the policies are read.
    while (!existsSync(join(starting.folder, "data", "journal.db"))) await sleep(2);
    writeFileSync(join(starting.folder, "policies", "test.yaml"), ECHO);
    await ready;
    const own = await starting.accessToken(await starting.createAgent("bot"), "up");
    await until(async () => {
      const listed = (await (await modernRequest(`${starting.publicUrl}/mcp/up`, own, "tools/list")).json()) as Answer;
      return listed.result?.tools?.map(({ name }) => name).join() === "echo";
    });
  } finally {
    await starting.stop();
  }
});
