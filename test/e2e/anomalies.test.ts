/** What is unusual of an agent, at the front door of a gateway whose calendar is turned on by days. */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe.ts";
import { folderOf, tollgate } from "../cli/terminal.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { freePorts, modernRequest } from "./gateway-process.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 8, 1, 9);
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
`;

let [upstream, gateway]: [Upstream | null, Gateway | null] = [null, null];
let file: string;
let probes: number;
const heard: string[] = [];
const receiver = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  heard.push((JSON.parse(body) as { data: { details: { signal: string } } }).data.details.signal);
  response.writeHead(204).end();
});

const turnTo = (day: number, hour = 9) => vi.setSystemTime(START_MS + (day * 24 + hour - 9) * HOUR_MS);
const start = async () => {
  gateway = await startGateway({
    configFile: file,
    env: { HOOK: `whsec_${Buffer.alloc(32, 7).toString("base64")}` },
    log: createLog("silent"),
  });
};

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: START_MS });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  upstream = await startHttpUpstream();
  const ports = await freePorts(3);
  probes = Number(ports[2]);
  file = join(folderOf({ "policies/a.yaml": POLICIES }), "tollgate.yaml");
  const [listen, admin, probe] = ports.map((port) => `{ port: ${port} }`);
  const url = upstream.mcpUrl;
  writeFileSync(join(file, "../hook.key"), `whsec_${Buffer.alloc(32, 7).toString("base64")}`, { mode: 0o600 });
  writeFileSync(
    file,
    `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${ports[0]}
listen: ${listen}
admin: ${admin}
probes: ${probe}
servers: { up: { url: "${url}", region: eu }, far: { url: "${url}", region: us } }
anomalies: { overactive: { atLeast: 5, times: 2 } }
webhooks: [{ name: ops, url: "http://127.0.0.1:${(receiver.address() as AddressInfo).port}/", secret: file:hook.key, events: ["agent.anomaly"] }]
`,
  );
  await start();
  for (const name of ["bot", "other"])
    await command("agent", "create", name, "--team", "t", "--owner", "o@example.com", "--purpose", "testing");
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
  receiver.close();
  vi.useRealTimers();
});

async function command(...args: string[]): Promise<string> {
  const { code, out, err } = await tollgate([...args, "-c", file, "--json"]);
  expect([code, err]).toEqual([0, ""]);
  return out;
}

async function call(agent: string, server: string, name: string, times = 1): Promise<void> {
  const { access_token } = JSON.parse(await command("token", "--agent", agent, "--server", server)) as { access_token: string };
  for (let i = 0; i < times; i++) {
    const params = { name, arguments: name === "echo" ? { text: "x" } : { a: 1, b: 2 } };
    const answer = await modernRequest(`${gateway?.publicUrl}/mcp/${server}`, access_token, "tools/call", params);
    expect(await answer.json()).toHaveProperty("result");
  }
}

type Told = { details: { signal: string; agent: string; server: string; tool: string; calls: number; busiest_hour: number } };
async function told(): Promise<string[]> {
  const records = JSON.parse(await command("audit", "tail", "--kind", "agent.*omaly")) as Told[];
  return records.map(({ details: d }) => `${d.signal}: ${d.agent} ${d.server}/${d.tool} ${d.calls} of ${d.busiest_hour}`);
}

test("an agent's habits are learnt for a week; then what is new, too much or at an odd hour is told once, by record, webhook and metric, over restarts too", async () => {
  for (let day = 0; day < 9; day++) {
    turnTo(day);
    await call("bot", "up", "echo", 2);
    await call("other", "far", "add");
  }
  expect(await told()).toEqual([]);

  turnTo(9);
  await call("bot", "far", "add");
  const first = ["new_tool: bot far/add 1 of 2", "new_region: bot far/add 1 of 2"];
  await expect.poll(told, { timeout: 20_000 }).toEqual(first);
  // What was called and not looked at yet when the gateway ended is told by the next one; what was told is not told again.
  await call("bot", "up", "echo", 4);
  turnTo(10, 3);
  await call("other", "far", "add");
  await gateway?.close();
  await start();
  const all = [...first, "overactive: bot up/echo 5 of 2", "unusual_hour: other far/add 1 of 1"];
  await expect.poll(told, { timeout: 20_000 }).toEqual(all);
  await call("other", "far", "add", 2);
  await gateway?.close();
  await start();
  await call("other", "up", "add");
  await expect.poll(told, { timeout: 20_000 }).toEqual([...all, "new_tool: other up/add 4 of 1", "new_region: other up/add 4 of 1"]);
  await expect
    .poll(() => heard, { timeout: 20_000 })
    .toEqual(["new_tool", "new_region", "overactive", "unusual_hour", "new_tool", "new_region"]);
  const { out } = await tollgate(["audit", "tail", "--kind", "agent.anomaly", "-c", file]);
  expect(out).toMatch(/agent\.anomaly +bot +far\/add .*signal new_tool/);
  const metrics = await (await fetch(`http://127.0.0.1:${probes}/metrics`)).text();
  expect(metrics).toContain('tollgate_anomalies_total{signal="new_region"} 1');
  expect(JSON.parse(await command("audit", "verify"))).toMatchObject({ ok: true });
}, 120_000);
