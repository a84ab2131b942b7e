import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openControlStore } from "../../src/control/store.ts";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { configText, folderOf, tollgate } from "./terminal.ts";

const ROOT = join(import.meta.dirname, "../..");
const RULES = `apiVersion: tollgate/v1
agents:
  bot: { team: support, owner: o, purpose: p }
  clerk: { team: billing, owner: o, purpose: p }
entitlements:
  - { name: reads, who: { team: support }, permit: [up/read, "up/get_*"], when: args.limit <= 100 }
  - { name: writes, who: { team: support }, permit: [up/write], requires: [up.write] }
  - { name: pays, who: { agent: bot }, permit: [up/pay], approval: { by: [role:approver] } }
  - { name: never, forbid: ["*/drop_*"] }
  - { name: over, who: { team: support }, permit: [up/old], until: 2020-01-01 }
  - { name: tried, shadow: true, permit: [up/tried] }
`;
const CASES = (cases: string) => `apiVersion: tollgate/v1\ncases:\n${cases}\n`;

// A command that answers no sets it for its process, which here is that of the tests.
afterEach(() => {
  process.exitCode = undefined;
});

function at(files: Record<string, string>): string {
  return join(folderOf({ "tollgate.yaml": configText(), "policies/a.yaml": RULES, ...files }), "tollgate.yaml");
}
const config = at({});
const explain = (...args: string[]) => tollgate(["policy", "explain", "-c", config, ...args]);
type Said = {
  decision: string;
  reason: string | null;
  rule: { name: string; file: string; line: number } | null;
  considered: { name: string; outcome: string; differs: string[] }[];
};
async function explained(...args: string[]): Promise<Said & { code: number }> {
  const { out, code } = await explain(...args, "--json");
  return { ...(JSON.parse(out) as Said), code };
}
const differs = (said: Said, name: string) => said.considered.find((each) => each.name === name)?.differs;

describe("policy explain", () => {
  test("gives the decision, its rule with file and line, and exit 0 or 1", async () => {
    const yes = await explained("--agent", "bot", "--tool", "up/read", "--args", '{"limit":5}');
    expect(yes).toMatchObject({ code: 0, decision: "permit", reason: null, rule: { name: "reads", file: "policies/a.yaml", line: 6 } });
    const no = await explained("--agent", "bot", "--tool", "up/drop_all");
    expect(no).toMatchObject({ code: 1, decision: "refuse", reason: "tool_unknown", rule: { name: "never", line: 9 } });
    const text = await explain("--agent", "bot", "--tool", "up/drop_all");
    expect(text.out).toContain("refuse bot up/drop_all: tool_unknown, by never (policies/a.yaml:9)");
  });

  test.each([
    ["another team", ["--agent", "clerk", "--tool", "up/read"], "reads", "team would have to be support: the caller's is billing"],
    [
      "an argument",
      ["--agent", "bot", "--tool", "up/read", "--args", '{"limit":500}'],
      "reads",
      "its condition is false: args.limit <= 100",
    ],
    [
      "a missing argument",
      ["--agent", "bot", "--tool", "up/get_x"],
      "reads",
      "its condition cannot be evaluated (an argument is missing, or of another kind than it is compared or added with): args.limit <= 100",
    ],
    ["a scope", ["--agent", "bot", "--tool", "up/write"], "writes", "the token would need the scope up.write"],
    ["a person", ["--agent", "bot", "--tool", "up/pay"], "pays", "a person would have to approve it (role:approver)"],
    ["another time", ["--agent", "bot", "--tool", "up/old"], "over", "it ended at 2020-01-01T00:00:00.000Z"],
    ["a rule that is only tried", ["--agent", "bot", "--tool", "up/tried"], "tried", "it is only tried (shadow: true)"],
    ["another tool", ["--agent", "bot", "--tool", "up/reed"], "reads", "it names up/read, up/get_*"],
  ])("says what would have to differ: %s", async (_, args, rule, words) => {
    const said = await explained(...args);
    expect(said.decision).toBe("refuse");
    expect(differs(said, rule)).toContain(words);
  });

  test("takes an agent that nobody declared by its attributes, at any time, with any token", async () => {
    expect(await explained("--agent", "new", "--team", "support", "--tool", "up/old", "--at", "2019-12-31T23:59:59Z")).toMatchObject({
      code: 0,
    });
    expect(await explained("--agent", "bot", "--tool", "up/write", "--scope", "up.write")).toMatchObject({ rule: { name: "writes" } });
  });

  test.each([
    [["--agent", "nobody", "--tool", "up/read"], "no policy file declares nobody, and no gateway is running"],
    [["--agent", "bto", "--tool", "up/read"], "--workflow, --kind); did you mean bot?"],
    [["--agent", "bot", "--tool", "read"], "names no server"],
    [["--agent", "bot", "--tool", "up/read", "--args", "5"], "must be a JSON object"],
    [["--agent", "bot", "--tool", "up/read", "--at", "noon"], "must be a date"],
    [["--agent", "bot", "--tool", "up/read", "--policies", "/no/such"], "there is no folder"],
  ])("refuses %j with exit 2", async (args, words) => {
    const { code, err } = await explain(...args);
    expect([code, err]).toEqual([2, expect.stringContaining(words)]);
  });

  test.each([
    ["ups/read", "  hint: the config has no server ups; did you mean up?"],
    ["tickets/read", "  hint: the config has no server tickets; it has up"],
  ])("hints at the name of a server that is none: %s", async (tool, hint) => {
    expect((await explain("--agent", "bot", "--tool", tool)).out).toContain(hint);
  });

  test("hints at a tool that the server is known not to have", async () => {
    const file = at({});
    const store = await openControlStore(join(file, "../data"));
    const row = { server: "up", tool: "read", sha256: "0", definition: '{"name":"read","inputSchema":{"type":"object"}}' };
    await store.db
      .insertInto("tool_pin")
      .values(row as never)
      .execute();
    await store.close();
    const { out } = await tollgate(["policy", "explain", "-c", file, "--agent", "bot", "--tool", "up/raed", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ decision: "refuse", hints: ["up/raed matches no tool of up; nearest: up/read"] });
    expect(
      JSON.parse((await tollgate(["policy", "explain", "-c", file, "--agent", "bot", "--tool", "up/read", "--json"])).out),
    ).toMatchObject({ hints: [] });
  });

  test("knows an agent of the running gateway by its name", async () => {
    const upstream = await startHttpUpstream({});
    const gateway = await GatewayProcess.start({ policies: RULES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
    try {
      await gateway.createAgent("registered", "support");
      const args = ["policy", "explain", "--agent", "registered", "--tool", "up/read", "--args", '{"limit":1}'];
      expect(await gateway.json(...args)).toMatchObject({ decision: "permit", rule: { name: "reads" } });
    } finally {
      await gateway.stop();
      await upstream.close();
    }
  });
});

describe("guards", () => {
  const INSPECTORS = `inspectors:\n  pii: { url: "http://127.0.0.1:9/", onFailure: refuse }\n  idle: { url: "http://127.0.0.1:9/", onFailure: refuse }\n`;
  const guarded = RULES.replace("permit: [up/write],", "permit: [up/write], inspect: [pii],");
  const withGuards = (files: Record<string, string> = {}) =>
    join(folderOf({ "tollgate.yaml": `${configText()}\n${INSPECTORS}`, "policies/a.yaml": guarded, ...files }), "tollgate.yaml");

  test("explain says which would be asked, without asking", async () => {
    const call = ["--agent", "bot", "--tool", "up/write", "--scope", "up.write"];
    const { out, code } = await tollgate(["policy", "explain", "-c", withGuards(), ...call]);
    expect(code).toBe(0);
    expect(out).toContain("* permit writes (policies/a.yaml:7): decides; its guard pii (arguments, result) would be asked");
  });

  test("diff calls a lost guard wider, and ends with 1", async () => {
    const config = withGuards({ "before/a.yaml": guarded, "after/a.yaml": RULES });
    const folder = (name: string) => join(config, "..", name);
    const { out, code } = await tollgate(["policy", "diff", folder("before"), folder("after"), "-c", config]);
    expect(code).toBe(1);
    expect(out).toContain("inspected by pii (arguments, result)");
    expect((await tollgate(["policy", "diff", folder("before"), folder("before"), "-c", config])).code).toBe(0);
  });

  test("check finds an unknown one with the name that was meant, and warns of one that nobody asks", async () => {
    const good = await tollgate(["check", "-c", withGuards()]);
    expect(good.code).toBe(0);
    expect(good.out + good.err).toContain("no entitlement is inspected by idle, so that it is never asked");
    const bad = await tollgate(["check", "-c", withGuards({ "policies/a.yaml": guarded.replace("[pii]", "[pi]") })]);
    expect(bad.code).toBe(78);
    expect(bad.out + bad.err).toContain("the config has no inspector pi; did you mean pii?");
  });
});

describe("policy test", () => {
  const run = (cases: string, ...more: string[]) =>
    tollgate(["policy", "test", "-c", at({ "policies/a.cases.yaml": CASES(cases) }), ...more]);

  test("asks every agent of a case at every tool, and ends with 0 where all hold", async () => {
    const { code, out } = await run(`
  - { name: reads, agent: [bot, { name: other, team: support }], tool: [up/read, up/get_a], args: { limit: 1 }, expect: permit, rule: reads }
  - { name: long ago, agent: bot, tool: up/old, at: 2019-06-01, expect: permit }
  - { name: asks, agent: bot, tool: up/pay, expect: approval_required }
  - { name: needs, agent: bot, tool: up/write, expect: scope_insufficient }
  - { name: has, agent: bot, tool: up/write, scopes: [up.write], expect: permit }`);
    expect([code, out]).toEqual([0, "8 decisions hold"]);
  });

  test("shows each that does not, with what came by which rule, and ends with 1", async () => {
    const cases = `
  - { name: reads all, agent: bot, tool: up/read, args: { limit: 1000 }, expect: permit }
  - { name: by another, agent: bot, tool: up/read, args: { limit: 1 }, expect: permit, rule: writes }
  - { name: right, agent: clerk, tool: up/read, expect: server_unknown }`;
    const { code, out } = await run(cases);
    expect(code).toBe(1);
    expect(out.split("\n")).toEqual([
      "policies/a.cases.yaml:4: reads all: bot at up/read: expected permit, got arguments_denied by reads (policies/a.yaml:6)",
      "policies/a.cases.yaml:5: by another: bot at up/read: expected permit by writes, got permit by reads (policies/a.yaml:6)",
      "2 of 3 decisions do not hold",
    ]);
    const json = await run(cases, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ ok: false, cases: 3, failed: [{ line: 4, got: "arguments_denied" }, { line: 5 }] });
  });

  test.each([
    [
      "a contradiction",
      "  - { name: a, agent: bot, tool: up/read, expect: permit }\n  - { name: b, agent: bot, tool: [up/write, up/read], expect: tool_unknown }",
      /a\.cases\.yaml:4:\d+: cases\[1\]\.expect: up\/read is to be tool_unknown here, and permit at policies\/a\.cases\.yaml:3 \(a\)/,
    ],
    [
      "an unknown agent",
      "  - { name: a, agent: bott, tool: up/read, expect: permit }",
      /a\.cases\.yaml:3:\d+: cases\[0\]\.agent: no policy file declares bott/,
    ],
    ["an unknown reason", "  - { name: a, agent: bot, tool: up/read, expect: maybe }", /cases\[0\]\.expect: must be permit or a reason/],
    ["a target that is none", "  - { name: a, agent: bot, tool: read, expect: permit }", /cases\[0\]\.tool: "read" names no server/],
    [
      "a key that is none",
      "  - { name: a, agent: bot, tool: up/read, expects: permit, expect: permit }",
      /cases\[0\]\.expects: unknown key/,
    ],
    ["no cases", "", /cases/],
  ])("refuses %s with its line and exit 78", async (_, cases, words) => {
    const { code, err } = await run(cases);
    expect([code, err]).toEqual([78, expect.stringMatching(words)]);
  });

  test("needs no server and none of the config's secrets, and asks another folder by its name", async () => {
    const text = `${configText()}  more: { url: "http://127.0.0.1:9/mcp", credential: { bearer: "env:NOT_HERE" } }\n`;
    const cases = (expect: string) => CASES(`  - { name: a, agent: bot, tool: up/pay, expect: ${expect} }`);
    const next = { "next/a.yaml": RULES.replace(", approval: { by: [role:approver] }", ""), "next/a.cases.yaml": cases("permit") };
    const file = at({ "tollgate.yaml": text, "policies/a.cases.yaml": cases("approval_required"), ...next });
    expect(await tollgate(["policy", "test", "-c", file])).toMatchObject({ code: 0, out: "1 decisions hold" });
    expect(await tollgate(["policy", "test", "-c", file, "--policies", join(file, "../next")])).toMatchObject({ code: 0 });
    const now = join(file, "../policies/a.cases.yaml");
    expect(await tollgate(["policy", "test", now, "-c", file, "--policies", join(file, "../next")])).toMatchObject({ code: 1 });
    expect(await tollgate(["policy", "test", "-c", file, "--policies", "/no/such"])).toMatchObject({
      code: 2,
      err: "there is no folder /no/such",
    });
    expect(await tollgate(["check", "-c", file])).toMatchObject({ code: 78, err: expect.stringContaining("NOT_HERE is not set") });
  });

  test("says so where nothing is stated, and takes files by name", async () => {
    expect(await tollgate(["policy", "test", "-c", config])).toMatchObject({
      code: 2,
      err: expect.stringContaining("there is no *.cases.yaml"),
    });
    const elsewhere = join(
      folderOf({ "mine.cases.yaml": CASES("  - { name: a, agent: bot, tool: up/drop_x, expect: tool_unknown }") }),
      "mine.cases.yaml",
    );
    expect(await tollgate(["policy", "test", elsewhere, "-c", config])).toMatchObject({ code: 0, out: "1 decisions hold" });
  });

  test("the policies of this repository keep what their cases state", async () => {
    const { code, out } = await tollgate(["policy", "test", "-c", join(ROOT, "config.example.yaml")]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^\d+ decisions hold$/)]);
  });
});

describe("policy diff", () => {
  const before = folderOf({ "a.yaml": RULES });
  const diff = async (after: string, ...more: string[]) => {
    const { code, out } = await tollgate(["policy", "diff", before, folderOf({ "a.yaml": after }), "-c", config, ...more]);
    return { code, out };
  };
  const changes = async (after: string) => {
    const { code, out } = await diff(after, "--json");
    const { differences } = JSON.parse(out) as { differences: { change: string; agent: string; target: string }[] };
    return { code, all: differences.map(({ change, agent, target }) => `${change} ${agent} ${target}`) };
  };

  test("of equal sets is nothing, whatever they are called and wherever they stand", async () => {
    const moved = RULES.replace("name: reads", "name: renamed").replace("  - { name: never,", "\n\n  - { name: never,");
    expect(await diff(moved)).toEqual({ code: 0, out: "nobody gains or loses anything" });
  });

  test.each<[string, (rules: string) => string, number, string[]]>([
    [
      "a tool more",
      (rules) => rules.replace("[up/write]", "[up/write, up/more]"),
      1,
      ["gains bot up/more", "gains (team support) up/more"],
    ],
    ["a tool less", (rules) => rules.replace("[up/read, ", "["), 0, ["loses bot up/read"]],
    ["everything", (rules) => rules.replace('"up/get_*"', '"up/*"'), 1, ["gains bot up/*"]],
    [
      "another team",
      (rules) => rules.replace("who: { team: support }, permit: [up/read", "permit: [up/read"),
      1,
      ["gains clerk up/read", "gains (any other agent) up/get_*"],
    ],
    ["a condition less", (rules) => rules.replace(", when: args.limit <= 100", ""), 1, ["wider bot up/read"]],
    ["a bound moved inwards", (rules) => rules.replace("limit <= 100", "limit <= 10"), 0, ["narrower bot up/read"]],
    ["a bound moved outwards", (rules) => rules.replace("limit <= 100", "limit <= 1000"), 1, ["wider bot up/read"]],
    ["a bound under a negation", (rules) => rules.replace("args.limit <= 100", '"!(args.limit <= 10)"'), 1, ["wider bot up/read"]],
    ["a scope more", (rules) => rules.replace("[up.write]", "[up.write, up.admin]"), 1, ["wider bot up/write"]],
    [
      "a forbid with a condition",
      (rules) => `${rules}  - { name: not-now, forbid: [up/write], when: args.x == 1 }\n`,
      0,
      ["narrower bot up/write"],
    ],
    ["a forbid", (rules) => `${rules}  - { name: not, forbid: [up/write] }\n`, 0, ["loses bot up/write"]],
    [
      "a forbid less",
      (rules) => rules.replace('["*/drop_*"]', '["*/drop_all"]').replace("[up/read,", "[up/read, up/drop_one,"),
      1,
      ["gains bot up/drop_one"],
    ],
    ["no approval", (rules) => rules.replace(", approval: { by: [role:approver] }", ""), 1, ["wider bot up/pay"]],
    ["more time", (rules) => rules.replace("2020-01-01", "2120-01-01"), 1, ["gains bot up/old"]],
    ["a rule in earnest", (rules) => rules.replace("shadow: true, ", ""), 1, ["gains clerk up/tried"]],
  ])("shows %s", async (_, change, code, expected) => {
    const found = await changes(change(RULES));
    expect(found.all).toEqual(expect.arrayContaining(expected));
    expect(found.code).toBe(code);
  });

  test("needs two folders with policies that compile", async () => {
    const bad = folderOf({ "a.yaml": "apiVersion: tollgate/v1\nentitlements: [{ name: a }]\n" });
    expect(await tollgate(["policy", "diff", before, bad, "-c", config])).toMatchObject({
      code: 78,
      err: expect.stringContaining("a.yaml:2:"),
    });
    expect(await tollgate(["policy", "diff", before, "/no/such", "-c", config])).toMatchObject({ code: 2 });
  });
});
