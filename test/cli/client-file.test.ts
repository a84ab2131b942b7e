import { describe, expect, test } from "vitest";
import { type ClientServers, readClientFile } from "../../src/cli/client-file.ts";

function read(text: string | object): ClientServers {
  const found = readClientFile(typeof text === "string" ? text : JSON.stringify(text));
  if ("problem" in found) throw new Error(found.problem);
  return found;
}

const names = (text: string | object) => read(text).servers.map(({ name }) => name);

describe("a client's file", () => {
  test.each<[string, object]>([
    ["Claude and Cursor", { mcpServers: { a: { command: "x" } } }],
    ["VS Code", { servers: { a: { type: "stdio", command: "x" } }, inputs: [] }],
    ["VS Code settings", { mcp: { servers: { a: { command: "x" } } } }],
  ])("of %s is read", (_, document) => {
    expect(read(document).servers).toEqual([{ name: "a", yaml: '{ command: ["x"] }' }]);
  });

  test("may have comments and trailing commas, which strings keep", () => {
    const text = `{ // the servers
      "servers": { /* one */ "a": { "url": "https://a.example/mcp//x", "headers": {}, }, "b": { "command": "x", "args": ["/* no */", "a,}", "\\"//",], }, },
    }`;
    expect(read(text).servers).toEqual([
      { name: "a", yaml: '{ url: "https://a.example/mcp//x" }' },
      { name: "b", yaml: '{ command: ["x", "/* no */", "a,}", "\\"//"] }' },
    ]);
  });

  test("names become server names, no two the same", () => {
    expect(
      names({
        mcpServers: {
          "My Server": { command: "x" },
          "my.server": { command: "x" },
          "my-server": { command: "x" },
          "my-server-2": { command: "x" },
        },
      }),
    ).toEqual(["my-server", "my-server-2", "my-server-3", "my-server-2-2"]);
    const many = Object.fromEntries(Array.from({ length: 1_100 }, (_, i) => [`${"x".repeat(40)}${i}`, { command: "x" }]));
    const made = names({ mcpServers: many });
    expect(new Set(made).size).toBe(1_100);
    for (const name of made) expect(name).toMatch(/^[a-z0-9-]{1,32}$/);
  });

  test("secrets become variables that a note names; values are left behind", () => {
    const found = read({ mcpServers: { "a-b": { command: "x", env: { KEY: "CANARY", "2nd": "CANARY" } } } });
    expect(found.servers[0]?.yaml).toBe('{ command: ["x"], env: { "KEY": "env:A_B_KEY", "2nd": "env:A_B_2ND" } }');
    expect(found.notes).toEqual(["set A_B_KEY, A_B_2ND for a-b"]);
    expect(JSON.stringify(found)).not.toContain("CANARY");
  });

  test("a bearer header becomes a bearer credential", () => {
    const found = read({ mcpServers: { a: { url: "https://a.example/mcp", headers: { authorization: "Bearer CANARY" } } } });
    expect(found.servers[0]?.yaml).toBe('{ url: "https://a.example/mcp", credential: { bearer: "env:A_AUTHORIZATION" } }');
    expect(found.notes.join()).toMatch(/A_AUTHORIZATION.*without.*Bearer/);
  });

  test("a second header is not dropped in silence", () => {
    const found = read({ mcpServers: { a: { url: "https://a.example/mcp", headers: { "X-Key": "CANARY", "X-Tenant": "CANARY" } } } });
    expect(found.notes.join("\n")).toContain("X-Tenant");
  });

  test("a URL that holds a password or a query loses it, and a note says so", () => {
    const found = read({ mcpServers: { a: { url: "https://me:CANARY@a.example/mcp?api_key=CANARY" } } });
    expect(found.servers[0]?.yaml).toBe('{ url: "https://a.example/mcp" }');
    expect(found.notes.join()).toContain("a:");
    expect(JSON.stringify(found)).not.toContain("CANARY");
  });

  test("an entry that is no server is left out by name, and the others are taken", () => {
    const found = read({ mcpServers: { a: null, b: 1, c: { note: "x" }, d: { command: "x" }, e: { url: "not a url" } } });
    expect(found.servers.map(({ name }) => name)).toEqual(["d"]);
    expect(found.notes.map((note) => note.replace(/:.*/, ""))).toEqual(["left out a", "left out b", "left out c", "left out e"]);
  });
});
