import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { GatewayProcess, modernRequest, type Setup, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets: [{ name: calls, meter: calls, limit: 5, period: total }]
`;

const running: GatewayProcess[] = [];
const upstreams: Upstream[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((gateway) => gateway.signal("SIGKILL")));
  await Promise.all(upstreams.splice(0).map((upstream) => upstream.close()));
});

async function start(setup: Partial<Setup> = {}): Promise<{ gateway: GatewayProcess; upstream: Upstream }> {
  const upstream = await startHttpUpstream();
  upstreams.push(upstream);
  const gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }`, ...setup });
  running.push(gateway);
  return { gateway, upstream };
}

function echo(gateway: GatewayProcess, accessToken: string, args: object = { text: "x" }, name = "echo"): Promise<Response> {
  return modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name, arguments: args });
}

test("SIGTERM lets calls in flight finish, refuses new ones, and ends with 0; the second start goes on where the first stopped", async () => {
  const { gateway } = await start();
  const agent = await gateway.createAgent("bot");
  const accessToken = await gateway.accessToken(agent, "up");
  const slow = echo(gateway, accessToken, { ms: 1500 }, "slow");
  await sleep(400);
  const ended = gateway.stop();
  await sleep(200);
  const late = await echo(gateway, accessToken).catch(() => null);
  expect(late === null || late.status === 503).toBe(true);
  expect(await (await slow).text()).toContain('"content"');
  expect(await ended).toBe(0);
  await gateway.serve();
  // The same token, the same agent, the same budget.
  expect((await echo(gateway, accessToken)).status).toBe(200);
  expect(await gateway.json("budget", "list")).toMatchObject([{ committed: 2, held: 0, remaining: 3 }]);
  expect(await gateway.json("agent", "list")).toMatchObject([{ name: "bot", id: agent.id }]);
  expect(await gateway.stop()).toBe(0);
});

test("a second process on live data, a port in use and a broken configuration each refuse the start with a reason", async () => {
  const { gateway } = await start();
  const second = await gateway.command("serve");
  expect([second.code, second.stderr]).toEqual([69, expect.stringMatching(/in use by another tollgate/)]);

  const other = await GatewayProcess.prepare({ policies: POLICIES, servers: '  up: { url: "http://127.0.0.1:1/mcp" }' });
  const squatter = createServer().listen(Number(new URL(other.publicUrl).port), "127.0.0.1");
  const refused = await other.command("serve");
  squatter.close();
  expect([refused.code, refused.stderr]).toEqual([69, expect.stringMatching(/the port is in use/)]);

  const text = readFileSync(other.configFile, "utf8");
  writeFileSync(
    other.configFile,
    `${text}\npolices: ./x\nsync: [{ type: cloudevents, url: "https://meter.example.com", bearer: env:NOT_SET_ANYWHERE }]\n`,
  );
  const broken = await other.command("serve");
  expect(broken.code).toBe(78);
  expect(broken.stderr).toMatch(/tollgate\.yaml:\d+:\d+: .*polices/);
  expect(broken.stderr).toMatch(/tollgate\.yaml:\d+:\d+: .*NOT_SET_ANYWHERE/);
  expect(broken.stderr).not.toMatch(/at .*\.ts:/);

  // A start that is refused half-way ends, and leaves nothing open.
  writeFileSync(other.configFile, text);
  mkdirSync(join(other.folder, "data"), { recursive: true });
  writeFileSync(join(other.folder, "data", "keys.json"), "{", { mode: 0o600 });
  const keyless = await other.command("serve");
  expect([keyless.code, keyless.stderr]).toEqual([69, expect.stringMatching(/keys\.json holds no signing key/)]);
});

test("files that hold secrets are for their owner only, and nothing in them is a secret in clear", async () => {
  const { gateway } = await start();
  const agent = await gateway.createAgent("bot");
  const data = join(gateway.folder, "data");
  expect(statSync(data).mode & 0o777).toBe(0o700);
  for (const file of ["journal.db", "control.db", "keys.json", "admin.key"])
    expect(statSync(join(data, file)).mode & 0o777, file).toBe(0o600);
  for (const file of ["journal.db", "journal.db-wal", "control.db", "control.db-wal"]) {
    if (existsSync(join(data, file))) expect(readFileSync(join(data, file)).includes(agent.client_secret), file).toBe(false);
  }
  expect(gateway.output).not.toContain(agent.client_secret);
  expect(gateway.output).not.toContain(readFileSync(join(data, "admin.key"), "utf8").trim());
});

test("SIGKILL of the gateway leaves no child of a stdio server behind", async () => {
  const everything = join(import.meta.dirname, "../../node_modules/@modelcontextprotocol/server-everything/dist/index.js");
  const { gateway } = await start({
    servers: `  up: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(everything)}, stdio] }`,
  });
  const accessToken = await gateway.accessToken(await gateway.createAgent("bot"), "up");
  expect((await echo(gateway, accessToken, { message: "x" })).status).toBe(200);
  const children = childrenOf(gateway.child?.pid ?? 0);
  expect(children.length).toBeGreaterThanOrEqual(2);
  await gateway.signal("SIGKILL");
  for (let i = 0; i < 100 && children.some(isAlive); i++) await sleep(100);
  expect(children.filter(isAlive)).toEqual([]);
});

test("a full disk refuses calls with 503 and sends nothing upstream; when there is room again it goes on, and the books agree", async (context) => {
  // A small file system of its own needs mount rights; where there are none this is skipped by name.
  const mounts = spawnSync("unshare", ["-rm", "true"]).status === 0;
  if (!mounts) expect(process.env.REQUIRE_SERVICES, "unshare -rm is needed").not.toBe("1");
  if (!mounts) return context.skip();
  const upstream = await startHttpUpstream();
  upstreams.push(upstream);
  const gateway = await GatewayProcess.prepare({
    policies: POLICIES.replace("limit: 5", "limit: 100000"),
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: "data: ./small",
  });
  running.push(gateway);
  await gateway.serveOnSmallDisk(3);
  const agent = await gateway.createAgent("bot");
  const accessToken = await gateway.accessToken(agent, "up");
  expect((await echo(gateway, accessToken)).status).toBe(200);
  gateway.fillDisk();
  let refused = 0;
  for (let i = 0; i < 30 && refused < 5; i++) {
    const before = upstream.executions.length;
    const answer = await echo(gateway, accessToken, { text: "x", nonce: `full-${i}` });
    if (answer.status !== 503) continue;
    refused += 1;
    expect(((await answer.json()) as { error: { data: object } }).error.data).toMatchObject({ reason: "store_unavailable" });
    expect(upstream.executions.length).toBe(before);
  }
  expect(refused).toBe(5);
  expect((await fetch(`${gateway.probesUrl}/readyz`)).status).toBe(503);
  gateway.freeDisk();
  for (let i = 0; i < 100 && (await fetch(`${gateway.probesUrl}/readyz`)).status !== 200; i++) await sleep(100);
  expect((await echo(gateway, accessToken)).status).toBe(200);
  const ran = upstream.executions.length;
  expect(await (await fetch(`${gateway.probesUrl}/metrics`)).text()).toContain("tollgate_journal_available 1");
  expect(await gateway.json("usage", "--by", "agent")).toMatchObject({ rows: [{ agent: "bot", calls: ran }] });
  expect(await gateway.stop()).toBe(0);
});

function childrenOf(pid: number): number[] {
  const direct = execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" })
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map(Number);
  return direct.flatMap((child) => {
    try {
      return [child, ...childrenOf(child)];
    } catch {
      return [child];
    }
  });
}

function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
