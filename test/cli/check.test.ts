import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { configText, folderOf, POLICY, tollgate } from "./terminal.ts";

type Problem = { file: string; line: number; column: number; message: string };

async function check(files: Record<string, string>, env: Record<string, string> = {}) {
  const folder = folderOf(files);
  const config = join(folder, "tollgate.yaml");
  const text = await tollgate(["check", "-c", config], env);
  const json = await tollgate(["check", "--json", "-c", config], env);
  return { folder, text, json, problems: JSON.parse(json.out) as Problem[] };
}

describe("check", () => {
  test("says so when nothing is wrong, with exit 0", async () => {
    const { text, json, problems } = await check({ "tollgate.yaml": configText(), "policies/a.yaml": POLICY });
    expect([text.code, json.code, problems]).toEqual([0, 0, []]);
    expect(text.out).toContain("nothing wrong");
  });

  test("shows every problem of every file at once, each where it stands, with exit 78", async () => {
    const { folder, text, json, problems } = await check({
      "tollgate.yaml": configText([1, 2, 3], "refusals: politely\nlimits: []"),
      "policies/a.yaml": "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permits: [up/*] }\n",
      "policies/b.yaml": "apiVersion: tollgate/v1\nbudgets:\n  - { name: b, meter: calls, limit: many, period: month }\n",
    });
    expect([text.code, json.code]).toEqual([78, 78]);
    const places = problems.map(({ file, line }) => `${file.slice(folder.length + 1)}:${line}`);
    expect(places).toEqual(expect.arrayContaining(["tollgate.yaml:6", "tollgate.yaml:7", "policies/a.yaml:3", "policies/b.yaml:3"]));
    for (const { file, line, column, message } of problems) {
      expect([line, column].every((number) => Number.isInteger(number) && number >= 1)).toBe(true);
      expect(text.err).toContain(`${file}:${line}:${column}: ${message}`);
    }
    expect(text.out).toBe("");
  });

  test("reads the cases beside the policies: what they expect may fail elsewhere, but not how they are written", async () => {
    const cases = "apiVersion: tollgate/v1\ncases:\n  - { name: a, agent: nobody, tool: up/read, expect: permitt }\n";
    const { json, problems } = await check({ "tollgate.yaml": configText(), "policies/a.yaml": POLICY, "policies/a.cases.yaml": cases });
    expect(json.code).toBe(78);
    expect(problems).toEqual([expect.objectContaining({ line: 3, message: expect.stringContaining("cases[0].expect") })]);
  });

  test("knows time zones, wherever a condition names one", async () => {
    const policy = (zone: string) =>
      `apiVersion: tollgate/v1\nentitlements: [{ name: a, permit: [up/x], when: "now.getHours('${zone}') > 3" }]\n`;
    const { problems } = await check({ "tollgate.yaml": configText(), "policies/a.yaml": policy("Europe/Berln") });
    expect(problems[0]).toMatchObject({ column: 63, message: expect.stringContaining("Europe/Berln is not a time zone") });
    expect((await check({ "tollgate.yaml": configText(), "policies/a.yaml": policy("+01:00") })).json.code).toBe(0);
  });

  test("a hard budget of money wants a price for all that it counts, and a limit beyond what can be counted is told once", async () => {
    const budgets = (rule: string) =>
      `apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: ["up/*"] }]\nbudgets: [{ name: b, ${rule}, period: day }]\n`;
    const said = async (prices: string, rule = "meter: cost_micros, limit: 5000") =>
      (await check({ "tollgate.yaml": configText([1, 2, 3], prices), "policies/a.yaml": budgets(rule) })).text;
    expect((await said("")).err).toMatch(/prices has none for up/);
    const some = await said("prices: [{ tool: up/read, perCall: 5, currency: EUR }]");
    expect([some.code, some.err + some.out]).toEqual([0, expect.stringMatching(/prices name some of what up has, not all/)]);
    const named = await said("prices: [{ tool: up/read, perCall: 5, currency: EUR }]", "meter: cost_micros, limit: 5000, tools: [up/read]");
    expect(named.out + named.err).not.toMatch(/prices name some/);
    const whole = await said("prices: [{ server: up, perCall: 5, currency: EUR }]");
    expect(whole.out + whole.err).not.toMatch(/prices name some/);
    const { err } = await said("", "meter: calls, limit: 9007199254740992");
    expect(err.match(/policies.a\.yaml:\d+:\d+: .*limit/g)).toHaveLength(1);
  });

  test("of a missing file, a folder and a file that is no YAML is a problem at a place, never a crash", async () => {
    for (const files of [
      {},
      { "tollgate.yaml/x": "" },
      { "tollgate.yaml": "servers: [" },
      { "tollgate.yaml": "\u0000" },
      { "tollgate.yaml": "" },
    ]) {
      const { json, problems, folder } = await check(files as Record<string, string>);
      expect(json.code).toBe(78);
      expect(problems.length).toBeGreaterThan(0);
      for (const problem of problems)
        expect(problem).toEqual({
          file: expect.stringContaining(folder),
          line: expect.any(Number),
          column: expect.any(Number),
          message: expect.any(String),
        });
    }
  });

  test.each([
    ["inspect", "entitlements:\n  - { name: all, permit: [up/*], inspect: [dlp] }\n"],
    ["idempotency", "idempotency: { key: args.id }\n"],
  ])("refuses the key %s in a policy, which does not exist yet", async (key, yaml) => {
    const { problems, text, json } = await check({ "tollgate.yaml": configText(), "policies/a.yaml": `apiVersion: tollgate/v1\n${yaml}` });
    expect([problems.length, text.code, json.code]).toEqual([1, 78, 78]);
    expect(problems[0]?.message).toContain(key);
  });

  test.each(["limits", "approval", "loops"])("refuses the key %s in the config", async (key) => {
    const { problems } = await check({ "tollgate.yaml": configText([1, 2, 3], `${key}: {}`), "policies/a.yaml": POLICY });
    expect(problems).toMatchObject([{ line: 6, column: 1, message: expect.stringContaining(key) }]);
  });

  test("warns of a shared registry without shared keys: retries would run again at another gateway", async () => {
    const warned = async (more: string) => {
      const files = { "policies/a.yaml": POLICY, "keys/README": "mounted" };
      const config = configText([1, 2, 3], `shared: { postgres: env:REGISTRY }\n${more}`);
      const { json, problems } = await check({ "tollgate.yaml": config, ...files }, { REGISTRY: "postgres://nobody@127.0.0.1:9/none" });
      expect(json.code).toBe(0);
      return problems.some(({ message }) => message.includes("write keys: file:FOLDER"));
    };
    expect([await warned(""), await warned("keys: data"), await warned("keys: file:keys")]).toEqual([true, true, false]);
  });

  test("refuses a secret that is not set, by the variable's name, and one in clear text, without repeating it", async () => {
    const server = (credential: string) =>
      `${configText()}  more: { url: "http://127.0.0.1:9/mcp", credential: { bearer: "${credential}" } }\n`;
    const policies = { "policies/a.yaml": POLICY };
    const unset = await check({ "tollgate.yaml": server("env:MORE_KEY"), ...policies });
    expect(unset.problems).toMatchObject([{ line: 9, message: expect.stringContaining("MORE_KEY") }]);
    expect((await check({ "tollgate.yaml": server("env:MORE_KEY"), ...policies }, { MORE_KEY: "set" })).problems).toEqual([]);
    const clear = await check({ "tollgate.yaml": server("CANARY-in-clear"), ...policies });
    expect(clear.problems).toHaveLength(1);
    expect(clear.json.out + clear.text.err).not.toContain("CANARY-in-clear");
  });
});

describe("a config that is wrong", () => {
  test.each([
    [["serve"]],
    [["agent", "list"]],
    [["agent", "create", "a"]],
    [["agent", "show", "a"]],
    [["token", "--agent", "a"]],
    [["usage"]],
    [["budget", "list"]],
    [["audit", "tail"]],
    [["audit", "show", "a"]],
    [["audit", "verify"]],
    [["why", "a"]],
  ])("ends %j with exit 78 and every place", async (args) => {
    const folder = folderOf({ "tollgate.yaml": configText([1, 2, 3], "one: 1\ntwo: 2"), "policies/a.yaml": POLICY });
    const file = join(folder, "tollgate.yaml");
    const { code, out, err } = await tollgate([...args, "-c", file]);
    expect([code, out]).toEqual([78, ""]);
    expect(err).toContain(`${file}:6:1: `);
    expect(err).toContain(`${file}:7:1: `);
  });
});
