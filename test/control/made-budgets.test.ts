import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { GatewayProcess, modernRequest } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["up/*"] }
budgets:
  - { name: of-file, who: { team: hinted }, meter: calls, limit: 2, period: total, hint: "ask ops@example.com for more" }
`;

const MAIN = join(import.meta.dirname, "../../src/main.ts");

type Json = Record<string, unknown>;
type Answer = { readonly status: number; readonly json: Json };
type Row = Json & { readonly name: string };
let upstream: Upstream;
let gateway: GatewayProcess;
const keys = new Map<string, string>();

beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  keys.set("first", readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim());
  for (const [name, role, customer] of [
    ["operator", "operator", undefined],
    ["viewer", "viewer", undefined],
    ["acme", "operator", "acme"],
    ["other", "operator", "other"],
  ] as const)
    keys.set(name, String((await ask("POST", "/admin-keys", { name, role, customer })).json.key));
});
afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
  expect(await verifyLog(join(gateway.folder, "data", "journal.db"))).toMatchObject({ ok: true, problems: [] });
});

async function ask(method: string, path: string, body?: unknown, key = "first"): Promise<Answer> {
  const answer = await fetch(`${gateway.adminUrl}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${keys.get(key)}`, "content-type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
  });
  return { status: answer.status, json: (await answer.json()) as Json };
}

async function agent(name: string, more: object = {}) {
  const made = await ask("POST", "/agents", { name, owner: "o@example.com", purpose: "testing", ...more });
  const id = String(made.json.id);
  const { access_token } = (await ask("POST", `/agents/${id}/tokens`, { server: "up" })).json;
  return {
    id,
    token: String(access_token),
    async call(tool = "echo"): Promise<Json | null> {
      const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, String(access_token), "tools/call", {
        name: tool,
        arguments: { text: "x" },
      });
      const { error } = (await answer.json()) as { error?: { data: Json } };
      return error?.data ?? null;
    },
  };
}
const one = async (name: string, key = "first") => await ask("GET", `/budgets/${name}`, undefined, key);
const counters = async (name: string) => (await one(name)).json.counters as Row[];
const records = async (kind: string) =>
  ((await ask("GET", "/audit/records?limit=1000")).json.items as Json[]).filter((record) => record.kind === kind) as {
    administrator: string;
    details: Json;
  }[];

test("a budget that is made counts from the next call on, refuses and is shown like any other, and lets calls pass once it is ended", async () => {
  const bot = await agent("bot");
  expect(await bot.call()).toBeNull();
  const body = { name: "two", who: { agent: "bot" }, meter: "calls", limit: 2, period: "total", hint: "tell the team" };
  expect(await ask("POST", "/budgets", body)).toMatchObject({
    status: 201,
    json: { name: "two", meter: "calls", limit: 2, hard: true, time_zone: "UTC", customer: null, created_by: "first", counted: true },
  });
  expect(await bot.call()).toBeNull();
  expect(await bot.call()).toBeNull();
  expect(await bot.call()).toMatchObject({ reason: "budget_exhausted", budget: "two", limit: 2, remaining: 0, hint: "tell the team" });
  expect(await counters("two")).toMatchObject([{ committed: 2, held: 0, remaining: 0 }]);
  const me = await (await fetch(`${gateway.publicUrl}/v1/me`, { headers: { authorization: `Bearer ${bot.token}` } })).json();
  expect((me as { budgets: Json[] }).budgets).toMatchObject([{ budget: "two", limit: 2, remaining: 0 }]);
  expect((await gateway.json<Row[]>("budget", "list")).find(({ name }) => name === "two")).toMatchObject({ committed: 2 });
  expect((await ask("GET", `/agents/${bot.id}/budgets`)).json.items).toMatchObject([{ name: "two" }]);
  expect(await ask("POST", "/budgets/two/end", { reason: "pilot is over" })).toEqual({ status: 200, json: { ended: "two" } });
  expect(await bot.call()).toBeNull();
  expect((await one("two")).status).toBe(404);
  expect(await records("budget.created")).toMatchObject([{ administrator: "first", details: { budget: "two" } }]);
  expect(await records("budget.ended")).toMatchObject([{ administrator: "first", details: { budget: "two", reason: "pilot is over" } }]);
});

test("a limit that is lowered below what is spent is taken: nothing new is held, and the overage is shown; a higher one lets calls pass", async () => {
  const bot = await agent("lowered");
  const body = { name: "lower", who: { agent: "lowered" }, meter: "calls", limit: 10, period: "day", notify: ["50%"] };
  expect((await ask("POST", "/budgets", body, "operator")).status).toBe(201);
  for (let i = 0; i < 3; i++) expect(await bot.call()).toBeNull();
  expect(await ask("PATCH", "/budgets/lower", { limit: 2 }, "operator")).toMatchObject({
    status: 200,
    json: { limit: 2, notify: ["50%"] },
  });
  expect(await counters("lower")).toMatchObject([{ limit: 2, committed: 3, remaining: 0, overage: 1 }]);
  expect(await bot.call()).toMatchObject({ reason: "budget_exhausted", budget: "lower", remaining: 0, limit: 2 });
  await ask("PATCH", "/budgets/lower", { hard: false });
  expect(await bot.call()).toBeNull();
  expect((await ask("PATCH", "/budgets/lower", { overage: 2, hint: "enough" })).json).toMatchObject({
    hard: false,
    overage: 2,
    hint: "enough",
  });
  expect(await bot.call()).toMatchObject({ budget: "lower", hint: "enough" });
  expect(await ask("PATCH", "/budgets/lower", { hard: true })).toMatchObject({
    status: 422,
    json: { detail: expect.stringContaining("overage") },
  });
  expect((await ask("PATCH", "/budgets/lower", { hard: true, overage: null, limit: 9, hint: null })).json).not.toHaveProperty("hint");
  expect(await bot.call()).toBeNull();
  const changed = await records("budget.changed");
  expect(changed.length).toBe(4);
  expect(JSON.parse(String(changed[0]?.details.was))).toMatchObject({ limit: 10 });
});

test("{period, token_limit, hard_cap} makes a budget of tool tokens, of one agent where its route says so, by its id", async () => {
  const bot = await agent("short");
  const made = await ask("POST", "/agents/short/budgets", { period: "month", token_limit: 1000, hard_cap: true });
  expect(made).toMatchObject({
    status: 201,
    json: { name: "short-tool_tokens-month", meter: "tool_tokens", limit: 1000, hard: true, period: "month", who: { agent: bot.id } },
  });
  // What a call holds for a result that is not known yet is more than that.
  expect(await bot.call()).toMatchObject({ reason: "budget_insufficient", budget: "short-tool_tokens-month" });
  expect((await ask("PATCH", "/budgets/short-tool_tokens-month", { token_limit: 5_000_000, hard_cap: false })).json).toMatchObject({
    limit: 5_000_000,
    hard: false,
  });
  expect(await bot.call()).toBeNull();
});

test.each([
  ["a name that a file has", { name: "of-file" }, 409, "policy file"],
  ["a name that is taken", { name: "taken" }, 409, "already"],
  ["no window", { period: undefined }, 422, "period"],
  ["two windows", { rolling: "24h" }, 422, "period"],
  ["a meter that nobody counts", { meter: "tokenz" }, 422, "no meter"],
  ["a server that is not there", { tools: ["down/*"] }, 422, "no server down"],
  ["a pattern that is none", { tools: ["echo"] }, 422, "names no server"],
  ["a group of policy files", { who: { agent: "group:all" } }, 422, "group"],
  ["money without prices", { meter: "cost_micros" }, 422, "prices"],
  ["a slice of each slot of a rolling window", { period: undefined, rolling: "1h", lease: 1 }, 422, "lease: not with rolling"],
  ["both forms at once", { token_limit: 5 }, 422, "token_limit"],
  ["an unknown member", { limits: 5 }, 422, "limits"],
  ["a limit below nothing", { limit: -1 }, 422, "limit"],
])("%s is refused, and why", async (_, more, status, why) => {
  await ask("POST", "/budgets", { name: "taken", meter: "calls", limit: 1_000, period: "day", who: { team: "nobody" } });
  const answer = await ask("POST", "/budgets", { name: "fresh", who: { team: "x" }, meter: "calls", limit: 5, period: "day", ...more });
  expect(answer.status).toBe(status);
  expect(JSON.stringify(answer.json)).toContain(why);
  expect((await one("fresh")).status).toBe(404);
});

test("a budget of a policy file is not changed here, nor is one that is not there; a viewer makes none", async () => {
  expect((await ask("PATCH", "/budgets/of-file", { limit: 9 })).status).toBe(409);
  expect((await ask("POST", "/budgets/of-file/end", {})).status).toBe(409);
  expect((await ask("PATCH", "/budgets/none", { limit: 9 })).status).toBe(404);
  expect((await ask("POST", "/budgets", { name: "v", meter: "calls", limit: 1, period: "day" }, "viewer")).status).toBe(403);
  expect((await one("of-file")).json).toMatchObject({ made: null, counters: [{ limit: 2 }] });
});

test("a key that is bound to a customer makes budgets of that customer alone, and neither sees nor changes others", async () => {
  const [ours, theirs] = [await agent("ours", { customer: "acme" }), await agent("theirs", { customer: "other" })];
  const body = { name: "bound", meter: "calls", limit: 1, period: "total" };
  expect((await ask("POST", "/budgets", { ...body, who: { customer: "other" } }, "acme")).status).toBe(403);
  expect((await ask("POST", "/agents/theirs/budgets", body, "acme")).status).toBe(404);
  expect(await ask("POST", "/budgets", body, "acme")).toMatchObject({ status: 201, json: { customer: "acme", who: { customer: "acme" } } });
  expect(await ours.call()).toBeNull();
  expect(await ours.call()).toMatchObject({ budget: "bound" });
  expect(await theirs.call()).toBeNull();
  expect((await ask("GET", "/budgets", undefined, "acme")).json.items).toMatchObject([{ name: "bound", committed: 1 }]);
  for (const [method, path] of [
    ["GET", "/budgets/bound"],
    ["PATCH", "/budgets/bound"],
    ["POST", "/budgets/bound/end"],
  ] as const) {
    const asked = method === "GET" ? undefined : method === "PATCH" ? { limit: 5 } : {};
    expect(await ask(method, path, asked, "other")).toEqual(await ask(method, path.replace("bound", "nothing"), asked, "other"));
  }
  expect((await ask("POST", "/budgets", body, "other")).json.detail).toBe("the name is taken, or a policy file has it");
  expect((await ask("PATCH", "/budgets/bound", { limit: 2 }, "acme")).status).toBe(200);
  expect(await ours.call()).toBeNull();
  expect((await ask("POST", "/budgets/bound/end", {}, "acme")).status).toBe(200);
});

test("a key that is bound to a customer may name it, also from the command line, and in a list of no other", async () => {
  const body = { name: "named", meter: "calls", limit: 1, period: "total" };
  for (const customer of [["other"], ["acme", "other"], ["acme", "acme"], [], "*", ["ac*"]])
    expect(await ask("POST", "/budgets", { ...body, who: { customer } }, "acme")).not.toMatchObject({ status: 201 });
  const create = ["budget", "create", "named", "--customer", "acme", "--meter", "calls", "--limit", "1", "--period", "total", "--json"];
  const made = await promisify(execFile)(process.execPath, [MAIN, ...create, "-c", gateway.configFile], {
    env: { ...gateway.env, TOLLGATE_ADMIN_KEY: keys.get("acme") },
  });
  expect(JSON.parse(made.stdout)).toMatchObject({ customer: "acme", who: { customer: "acme" } });
});

test("a policy file that brings the name wins it, and says so; without it the made one counts again; both outlive a restart", async () => {
  const bot = await agent("filed-bot", { team: "filed" });
  await ask("POST", "/budgets", { name: "claimed", who: { team: "filed" }, meter: "calls", limit: 0, period: "total" });
  expect(await bot.call()).toMatchObject({ budget: "claimed" });
  const file = join(gateway.folder, "policies", "test.yaml");
  writeFileSync(file, `${POLICIES}  - { name: claimed, who: { team: nobody }, meter: calls, limit: 1, period: total }\n`);
  await expect.poll(() => bot.call(), { timeout: 10_000 }).toBeNull();
  expect(gateway.output).toContain("a policy file has a budget of this name");
  expect((await one("claimed")).json).toMatchObject({ made: { counted: false }, counters: [{ limit: 1 }] });
  await gateway.stop();
  await gateway.serve();
  expect(await bot.call()).toBeNull();
  writeFileSync(file, POLICIES);
  await expect.poll(() => bot.call(), { timeout: 10_000 }).toMatchObject({ budget: "claimed" });
  await ask("POST", "/budgets/claimed/end", {});
  expect(await bot.call()).toBeNull();
});

test("a hint that a policy file writes stands in the refusals of its budget", async () => {
  const bot = await agent("hinted-bot", { team: "hinted" });
  for (let i = 0; i < 2; i++) expect(await bot.call()).toBeNull();
  expect(await bot.call()).toMatchObject({ budget: "of-file", hint: "ask ops@example.com for more" });
});

test("a budget of an agent who is not there, or not the customer's, is made with a warning; a change of nothing is none", async () => {
  await agent("of-acme", { customer: "acme" });
  const made = (body: object, key = "first") => ask("POST", "/budgets", { meter: "calls", limit: 5, period: "day", ...body }, key);
  const warned = { status: 201, json: { warnings: [expect.stringMatching(/there is no agent nobody/)] } };
  expect(await made({ name: "w-nobody", who: { agent: ["nobody", "of-acme"] } })).toMatchObject(warned);
  expect((await made({ name: "w-acme", who: { agent: "of-acme" } }, "acme")).json).not.toHaveProperty("warnings");
  expect((await made({ name: "w-other", who: { agent: "of-acme" } }, "other")).json).toHaveProperty("warnings");
  expect((await made({ name: "w-pattern", who: { agent: "bot-*" } })).json).not.toHaveProperty("warnings");
  expect(await ask("PATCH", "/budgets/w-nobody", {})).toMatchObject({
    status: 422,
    json: { detail: expect.stringMatching(/nothing to change/) },
  });
  const { stdout } = await gateway.command(
    "budget",
    "create",
    "w-cli",
    "--agent",
    "nobody",
    "--meter",
    "calls",
    "--limit",
    "5",
    "--period",
    "day",
  );
  expect(stdout).toMatch(/warning: there is no agent nobody/);
});

test.each([
  ["meter", "bytes"],
  ["who", { team: "x" }],
  ["each", "agent"],
  ["period", "day"],
  ["rolling", "24h"],
  ["time_zone", "Europe/Berlin"],
  ["tools", ["up/*"]],
  ["name", "other"],
  ["overrun", "deliver"],
  ["lease", 5],
])("a change of %s says that this is another budget", async (member, value) => {
  await ask("POST", "/budgets", { name: "fixed", meter: "calls", limit: 5, period: "day", who: { team: "nobody" } });
  const answer = await ask("PATCH", "/budgets/fixed", { [member]: value });
  expect(answer).toMatchObject({ status: 422, json: { detail: `${member}: cannot be changed: end this one and make another` } });
});

test("what is wrong with a body is said in words", async () => {
  const { json } = await ask("POST", "/budgets", { name: "worded", meter: "calls", limit: 5, period: "decade", colour: "red" });
  expect(json.detail).toMatch(/period: must be .*day or .*month/);
  expect(json.detail).toMatch(/there is no member "colour" here/);
  expect((await ask("POST", "/agents", { name: "x", owner: "o", purpose: null })).json.detail).toMatch(
    /purpose: has no value; it must be a text/,
  );
  expect((await ask("POST", "/agents", {})).json.detail).toMatch(/name: is missing/);
});

test("a call larger than the whole budget hears that waiting does not help", async () => {
  const { token } = await agent("large");
  const whole = { name: "small", who: { agent: "large" }, meter: "tool_tokens", limit: 100, period: "day" };
  expect((await ask("POST", "/budgets", whole)).status).toBe(201);
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, token, "tools/call", { name: "echo", arguments: { text: "x" } });
  expect(await answer.json()).toMatchObject({
    error: { data: { reason: "budget_insufficient", hint: expect.stringMatching(/more than the whole budget/) } },
  });
});

test("the command line makes, changes and ends a budget", async () => {
  await agent("cli-bot");
  const create = [
    "budget",
    "create",
    "by-hand",
    "--agent",
    "cli-bot",
    "--meter",
    "calls",
    "--limit",
    "1_000",
    "--period",
    "day",
    "--notify",
    "80%",
  ];
  expect(await gateway.json(...create)).toMatchObject({ name: "by-hand", limit: 1_000, who: { agent: ["cli-bot"] }, notify: ["80%"] });
  expect((await gateway.command(...create)).code).toBe(1);
  expect(await gateway.json("budget", "change", "by-hand", "--limit", "2_000", "--soft", "--hint", "ask")).toMatchObject({
    ...{ limit: 2_000, hard: false, hint: "ask" },
  });
  expect((await gateway.command("budget", "change", "by-hand")).code).toBe(2);
  const boundless = ["--meter", "calls", "--limit", "5", "--period", "day", "--soft", "--overage", "none", "--hint", ""];
  expect(await gateway.json("budget", "create", "boundless", ...boundless)).toMatchObject({ hard: false, overage: null });
  const terms = { who: { agent: ["cli-bot"] }, each: [], period: "day", rolling: null, hard: false, notify: ["80%"], hint: "ask" };
  expect(await gateway.json("budget", "show", "by-hand")).toMatchObject([{ name: "by-hand", committed: 0, terms }]);
  expect((await gateway.command("budget", "show", "by-hand")).stdout).toMatch(
    /who +\{"agent":\["cli-bot"\]\}[\s\S]*notify +\["80%"\][\s\S]*hint +ask/,
  );
  expect((await gateway.command("budget", "show", "of-file")).stdout).toMatch(/period +total[\s\S]*hint +ask ops@example.com/);
  expect((await gateway.command("budget", "end", "by-hand", "--reason", "done")).stdout).toContain("by-hand counts no more");
});

test("a budget made at run time is listed and shown with what it has counted also where no gateway runs, which is said", async () => {
  const bot = await agent("offline-bot");
  await ask("POST", "/budgets", { name: "offline", who: { agent: "offline-bot" }, meter: "calls", limit: 5, period: "total" });
  expect(await bot.call()).toBeNull();
  await gateway.stop();
  try {
    for (const args of [["list"], ["show", "offline"]]) {
      const { code, stdout, stderr } = await gateway.command("budget", ...args, "--json");
      expect([code, stderr.trim()]).toEqual([0, `no gateway runs: read from ${join(gateway.folder, "data")}`]);
      expect((JSON.parse(stdout) as Row[]).find(({ name }) => name === "offline")).toMatchObject({ limit: 5, committed: 1 });
      if (args[0] === "show") expect(JSON.parse(stdout)).toMatchObject([{ terms: { who: { agent: "offline-bot" }, period: "total" } }]);
    }
    const file = readFileSync(gateway.configFile, "utf8");
    writeFileSync(gateway.configFile, `${file}shared: { postgres: "postgres://u@127.0.0.1:1/t", redis: "redis://127.0.0.1:1" }\n`);
    const shared = await gateway.command("budget", "show", "offline");
    writeFileSync(gateway.configFile, file);
    expect([shared.code, shared.stderr]).toEqual([1, expect.stringContaining("this gateway's share alone")]);
    expect(shared.stderr).toContain("budgets made at run time are not among them: they are kept in shared.postgres");
  } finally {
    await gateway.serve();
  }
});
