/** `npm run bench [-- --quick] [--json] [--without-gateway | --streams]`: direct, nginx `proxy_pass` and the gateway before one upstream, in one run. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { type Child, firstLine, startScript } from "./child.ts";
import { admit, type Gateway, startGateway } from "./gateway.ts";
import { generatorFor } from "./load.ts";
import { type Carrier, type Measured, measure } from "./measure.ts";
import { startNginx } from "./nginx.ts";
import { median } from "./percentile.ts";
import { type Report, textOf } from "./report.ts";
import type { Latency } from "./sequential.ts";
import { benchStreams } from "./streams.ts";
import { streamsText } from "./streams-report.ts";
import { answersOnce, callTo } from "./target.ts";

const CLIENTS = 32;
/** Quick fits into a minute. Rounds alternate between the targets; the median round counts. */
const QUICK = { starts: 3, warmUpSeconds: 2, seconds: 4, rounds: 1, sequentialCalls: 1500 };
const FULL = { starts: 7, warmUpSeconds: 5, seconds: 10, rounds: 5, sequentialCalls: 10_000 };

const { values: options } = parseArgs({
  options: { quick: { type: "boolean" }, json: { type: "boolean" }, "without-gateway": { type: "boolean" }, streams: { type: "boolean" } },
});
const plan = options.quick ? QUICK : FULL;
const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-"));
const children: Child[] = [];

try {
  const [report, text] = options.streams ? await streams() : await calls();
  console.log(options.json ? JSON.stringify(report, null, 2) : text);
} finally {
  for (const child of children.reverse()) await child.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function streams(): Promise<readonly [object, string]> {
  const report = await benchStreams(folder, options.quick === true, kept);
  return [report, streamsText(report)];
}

async function calls(): Promise<readonly [object, string]> {
  const report = await bench();
  return [report, textOf(report)];
}

async function bench(): Promise<Report> {
  const upstream = kept(startScript("mcp-upstream.ts", []));
  const { port } = await firstLine<{ port: number }>(upstream);
  const served = async (name: string) => {
    const byPath = (await (await fetch(`http://127.0.0.1:${port}/served`)).json()) as Record<string, number>;
    return byPath[`/${name}`] ?? 0;
  };
  const generator = generatorFor(folder);
  const carriers: Carrier[] = [{ name: "direct", target: callTo(`http://127.0.0.1:${port}/direct`, null), child: upstream }];

  const nginx = await startNginx(folder, port);
  if (nginx !== null) carriers.push({ name: "nginx", target: callTo(nginx.url, null), child: kept(nginx.child) });
  const { gateway, startMs } = options["without-gateway"] ? { gateway: null, startMs: [] } : await startSeveral(port);
  if (gateway !== null) carriers.push({ name: "gateway", target: callTo(gateway.url, await admit(gateway)), child: gateway.child });
  for (const { target } of carriers) await answersOnce(target);

  const latency = await sequential(carriers);
  const load = await underLoad(carriers, generator, served);
  return {
    machine: {
      node: process.version,
      cpus: cpus().length,
      model: cpus()[0]?.model.trim() ?? "unknown",
      nginx: nginx?.version ?? null,
      generator: generator.name,
    },
    clients: CLIENTS,
    seconds: plan.seconds,
    startMs,
    startMedianMs: startMs.length === 0 ? null : median(startMs),
    latency,
    addedP50Ms: latency.gateway === undefined || latency.direct === undefined ? null : latency.gateway.p50Ms - latency.direct.p50Ms,
    load,
    ratios: ratiosOf(load),
    metered: gateway === null ? null : { usage: await usageOf(gateway), upstream: await served("gateway") },
  };
}

function kept(child: Child): Child {
  children.push(child);
  return child;
}

/** Each start is on a data folder of its own, as on the first day; the last one stays for the measurements. */
async function startSeveral(upstreamPort: number): Promise<{ gateway: Gateway; startMs: number[] }> {
  const startMs: number[] = [];
  for (;;) {
    const gateway = await startGateway(folder, upstreamPort);
    kept(gateway.child);
    startMs.push(gateway.startMs);
    if (startMs.length === plan.starts) return { gateway, startMs };
    await gateway.child.stop();
  }
}

async function sequential(carriers: readonly Carrier[]): Promise<Record<string, Latency>> {
  const targets = Object.fromEntries(carriers.map(({ name, target }) => [name, target]));
  const script = join(import.meta.dirname, "sequential.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(targets), String(plan.sequentialCalls)]);
  return JSON.parse(stdout) as Record<string, Latency>;
}

async function underLoad(
  carriers: readonly Carrier[],
  generator: ReturnType<typeof generatorFor>,
  served: (name: string) => Promise<number>,
) {
  const rounds: Record<string, Measured[]> = {};
  for (const { target } of carriers) await generator.drive(target, CLIENTS, plan.warmUpSeconds);
  for (let round = 0; round < plan.rounds; round++) {
    for (const carrier of carriers) {
      rounds[carrier.name] ??= [];
      rounds[carrier.name]?.push(await measure(carrier, generator, CLIENTS, plan.seconds, served));
    }
  }
  return Object.fromEntries(Object.entries(rounds).map(([name, measured]) => [name, middleOf(measured)]));
}

/** The round in the middle by calls/s, whole, so that its figures belong together. */
function middleOf(rounds: readonly Measured[]): Measured {
  const sorted = [...rounds].sort((a, b) => a.callsPerSecond - b.callsPerSecond);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  if (middle === undefined) throw new Error("no round was measured");
  return middle;
}

function ratiosOf(load: Readonly<Record<string, Measured>>): Report["ratios"] {
  const { gateway, nginx } = load;
  if (gateway === undefined || nginx === undefined) return null;
  const cpu = gateway.cpuMicros === null || nginx.cpuMicros === null ? null : gateway.cpuMicros / nginx.cpuMicros;
  return { callsPerSecond: gateway.callsPerSecond / nginx.callsPerSecond, cpu };
}

async function usageOf(gateway: Gateway): Promise<number> {
  const { rows } = await gateway.command<{ rows: { calls: number }[] }>("usage");
  return rows.reduce((sum, { calls }) => sum + calls, 0);
}
