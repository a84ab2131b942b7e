import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import Database from "better-sqlite3";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { freePorts, modernRequest } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { folderOf, POLICY, tollgate } from "./terminal.ts";

let upstream: Upstream;
let gateway: Gateway | null = null;
let folder: string;
let file: string;
let ports: number[];
/** One that was permitted and one that was refused. */
const calls: string[] = [];

const start = () => startGateway({ configFile: file, env: {}, log: createLog("silent") });
const at = (...args: string[]) => tollgate([...args, "-c", file]);

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, err } = await at(...args, "--json");
  // That the data folder was read is said beside the answer.
  expect([code, err.replace(/^no gateway runs: read from .*$/, "")]).toEqual([0, ""]);
  return JSON.parse(out) as T;
}

beforeAll(async () => {
  upstream = await startHttpUpstream();
  ports = await freePorts(3);
  folder = folderOf({ "policies/a.yaml": POLICY });
  file = join(folder, "tollgate.yaml");
  const [publicPort, adminPort, probesPort] = ports;
  writeFileSync(
    file,
    `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${publicPort}
listen: { port: ${publicPort} }
admin: { port: ${adminPort} }
probes: { port: ${probesPort} }
servers: { up: { url: "${upstream.mcpUrl}" }, other: { url: "${upstream.mcpUrl}" } }
`,
  );
  gateway = await start();
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
});

describe("with a gateway", () => {
  test("agent create shows the secret once, as text and as the JSON of the contract", async () => {
    const text = await at("agent", "create", "text-bot", "--owner", "o@example.com", "--purpose", "testing");
    expect(text.code).toBe(0);
    expect(text.out).toMatch(/client_secret +tgs_/);
    const made = await json<Record<string, string>>(
      "agent",
      "create",
      "bot",
      "--team",
      "support",
      "--owner",
      "o@example.com",
      "--purpose",
      "testing",
    );
    expect(made).toEqual({
      id: expect.stringMatching(/^agt_/),
      name: "bot",
      client_id: made.id,
      credential_id: expect.stringMatching(/^cred_/),
      client_secret: expect.stringMatching(/^tgs_/),
    });
    expect((await at("agent", "create", "declared-bot")).out).toMatch(/client_secret +tgs_/);
  });

  test("agent list and show tell of every agent, and of no secret", async () => {
    const { out } = await at("agent", "list");
    for (const name of ["text-bot", "bot", "declared-bot"]) expect(out).toContain(name);
    expect((await json<{ name: string }[]>("agent", "list")).map(({ name }) => name).sort()).toEqual(["bot", "declared-bot", "text-bot"]);
    const shown = await json<{ id: string; declared: boolean }>("agent", "show", "declared-bot");
    expect(shown.declared).toBe(true);
    expect((await at("agent", "show", shown.id)).out).toContain("declared-bot");
    expect(out + JSON.stringify(shown)).not.toContain("tgs_");
  });

  test("a no is exit 1, with the reason", async () => {
    const answers = [
      await at("agent", "show", "nobody"),
      await at("agent", "show", "no/../body?x"),
      await at("agent", "create", "bot", "--owner", "o@example.com", "--purpose", "again"),
      await at("agent", "create", "agt_x", "--owner", "o@example.com", "--purpose", "testing"),
      await at("token", "--agent", "nobody", "--server", "up"),
      await at("token", "--agent", "bot", "--server", "nothing"),
      await at("token", "--agent", "bot", "--server", "up", "--scope", "admin"),
      await at("why", "call_nothing"),
      await at("audit", "show", "call_nothing"),
    ];
    for (const { code, out, err } of answers) {
      expect([code, out], err).toEqual([1, ""]);
      expect(err.length).toBeGreaterThan(10);
      expect(err.split("\n")).toHaveLength(1);
    }
  });

  test("a wrong value is exit 2 and says what there is", async () => {
    for (const [args, words] of [
      [["usage", "--by", "secret"], "there is agent, "],
      [["usage", "--format", "xml"], "there is table, csv"],
      [["usage", "--where", "day=2026-11-01"], "NAME=VALUE"],
      [["usage", "--since", "yesterday"], "2026-11-01"],
      [["usage", "--since", "1"], "2026-11-01"],
      [["usage", "--until", "2026-11-01T12:00"], "2026-11-01T12:00:00Z"],
      [["audit", "tail", "--limit", "0"], "whole number"],
      [["serve", "--log-level", "loud"], "debug, info"],
      [["agent", "create", "x", "--jwks", join(folder, "nothing.json")], "nothing.json"],
    ] as const) {
      const { code, err } = await at(...args);
      expect([args, code]).toEqual([args, 2]);
      expect(err).toContain(words);
    }
  });

  test("token prints a token that works, as text alone or as the response of RFC 6749", async () => {
    const { out } = await at("token", "--agent", "bot", "--server", "up");
    expect(decodeJwt(out.trim())).toMatchObject({ aud: `http://127.0.0.1:${ports[0]}/mcp/up` });
    const everything = await json<{ access_token: string }>("token", "--agent", "bot");
    expect(decodeJwt(everything.access_token)).toMatchObject({ aud: `http://127.0.0.1:${ports[0]}/mcp` });
    const answer = await json<{ access_token: string }>("token", "--agent", "bot", "--server", "up");
    expect(answer).toMatchObject({ access_token: expect.any(String), token_type: "Bearer", expires_in: 600, scope: "mcp" });
    const url = `http://127.0.0.1:${ports[0]}/mcp/up`;
    expect((await modernRequest(url, answer.access_token, "tools/call", { name: "echo", arguments: { text: "hi" } })).status).toBe(200);
    await (await modernRequest(url, answer.access_token, "tools/call", { name: "nothing-like-it", arguments: {} })).text();
  });

  test("audit tail shows every call, the newest last, and no more than was asked for", async () => {
    const records = await json<{ call_id: string | null; sequence: number }[]>("audit", "tail");
    calls.push(...records.flatMap(({ call_id }) => (call_id === null ? [] : [call_id])));
    expect(calls).toHaveLength(2);
    expect((await at("audit", "tail")).out).toContain(calls[0]);
    expect(await json<object[]>("audit", "tail", "--limit", "1")).toEqual(records.slice(-1));
  });
});

/** The same words whether a gateway answers or the folder is read. */
function readsTheBooks(): void {
  test("why tells the decision in words", async () => {
    const permitted = await at("why", calls[0] ?? "");
    expect(permitted.out).toMatch(/Permitted by all .*a\.yaml:5/);
    expect((await at("why", calls[1] ?? "")).out).toMatch(/Permitted by all .*, then refused: tool_unknown/);
    expect(await json("why", calls[0] ?? "")).toMatchObject({
      call_id: calls[0],
      words: expect.any(Array),
      record: { decision: "permit" },
    });
  });

  test("audit show gives the record and its proof", async () => {
    expect(await json("audit", "show", calls[0] ?? "")).toMatchObject({
      record: { call_id: calls[0] },
      proof: { root: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect((await at("audit", "show", calls[0] ?? "")).out).toContain("leaf ");
  });

  test("audit verify is ok", async () => {
    const verdict = await json<{ ok: boolean; size: number; root: string }>("audit", "verify");
    expect(verdict).toMatchObject({ ok: true, root: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect((await at("audit", "verify")).out).toContain(verdict.root);
  });

  test("usage sums by what was asked", async () => {
    expect(await json("usage", "--by", "agent,tool")).toMatchObject({
      rows: [{ tool: "echo", calls: 1, tool_tokens: expect.any(Number) }],
      since: null,
      until: null,
    });
    expect((await at("usage")).out).toMatch(/AGENT +SERVER +TOOL +CALLS/);
    expect(await json("usage", "--until", "2020-01-01")).toMatchObject({ rows: [], until: "2020-01-01T00:00:00.000Z" });
  });

  test("budget list has the members of the contract", async () => {
    const rows = await json<object[]>("budget", "list");
    expect(rows).toMatchObject([
      {
        name: "shared-calls",
        meter: "calls",
        limit: 1_000,
        committed: 1,
        held: 0,
        remaining: 999,
        window: { start: expect.any(String), end: expect.any(String) },
      },
    ]);
    expect((await at("budget", "list")).out).toMatch(/shared-calls +shared +calls +1_000 +1 +0 +0 +999/);
  });

  test("a call that never was is a no: exit 1", async () => {
    for (const command of [["why"], ["audit", "show"]]) expect((await at(...command, "call_nothing")).code).toBe(1);
  });
}

describe("the books, asked of a gateway,", readsTheBooks);

describe("a second gateway", () => {
  test("on a live data folder is refused: exit 69, and the first goes on", async () => {
    const { code, err } = await at("serve", "--log-level", "silent");
    expect(code).toBe(69);
    expect(err).toContain(join(folder, "data"));
    expect((await at("agent", "list")).code).toBe(0);
  });

  test("on a port in use is refused by the port: exit 69", async () => {
    const other = join(folder, "other.yaml");
    writeFileSync(other, `${readFileSync(file, "utf8")}data: ./other-data\n`);
    const { code, err } = await tollgate(["serve", "--log-level", "silent", "-c", other]);
    expect(code).toBe(69);
    expect(err).toMatch(new RegExp(`:${ports[2]} \\(probes\\): the port is in use`));
  });
});

describe("an admin key that is not this gateway's", () => {
  test("is a no that names the file to look at", async () => {
    const key = join(folder, "data", "admin.key");
    const right = readFileSync(key, "utf8");
    writeFileSync(key, `tga_${"A".repeat(43)}\n`);
    const { code, err } = await at("agent", "list");
    writeFileSync(key, right);
    expect(code).toBe(1);
    expect(err).toContain("admin.key");
    expect(err).not.toContain("tga_");
  });
});

describe("without the gateway", () => {
  beforeAll(async () => {
    await gateway?.close();
    gateway = null;
  });

  test.each([[["agent", "create", "x"]], [["agent", "list"]], [["agent", "show", "x"]], [["token", "--agent", "bot", "--server", "up"]]])(
    "%j is exit 69 and says how to start one",
    async (args) => {
      const { code, out, err } = await at(...args);
      expect([code, out]).toEqual([69, ""]);
      expect(err).toContain(`tollgate serve -c ${file}`);
    },
  );

  describe("the books, read from the data folder,", () => {
    readsTheBooks();

    test("are verified in a copied file, without config or gateway; a changed byte is exit 1", async () => {
      const copy = join(folderOf(), "copy.db");
      copyFileSync(join(folder, "data", "journal.db"), copy);
      const good = await tollgate(["audit", "verify", "--json", "--file", copy, "-c", "/nowhere.yaml"]);
      expect([good.code, JSON.parse(good.out).ok]).toEqual([0, true]);
      const raw = new Database(copy);
      for (const name of raw.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").pluck().all())
        raw.exec(`DROP TRIGGER ${name}`);
      raw.exec("UPDATE audit_record SET body = replace(body, 'tool_unknown', 'tool_unknowm')");
      raw.close();
      const bad = await tollgate(["audit", "verify", "--json", "--file", copy, "-c", "/nowhere.yaml"]);
      expect(bad.code).toBe(1);
      expect(JSON.parse(bad.out)).toMatchObject({ ok: false, first_bad: expect.any(Number) });
      expect((await tollgate(["audit", "verify", "--file", copy])).out).toContain("NOT ok");
    });
  });

  test("audit verify of a file that is missing, or no journal, says so without a stack", async () => {
    const empty = folderOf({ "text.db": "this is no database at all, and long enough to be looked at ".repeat(20), "empty.db": "" });
    for (const [name, exit] of [
      ["nothing.db", 2],
      ["text.db", 1],
      ["empty.db", 1],
      [".", 1],
    ] as const) {
      const { code, err } = await tollgate(["audit", "verify", "--file", join(empty, name)]);
      expect([name, code], err).toEqual([name, exit]);
      expect(err).toContain(join(empty, name));
      expect(err).not.toContain("    at ");
    }
  });

  test("a journal that is damaged is exit 69 for the books, without a stack", async () => {
    const broken = folderOf({ "tollgate.yaml": readFileSync(file, "utf8"), "policies/a.yaml": POLICY });
    mkdirSync(join(broken, "data"));
    writeFileSync(join(broken, "data", "journal.db"), "this is no database at all, and long enough to be looked at ".repeat(20));
    for (const args of [["usage"], ["budget", "list"], ["audit", "tail"], ["why", "x"]]) {
      const { code, err } = await tollgate([...args, "-c", join(broken, "tollgate.yaml")]);
      expect([args, code]).toEqual([args, 69]);
      expect(err).toContain("journal.db");
    }
  });

  test("a gateway that never ran has no books: exit 69 and how to start it", async () => {
    const fresh = folderOf({ "tollgate.yaml": readFileSync(file, "utf8"), "policies/a.yaml": POLICY });
    for (const args of [["usage"], ["budget", "list"], ["audit", "tail"], ["why", "x"], ["audit", "show", "x"], ["audit", "verify"]]) {
      const { code, err } = await tollgate([...args, "-c", join(fresh, "tollgate.yaml")]);
      expect([args, code]).toEqual([args, 69]);
      expect(err).toContain("tollgate serve");
    }
  });

  test("something else on the admin port is exit 69, and is named", async () => {
    const stranger = createServer((_, response) => response.end("<html>hello</html>")).listen(ports[1], "127.0.0.1");
    await new Promise((resolve) => stranger.once("listening", resolve));
    const { code, err } = await at("agent", "list");
    expect((stranger.address() as AddressInfo).port).toBe(ports[1]);
    await new Promise((resolve) => stranger.close(resolve));
    expect(code).toBe(69);
    expect(err).toContain(`127.0.0.1:${ports[1]}`);
  });

  test("the next start has the agents of before", async () => {
    gateway = await start();
    expect((await json<{ name: string }[]>("agent", "list")).map(({ name }) => name).sort()).toEqual(["bot", "declared-bot", "text-bot"]);
  });
});
