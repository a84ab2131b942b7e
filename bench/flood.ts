/** `npm run bench:flood [-- --quick | --seconds N | --clients N]`: what a quiet agent's calls notice of another agent that floods the gateway: under a limit, and as a control without one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Client } from "undici";
import { GatewayProcess, sleep } from "../test/e2e/gateway-process.ts";
import { firstLine, startScript } from "./child.ts";
import type { Load } from "./load.ts";
import { percentile } from "./percentile.ts";
import { callTo } from "./target.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" }, seconds: { type: "string" }, clients: { type: "string" } } });
const SECONDS = Number(values.seconds ?? (values.quick === true ? 5 : 30));
const CLIENTS = Number(values.clients ?? 64);
/** The quiet agent calls so often, one call at a time. */
const QUIET_EVERY_MS = 20;
const WARM_UP_SECONDS = 3;

const upstream = startScript("mcp-upstream.ts", []);
const { port } = await firstLine<{ port: number }>(upstream);
const gateway = await GatewayProcess.start({
  policies: `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
limits: [{ name: ten, who: { team: limited }, each: agent, rate: 10/s }]
`,
  servers: `  up: { url: "http://127.0.0.1:${port}/mcp" }`,
});
const ROUTE = `${gateway.publicUrl}/mcp/up`;
const tokenOf = async (name: string) => gateway.accessToken(await gateway.createAgent(name, name), "up");
const [quiet, limited, free] = [await tokenOf("quiet"), await tokenOf("limited"), await tokenOf("free")];
const client = new Client(gateway.publicUrl);

await measured(WARM_UP_SECONDS);
const alone = await measured(SECONDS);
const besideLimited = await beside(limited);
const besideFree = await beside(free);
const again = await measured(SECONDS);
const refusals = Number(/tollgate_refusals_total\{reason="rate_limited"\} ([0-9]+)/.exec(await metrics())?.[1] ?? 0);
const recorded = await recordedRefusals();
await client.close();
await gateway.stop();
await upstream.stop();

const row = (name: string, { count, p50Ms, p99Ms }: Figures, flood: Load | null) =>
  `${name.padEnd(30)} ${String(count).padStart(6)} calls  p50 ${p50Ms.toFixed(2)} ms  p99 ${p99Ms.toFixed(2)} ms${flood === null ? "" : `  flood: ${Math.round(flood.calls / flood.seconds)} requests/s`}`;
const lines = [
  `a quiet agent, one call every ${QUIET_EVERY_MS} ms, beside ${CLIENTS} connections that send the next call when the last is answered`,
  row("alone", alone, null),
  row("beside a flood under 10/s", besideLimited.quiet, besideLimited.flood),
  row("beside a flood without a limit", besideFree.quiet, besideFree.flood),
  row("alone again", again, null),
  `${recorded === refusals ? "ok    " : "NOT ok"} ${refusals} calls were refused, ${recorded} refusals are recorded`,
];
process.stdout.write(`${lines.join("\n")}\n`);
if (recorded !== refusals) process.exitCode = 1;

type Figures = { readonly count: number; readonly p50Ms: number; readonly p99Ms: number };

async function beside(accessToken: string): Promise<{ readonly quiet: Figures; readonly flood: Load }> {
  const flood = startScript("load-undici.ts", [JSON.stringify(callTo(ROUTE, accessToken)), String(CLIENTS), String(SECONDS + 2)]);
  const load = firstLine<Load>(flood);
  await sleep(1_000);
  const figures = await measured(SECONDS);
  const done = { quiet: figures, flood: await load };
  await flood.stop();
  return done;
}

async function measured(seconds: number): Promise<Figures> {
  const { headers, body } = callTo(ROUTE, quiet);
  const times: number[] = [];
  const endMs = performance.now() + seconds * 1_000;
  while (performance.now() < endMs) {
    const beganMs = performance.now();
    const answer = await client.request({ method: "POST", path: "/mcp/up", headers, body });
    const text = await answer.body.text();
    if (!text.includes('"result"')) throw new Error(`the quiet agent was answered ${answer.statusCode}: ${text.slice(0, 300)}`);
    times.push(performance.now() - beganMs);
    await sleep(Math.max(0, beganMs + QUIET_EVERY_MS - performance.now()));
  }
  const sorted = times.sort((a, b) => a - b);
  return { count: sorted.length, p50Ms: percentile(sorted, 50), p99Ms: percentile(sorted, 99) };
}

async function metrics(): Promise<string> {
  return (await fetch(`${gateway.probesUrl}/metrics`)).text();
}

/** Page by page over the admin API. */
async function recordedRefusals(): Promise<number> {
  const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
  let count = 0;
  let after: string | null = "0";
  while (after !== null) {
    const answer = await fetch(`${gateway.adminUrl}/api/v1/audit/records?limit=1000&after=${after}`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const page = (await answer.json()) as { items: { reason: string | null }[]; next_cursor: string | null };
    count += page.items.filter(({ reason }) => reason === "rate_limited").length;
    after = page.next_cursor;
  }
  return count;
}
