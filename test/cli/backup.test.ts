import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { freePorts, modernRequest } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { httpSink } from "../sync/http-sink.ts";
import { folderOf, POLICY, tollgate } from "./terminal.ts";

let upstream: Upstream;
let sink: Awaited<ReturnType<typeof httpSink>>;
let gateway: Gateway | null = null;
let [folder, file] = ["", ""];
const path = (name: string) => join(folder, name);
const at = (...args: string[]) => tollgate([...args, "-c", file]);
const json = async <T>(...args: string[]): Promise<T> => {
  const { code, out, err } = await at(...args, "--json");
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as T;
};
const start = async () => {
  gateway = await startGateway({ configFile: file, env: {}, log: createLog("silent") });
  return gateway;
};
const stop = async () => {
  await gateway?.close();
  gateway = null;
};
const call = async (count: number) => {
  const { access_token } = await json<{ access_token: string }>("token", "--agent", "bot", "--server", "up");
  for (let i = 0; i < count; i++) {
    const url = `${gateway?.publicUrl}/mcp/up`;
    await (await modernRequest(url, access_token, "tools/call", { name: "echo", arguments: { text: "hi" } })).text();
  }
};

beforeAll(async () => {
  upstream = await startHttpUpstream();
  sink = await httpSink();
  const [publicPort, adminPort, probesPort] = await freePorts(3);
  folder = folderOf({ "policies/a.yaml": POLICY });
  file = path("tollgate.yaml");
  writeFileSync(
    file,
    `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${publicPort}
listen: { port: ${publicPort} }
admin: { port: ${adminPort} }
probes: { port: ${probesPort} }
gatewayId: gw-1
sync: [{ type: cloudevents, url: "${sink.url}", every: 50ms }]
servers: { up: { url: "${upstream.mcpUrl}" } }
`,
  );
  await start();
  await at("agent", "create", "bot", "--owner", "o@example.com", "--purpose", "testing");
  await call(3);
});
afterAll(async () => {
  await stop();
  await upstream?.close();
  await sink?.close();
});

test("a backup of a running gateway is one private file that verifies by itself, holds no key that signs and never overwrites", async () => {
  const made = await json<{ records: number; parts: string[] }>("backup", path("books.db"));
  expect(made.parts).toEqual(["control.db", "digest-keys.db"]);
  expect(statSync(path("books.db")).mode & 0o777).toBe(0o600);
  const verdict = await tollgate(["audit", "verify", "--file", path("books.db"), "--json"]);
  expect(JSON.parse(verdict.out)).toMatchObject({ ok: true, size: made.records });
  const bytes = readFileSync(path("books.db")).toString("latin1");
  for (const name of ["log.key", "admin.key"]) expect(bytes).not.toContain(readFileSync(path(`data/${name}`), "utf8").trim());
  const { signing, sealing } = JSON.parse(readFileSync(path("data/keys.json"), "utf8")) as { signing: { d: string }; sealing: string };
  for (const secret of [signing.d, sealing]) expect(bytes).not.toContain(secret);
  const again = await at("backup", path("books.db"));
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("never overwrites")]);
});

test("a backup is restored into a new data folder only, and a damaged one not at all", async () => {
  const standing = await at("restore", path("books.db"));
  expect([standing.code, standing.err]).toEqual([1, expect.stringContaining("not empty")]);
  writeFileSync(path("damaged.db"), readFileSync(path("books.db")));
  const raw = new Database(path("damaged.db"));
  raw.exec("DROP TRIGGER audit_record_is_never_changed; UPDATE audit_record SET body = replace(body, 'bot', 'bat') WHERE sequence = 3");
  raw.close();
  const damaged = await at("restore", path("damaged.db"));
  expect([damaged.code, damaged.err]).toEqual([1, expect.stringContaining("nothing was restored")]);
  const none = await at("restore", path("data/control.db"));
  expect(none.code).toBe(1);
});

test("restored books go on under a new id and another log, and nothing new is sent under the old one", async () => {
  await call(2);
  while (sink.taken.length < 5) await new Promise((resolve) => setTimeout(resolve, 10));
  const oldKey = (await at("audit", "key")).out;
  await stop();
  rmSync(path("data"), { recursive: true });
  mkdirSync(path("data"));
  const restored = await json<{ records: number; source: string; parent: string }>("restore", path("books.db"));
  expect(restored).toMatchObject({ parent: "gw-1", source: expect.stringMatching(/^gw-1\.r[0-9a-f]{10}$/) });
  for (const name of ["log.key", "keys.json", "admin.key"]) expect(existsSync(path(`data/${name}`))).toBe(false);
  const before = sink.taken.length;
  await start();
  await call(4);
  await stop();
  await start();
  const own = await json<{ ok: boolean; size: number; checkpoints: { signed: number } }>("audit", "verify");
  expect(own).toMatchObject({ ok: true });
  expect(own.checkpoints.signed).toBeGreaterThan(restored.records);
  const key = (await at("audit", "key")).out;
  expect(key).not.toBe(oldKey);
  expect(key).toContain(`tollgate/${restored.source}+`);
  const first = await json<{ record: object }>("audit", "show", String(restored.records));
  expect(first.record).toMatchObject({
    kind: "log.restored",
    source: restored.source,
    details: { parent_source: "gw-1", parent_size: restored.records },
  });
  const seen = new Set(sink.taken.slice(0, before).map(({ source, id, sequence }) => `${source} ${id} ${sequence}`));
  while (sink.taken.filter(({ source }) => source.endsWith(restored.source)).length < 4)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const after = sink.taken.slice(before);
  for (const { source, id, sequence } of after.filter((event) => event.source === "urn:tollgate:gw-1"))
    expect(seen).toContain(`${source} ${id} ${sequence}`);
  expect(after.filter(({ source }) => source === `urn:tollgate:${restored.source}`)).toHaveLength(4);
});

test("agents of the backup are there after it was restored", async () => {
  expect(await json("agent", "show", "bot")).toMatchObject({ name: "bot" });
});

test.each([
  [
    "a record under the old id after it",
    "UPDATE audit_record SET body = replace(body, @new, @old) WHERE sequence = (SELECT max(sequence) FROM audit_record)",
    "another gateway",
  ],
  [
    "a parent of another size",
    "UPDATE audit_record SET body = replace(body, '\"parent_size\":', '\"parent_size\":1') WHERE kind = 'log.restored'",
    "no restored backup explains",
  ],
  ["an epoch that is gone", "DELETE FROM epoch", "another gateway"],
  ["an epoch that begins later", "UPDATE epoch SET first_record = first_record + 1 WHERE first_record > 0", "another gateway"],
])("of restored books, %s is found", async (name, sql, words) => {
  const copy = path(`${name.replaceAll(" ", "-")}.db`);
  new Database(path("data/journal.db"), { readonly: true }).exec(`VACUUM INTO '${copy}'`).close();
  const raw = new Database(copy);
  for (const trigger of raw.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").pluck().all())
    raw.exec(`DROP TRIGGER ${String(trigger)}`);
  const source = String(raw.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get());
  const statement = raw.prepare(sql);
  if (sql.includes("@new")) statement.run({ new: `"source":"${source}"`, old: '"source":"gw-1"' });
  else statement.run();
  raw.close();
  const { code, out } = await tollgate(["audit", "verify", "--file", copy]);
  expect([code, out]).toEqual([1, expect.stringContaining(words)]);
});
