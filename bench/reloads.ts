/** `npm run bench:reloads [-- --quick | --rules N]`: policies that are replaced again and again while calls go on at a fixed rate; exit 1 if one fails. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { GatewayProcess, sleep } from "../test/e2e/gateway-process.ts";
import { firstLine, startScript } from "./child.ts";
import { percentile } from "./percentile.ts";

const options = { quick: { type: "boolean" }, rules: { type: "string" }, rate: { type: "string" } } as const;
const { values } = parseArgs({ options });
const RELOADS = values.quick === true ? 20 : 100;
const RULES = Number(values.rules ?? 1_000);
const CALLS_PER_SECOND = Number(values.rate ?? 500);
const TICK_MS = 10;
const CONNECTIONS = 64;
const CHANGED = '"the policies have changed"';

/** Each version differs from the one before, and permits the same call. */
function policiesOf(version: number): string {
  // Of methods: which tools there are is known, and a warning for each rule would be what is measured.
  const others = Array.from(
    { length: RULES - 1 },
    (_, i) => `  - { name: other-${i}, who: { team: support }, permit: ["method:up/m_${i + version}"] }`,
  );
  return `apiVersion: tollgate/v1\nentitlements:\n  - { name: may-echo, permit: [up/echo], when: size(args.text) < ${1_000 + version} }\n${others.join("\n")}\n`;
}

const upstream = startScript("mcp-upstream.ts", []);
const { port } = await firstLine<{ port: number }>(upstream);
const gateway = await GatewayProcess.start({ policies: policiesOf(0), servers: `  up: { url: "http://127.0.0.1:${port}/mcp" }` });
const accessToken = await gateway.accessToken(await gateway.createAgent("bench"), "up");
const pool = new Pool(gateway.publicUrl, { connections: CONNECTIONS });

const times: number[] = [];
const failures = new Map<string, number>();
let sent = 0;
let reloading = false;
const duringMs: number[] = [];

async function call(id: number): Promise<void> {
  const start = performance.now();
  const reloadedMeanwhile = reloading;
  const params = {
    name: "echo",
    arguments: { text: "x" },
    _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} },
  };
  try {
    const { statusCode, body } = await pool.request({
      method: "POST",
      path: "/mcp/up",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "echo",
        authorization: `Bearer ${accessToken}`,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params }),
    });
    const answer = await body.text();
    if (statusCode !== 200 || !answer.includes('"result"')) count(`${statusCode} ${answer.slice(0, 200)}`);
  } catch (fault) {
    count(String(fault));
  }
  times.push(performance.now() - start);
  if (reloadedMeanwhile) duringMs.push(performance.now() - start);
}

function count(failure: string): void {
  failures.set(failure, (failures.get(failure) ?? 0) + 1);
}

let seen = 0;
let read = 0;
/** Looks at what is new of the log only: the generator shares its thread. */
function reloadsSeen(): number {
  for (let at = gateway.output.indexOf(CHANGED, read); at !== -1; at = gateway.output.indexOf(CHANGED, read)) {
    seen += 1;
    read = at + CHANGED.length;
  }
  return seen;
}

let driving = true;
const underWay = new Set<Promise<void>>();
const driver = (async () => {
  const start = performance.now();
  while (driving) {
    const due = ((performance.now() - start) / 1_000) * CALLS_PER_SECOND;
    for (; sent < due; sent++) {
      const one = call(sent).finally(() => underWay.delete(one));
      underWay.add(one);
    }
    await sleep(TICK_MS);
  }
})();

const start = performance.now();
for (let version = 1; version <= RELOADS; version++) {
  reloading = true;
  writeFileSync(join(gateway.folder, "policies", "test.yaml"), policiesOf(version));
  gateway.child?.kill("SIGHUP");
  while (reloadsSeen() < version && performance.now() - start < 300_000) await sleep(5);
  reloading = false;
  await sleep(50);
}
driving = false;
await driver;
await Promise.all(underWay);
const seconds = (performance.now() - start) / 1_000;
await pool.close();
const recorded = await gateway.json<{ rows: { calls: number }[] }>("usage");
await gateway.stop();
await upstream.stop();

const sorted = times.toSorted((a, b) => a - b);
const during = duringMs.toSorted((a, b) => a - b);
const failed = [...failures.values()].reduce((sum, n) => sum + n, 0);
const metered = recorded.rows.reduce((sum, { calls }) => sum + calls, 0);
console.log(
  `${reloadsSeen()} reloads of ${RULES} rules in ${seconds.toFixed(1)} s; ${sent} calls (${Math.round(sent / seconds)}/s), ${failed} failed, ${metered} metered`,
);
console.log(
  `latency p50 ${percentile(sorted, 50).toFixed(1)} ms, p99 ${percentile(sorted, 99).toFixed(1)} ms, longest ${(sorted.at(-1) ?? 0).toFixed(0)} ms; begun during a reload: p50 ${percentile(during, 50).toFixed(1)} ms`,
);
for (const [failure, times] of failures) console.log(`  ${times} x ${failure}`);
if (failed > 0 || metered !== sent || reloadsSeen() < RELOADS) process.exitCode = 1;
