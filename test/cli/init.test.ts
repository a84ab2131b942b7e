import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderOf, tollgate } from "./terminal.ts";

const FILES = [".gitignore", "policies", "schema", "tollgate.yaml"];

async function checked(folder: string, env: Record<string, string> = {}): Promise<string> {
  const { code, err } = await tollgate(["check", "-c", join(folder, "tollgate.yaml")], env);
  return code === 0 ? "ok" : err;
}

describe("init", () => {
  test("writes a config, a policy with an agent and a .gitignore that check accepts", async () => {
    const folder = folderOf();
    const { code, out } = await tollgate(["init", folder]);
    expect(code).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(FILES);
    expect(await checked(folder)).toBe("ok");
    for (const file of ["tollgate.yaml", "policies/first.yaml", ".gitignore"]) expect(out).toContain(join(folder, file));
    expect(readFileSync(join(folder, "policies/first.yaml"), "utf8")).toContain("first-agent");
  });

  test("states decisions that hold, and names for editors the schemas that stand beside", async () => {
    const folder = folderOf();
    await tollgate(["init", folder]);
    expect(await tollgate(["policy", "test", "-c", join(folder, "tollgate.yaml")])).toMatchObject({ code: 0, out: "4 decisions hold" });
    for (const file of ["tollgate.yaml", "policies/first.yaml", "policies/first.cases.yaml"]) {
      const named = /^# yaml-language-server: \$schema=(.+)$/m.exec(readFileSync(join(folder, file), "utf8"))?.[1] ?? "";
      expect(JSON.parse(readFileSync(join(folder, file, "..", named), "utf8"))).toHaveProperty("properties.apiVersion");
    }
  });

  test("makes the folder where there is none, and tells the next steps for it", async () => {
    const folder = join(folderOf(), "deep", "gateway");
    const { code, out } = await tollgate(["init", folder]);
    expect(code).toBe(0);
    expect(await checked(folder)).toBe("ok");
    expect(out).toContain(`tollgate serve -c ${join(folder, "tollgate.yaml")}`);
  });

  test("never overwrites: exit 1, and every file stays as it was", async () => {
    for (const name of ["tollgate.yaml", "policies/first.yaml"]) {
      const folder = folderOf({ [name]: "mine" });
      const before = readdirSync(folder).sort();
      const { code, out, err } = await tollgate(["init", folder]);
      expect([code, out]).toEqual([1, ""]);
      expect(err).toContain(join(folder, name));
      expect(readFileSync(join(folder, name), "utf8")).toBe("mine");
      expect(readdirSync(folder).sort()).toEqual(before);
    }
  });

  test("leaves a .gitignore alone", async () => {
    const folder = folderOf({ ".gitignore": "mine" });
    expect((await tollgate(["init", folder])).code).toBe(0);
    expect(readFileSync(join(folder, ".gitignore"), "utf8")).toBe("mine");
  });

  test("a second time in the same folder is refused", async () => {
    const folder = folderOf();
    await tollgate(["init", folder]);
    expect((await tollgate(["init", folder])).code).toBe(1);
  });

  test("where a file is in the way says so, with exit 1", async () => {
    const folder = folderOf({ file: "" });
    const { code, err } = await tollgate(["init", join(folder, "file", "below")]);
    expect(code).toBe(1);
    expect(err).toContain(join(folder, "file"));
    const blocked = folderOf({ policies: "a file" });
    expect((await tollgate(["init", blocked])).code).toBe(1);
    expect(readdirSync(blocked)).toEqual(["policies"]);
  });

  test("as JSON tells what was written", async () => {
    const folder = folderOf();
    const { out } = await tollgate(["init", folder, "--json"]);
    expect(JSON.parse(out)).toEqual({
      written: [
        ...["tollgate.yaml", "policies/first.yaml", "policies/first.cases.yaml", ".gitignore"],
        ...["schema/config.schema.json", "schema/policy.schema.json", "schema/cases.schema.json"],
      ].map((file) => join(folder, file)),
      notes: [],
    });
  });
});

describe("init --from", () => {
  /** What the notes say must be set. */
  const namedIn = (out: string) => Object.fromEntries([...out.matchAll(/[A-Z_][A-Z0-9_]{3,}/g)].map(([name]) => [name, "set"]));

  test("takes the servers of a client's file; with the named variables set, check accepts it", async () => {
    const client = {
      mcpServers: {
        "GitHub Server": {
          command: "npx",
          args: ["-y", "@example/github", '--flag="quoted"', "a: b # c"],
          env: { GITHUB_TOKEN: "CANARY-1" },
        },
        tickets: { url: "https://tickets.example/mcp", headers: { Authorization: "Bearer CANARY-2" } },
        keyed: { serverUrl: "https://keyed.example/mcp", headers: { "X-Api-Key": "CANARY-3" } },
        "123": { command: "server" },
        null: { command: "server" },
        true: { command: "server" },
        "-": { command: "server" },
        "~": { command: "server" },
        "1e3": { command: "server" },
        "0x10": { command: "server" },
        日本: { command: "server" },
        ["very-long-".repeat(9)]: { command: "server" },
        [`${"very-long-".repeat(9)}2`]: { command: "server" },
      },
    };
    const folder = folderOf({ "client.json": JSON.stringify(client) });
    const { code, out } = await tollgate(["init", join(folder, "gate"), "--from", join(folder, "client.json")]);
    expect(code).toBe(0);
    expect(await checked(join(folder, "gate"), namedIn(out))).toBe("ok");
    const yaml = readFileSync(join(folder, "gate", "tollgate.yaml"), "utf8");
    expect(yaml + out).not.toContain("CANARY");
  });

  test.each<[string, string]>([
    ["that is not there", ""],
    ["that is no JSON", "{"],
    ["that is null", "null"],
    ["without servers", "{}"],
    ["with an empty list of servers", '{"mcpServers": {}}'],
    ["whose servers are nothing", '{"mcpServers": {"a": null, "b": 1, "c": "x", "d": []}}'],
  ])("a file %s is wrong usage: exit 2, and nothing is written", async (_, text) => {
    const folder = folderOf(text === "" ? {} : { "client.json": text });
    mkdirSync(join(folder, "gate"));
    const { code, err } = await tollgate(["init", join(folder, "gate"), "--from", join(folder, "client.json")]);
    expect(code).toBe(2);
    expect(err).toContain("client.json");
    expect(readdirSync(join(folder, "gate"))).toEqual([]);
  });

  test("does not let a client's file steer the terminal", async () => {
    const folder = folderOf({
      "client.json": JSON.stringify({ mcpServers: { "a\u001b[2J\u009b": {}, b: { command: "x", env: { "\u202e": "" } } } }),
    });
    const { out } = await tollgate(["init", join(folder, "gate"), "--from", join(folder, "client.json")]);
    expect(out).toContain("left out a");
    expect(out).toMatch(/^[\x20-\x7e\n]*$/);
  });

  test("reads a file that begins with a byte order mark, as editors on Windows write it", async () => {
    const folder = folderOf();
    writeFileSync(join(folder, "client.json"), '\ufeff{"mcpServers": {"a": {"command": "server"}}}');
    expect((await tollgate(["init", join(folder, "gate"), "--from", join(folder, "client.json")])).code).toBe(0);
  });
});
