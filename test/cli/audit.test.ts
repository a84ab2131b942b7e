import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { freePorts, modernRequest } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { folderOf, POLICY, tollgate } from "./terminal.ts";

let upstream: Upstream;
let gateway: Gateway;
let [folder, file, key, callId] = ["", "", "", ""];
let ports: number[];

const at = (...args: string[]) => tollgate([...args, "-c", file]);
/** Without a config: on another machine. */
const elsewhere = (...args: string[]) => tollgate(args);
const path = (name: string) => join(folder, name);
const admin = async (route: string, method = "GET") => {
  const answer = await fetch(`http://127.0.0.1:${ports[1]}/api/v1${route}`, {
    method,
    headers: { authorization: `Bearer ${readFileSync(path("data/admin.key"), "utf8").trim()}` },
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, never> };
};
const start = () => startGateway({ configFile: file, env: {}, log: createLog("silent") });

beforeAll(async () => {
  upstream = await startHttpUpstream();
  ports = await freePorts(3);
  folder = folderOf({ "policies/a.yaml": POLICY });
  file = path("tollgate.yaml");
  const [publicPort, adminPort, probesPort] = ports;
  writeFileSync(
    file,
    `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${publicPort}
listen: { port: ${publicPort} }
admin: { port: ${adminPort} }
probes: { port: ${probesPort} }
servers: { up: { url: "${upstream.mcpUrl}" } }
`,
  );
  gateway = await start();
  await at("agent", "create", "bot", "--owner", "o@example.com", "--purpose", "testing");
  const { access_token } = JSON.parse((await at("token", "--agent", "bot", "--server", "up", "--json")).out);
  for (let i = 0; i < 3; i++) {
    const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, access_token, "tools/call", {
      name: "echo",
      arguments: { text: "hi" },
    });
    await answer.text();
  }
  const tail = JSON.parse((await at("audit", "tail", "--json")).out) as { call_id: string | null; settlement: string | null }[];
  callId = tail.find(({ settlement }) => settlement === "posted")?.call_id ?? "";
  key = (await at("audit", "key")).out;
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
});

test("the key of the log is shown by the command and by the API, and its secret by nothing", async () => {
  expect(key).toMatch(/^tollgate\/gw_[0-9a-z]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/);
  expect(await admin("/audit/key")).toEqual({ status: 200, body: { key } });
  expect(readFileSync(path("data/log.key"), "utf8")).toMatch(/^PRIVATE\+KEY\+tollgate\/gw_/);
  expect(statSync(path("data/log.key")).mode & 0o777).toBe(0o600);
});

test("a checkpoint is signed on demand, listed with those before it, and follows from them", async () => {
  const made = await admin("/audit/checkpoints", "POST");
  expect([200, 201]).toContain(made.status);
  const latest = await admin("/audit/checkpoints/latest");
  expect(latest.body).toEqual(made.body);
  expect((await at("audit", "checkpoint")).out).toBe(String(latest.body.note).trimEnd());
  const { items } = (await admin("/audit/checkpoints?limit=2")).body as unknown as { items: { size: number }[] };
  expect(items[0]?.size).toBe(latest.body.size);
  expect(items.length).toBe(2);
  const path = `/audit/consistency?from=${items[1]?.size}&to=${items[0]?.size}`;
  expect((await admin(path)).body).toMatchObject({ from: items[1]?.size, hashes: expect.any(Array) });
  expect((await admin("/audit/consistency?from=5&to=999999")).status).toBe(404);
  expect((await admin("/audit/consistency?from=x&to=1")).status).toBe(400);
});

test("a proof of a call is one file that verifies without gateway and database, and no changed byte of it does", async () => {
  const out = path("call.tlog-proof");
  const proven = await at("audit", "prove", callId, "--out", out);
  expect(proven.out).toMatch(/ records\nVerify it anywhere: /);
  expect([proven.code, proven.err]).toEqual([0, ""]);
  const good = await elsewhere("audit", "verify", "--proof", out, "--key", key);
  expect([good.code, good.err]).toEqual([0, ""]);
  for (const words of [callId, "bot", "echo", key]) expect(good.out).toContain(words);
  expect((await elsewhere("audit", "verify", "--proof", out)).out).toContain("NOT checked");
  const bytes = readFileSync(out);
  for (let i = 0; i < bytes.length; i += 7) {
    const flipped = Buffer.from(bytes);
    flipped[i] = (flipped[i] ?? 0) ^ 1;
    writeFileSync(path("flipped"), flipped);
    expect((await elsewhere("audit", "verify", "--proof", path("flipped"), "--key", key)).code, `byte ${i}`).toBe(1);
  }
  expect((await at("audit", "prove", callId, "--out", out)).code).toBe(1);
});

test("a proof of a usage event shows what was billed, bound to the record", async () => {
  const out = path("event.tlog-proof");
  await at("audit", "prove", `${callId}.settled`, "--out", out);
  const answer = JSON.parse((await elsewhere("audit", "verify", "--proof", out, "--key", key, "--json")).out);
  expect(answer).toMatchObject({ ok: true, usage_event: { id: `${callId}.settled`, data: { quantity: { calls: 1 } } } });
  const text = readFileSync(out, "utf8");
  const extra = Buffer.from(/^extra (.*)$/m.exec(text)?.[1] ?? "", "base64").toString();
  const cheaper = Buffer.from(extra.replace(/"calls":1,"duration/, '"calls":0,"duration')).toString("base64");
  expect(cheaper).not.toBe(Buffer.from(extra).toString("base64"));
  writeFileSync(path("cheaper"), text.replace(/^extra .*$/m, `extra ${cheaper}`));
  const { code, out: said } = await elsewhere("audit", "verify", "--proof", path("cheaper"), "--key", key);
  expect([code, said]).toEqual([1, expect.stringContaining("usage event is not the one")]);
});

test("exported records verify with checkpoint and key, and a changed one is named", async () => {
  const out = path("records.jsonl");
  const exported = await at("audit", "export", "--format", "jsonl", "--out", out);
  expect([exported.code, exported.err]).toEqual([0, ""]);
  expect(exported.out).toMatch(/ records\nVerify them anywhere: /);
  const verify = (...more: string[]) =>
    elsewhere("audit", "verify", "--records", out, "--checkpoint", `${out}.checkpoint`, "--key", key, ...more);
  const good = await verify("--json");
  expect(good.code).toBe(0);
  const size = readFileSync(out, "utf8").trimEnd().split("\n").length;
  expect(JSON.parse(good.out)).toMatchObject({ ok: true, size, checkpoints: { signed: size } });
  const lines = readFileSync(out, "utf8").split("\n");
  writeFileSync(out, lines.map((line, i) => (i === 4 ? line.replace(/"duration_ms":\d/, '"duration_ms":7') : line)).join("\n"));
  expect(JSON.parse((await verify("--json")).out)).toMatchObject({ ok: false, first_bad: 4 });
  rmSync(`${out}.leaves`);
  expect(JSON.parse((await verify("--json")).out)).toMatchObject({ ok: false, first_bad: 0 });
  writeFileSync(out, lines.slice(0, -2).join("\n").concat("\n"));
  expect(JSON.parse((await verify("--json")).out)).toMatchObject({ ok: false, first_bad: size - 1 });
  expect((await at("audit", "export", "--format", "xls", "--out", path("x"))).code).toBe(2);
});

test("the own journal verifies with its key and checkpoint; of a copy the terminal says what vouches for it", async () => {
  const own = await at("audit", "verify");
  expect([own.code, own.err]).toEqual([0, ""]);
  expect(own.out).toContain("lie on this machine");
  const copy = path("copy.db");
  new Database(path("data/journal.db"), { readonly: true }).exec(`VACUUM INTO '${copy}'`).close();
  expect((await elsewhere("audit", "verify", "--file", copy)).out).toContain("Internally consistent only");
  writeFileSync(path("kept"), `${(await at("audit", "checkpoint")).out}\n`);
  expect((await elsewhere("audit", "verify", "--file", copy, "--key", key)).out).toContain("Checkpoints vouch for");
  const truncated = new Database(copy);
  const triggers = truncated.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").pluck().all();
  for (const name of triggers) truncated.exec(`DROP TRIGGER ${String(name)}`);
  truncated.exec("PRAGMA foreign_keys = OFF; DELETE FROM checkpoint WHERE size > 3; DELETE FROM cosignature");
  truncated.exec(
    "DELETE FROM usage_event WHERE record > 3; DELETE FROM posted_line WHERE record > 3; DELETE FROM audit_record WHERE sequence > 3; UPDATE balance SET committed = 0",
  );
  truncated.close();
  const caught = await elsewhere("audit", "verify", "--file", copy, "--key", key, "--checkpoint", path("kept"), "--json");
  expect([caught.code, JSON.parse(caught.out)]).toMatchObject([
    1,
    { ok: false, problems: expect.arrayContaining([expect.stringContaining("cut off")]) },
  ]);
});

test("a copied data folder that was cut off is caught by the checkpoint beside its key", async () => {
  const copied = path("copied");
  mkdirSync(copied);
  const early = path("early.db");
  new Database(path("data/journal.db"), { readonly: true }).exec(`VACUUM INTO '${early}'`).close();
  await at("agent", "suspend", "bot", "--reason", "a test");
  await admin("/audit/checkpoints", "POST");
  copyFileSync(early, join(copied, "journal.db"));
  copyFileSync(path("data/log.key.checkpoint"), join(copied, "log.key.checkpoint"));
  const verdict = await elsewhere("audit", "verify", "--file", join(copied, "journal.db"));
  expect([verdict.code, verdict.out]).toEqual([1, expect.stringContaining("cut off")]);
});

test("wrong files and wrong keys are named", async () => {
  for (const [args, code, words] of [
    [["--key", "nonsense", "--proof", path("call.tlog-proof")], 2, "audit key"],
    [["--checkpoint", path("tollgate.yaml"), "--file", path("data/journal.db")], 1, "no checkpoint"],
    [["--proof", path("tollgate.yaml")], 1, "no proof"],
    [["--proof", path("a"), "--records", path("b")], 2, "name one"],
    [["--records", path("b")], 2, "--checkpoint"],
  ] as const) {
    const ending = await elsewhere("audit", "verify", ...args);
    expect([args, ending.code]).toEqual([args, code]);
    expect(ending.err).toContain(words);
  }
});

test("a store that was rolled back is served and not signed, and everything says so", async () => {
  const older = path("older.db");
  new Database(path("data/journal.db"), { readonly: true }).exec(`VACUUM INTO '${older}'`).close();
  await at("agent", "reinstate", "bot");
  await admin("/audit/checkpoints", "POST");
  await gateway.close();
  for (const end of ["-wal", "-shm"]) rmSync(path(`data/journal.db${end}`), { force: true });
  rmSync(path("data/journal.db"));
  // With it the start would be refused: it tells of more records than the copy holds.
  rmSync(path("data/journal.mark"));
  copyFileSync(older, path("data/journal.db"));
  gateway = await start();
  const ready = await fetch(`http://127.0.0.1:${ports[2]}/readyz`);
  expect([ready.status, await ready.json()]).toMatchObject([200, { ready: true, checks: { log: false } }]);
  expect(await (await fetch(`http://127.0.0.1:${ports[2]}/metrics`)).text()).toContain("tollgate_log_signing 0");
  expect(await admin("/audit/checkpoints", "POST")).toMatchObject({ status: 503 });
  const own = await at("audit", "verify");
  expect([own.code, own.out]).toEqual([1, expect.stringMatching(/cut off|not the ones/)]);
  expect(existsSync(path("data/journal.db"))).toBe(true);
});

test("records leave as OCSF events and as CSV, all of them or those that were asked for; nothing is overwritten", async () => {
  const ocsf = path("all.ocsf");
  expect((await at("audit", "export", "--format", "ocsf", "--out", ocsf)).code).toBe(0);
  const events = readFileSync(ocsf, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { class_uid: number; unmapped: { call_id: string | null; sequence: number } });
  expect(events.map(({ unmapped }) => unmapped.sequence)).toEqual(events.map((_, i) => i));
  expect(events.find(({ unmapped }) => unmapped.call_id === callId)?.class_uid).toBe(6003);
  expect((await at("audit", "export", "--format", "ocsf", "--out", ocsf)).code).toBe(1);

  const csv = path("calls.csv");
  const answer = await at("audit", "export", "--format", "csv", "--customer", "default", "--since", "2020-01-01", "--out", csv, "--json");
  const rows = readFileSync(csv, "utf8").trim().split("\r\n");
  expect(JSON.parse(answer.out)).toMatchObject({ records: rows.length - 1, signed: false });
  expect(rows[0]).toMatch(/^sequence,gateway,time_start/);
  expect(rows.find((row) => row.includes(callId))).toMatch(/,tools\/call,up,tool,echo,permit,/);
  const named = await at("audit", "export", "--format", "csv", "--agent", "bot", "--out", path("bot.csv"), "--json");
  const bot = JSON.parse((await at("agent", "show", "bot", "--json")).out) as { id: string };
  const byId = await at("audit", "export", "--format", "csv", "--agent", bot.id, "--out", path("id.csv"), "--json");
  expect(JSON.parse(named.out).records).toBeGreaterThanOrEqual(4);
  expect(JSON.parse(byId.out).records).toBeGreaterThanOrEqual(4);
  for (const [option, who] of [
    ["--agent", "bto"],
    ["--customer", "acne"],
  ] as const) {
    const nobody = await at("audit", "export", "--format", "csv", option, who, "--out", path("nobody.csv"));
    expect([nobody.code, nobody.err]).toEqual([1, expect.stringContaining(`no record matches ${option} ${who}`)]);
    expect(existsSync(path("nobody.csv"))).toBe(false);
  }
  const none = await at("audit", "export", "--format", "csv", "--until", "2020-01-01", "--out", path("none.csv"), "--json");
  expect(JSON.parse(none.out)).toMatchObject({ records: 0 });
  expect((await at("audit", "export", "--format", "csv", "--until", "yesterday", "--out", path("x.csv"))).code).toBe(2);
});
