/** `npm run bench:reports [-- --quick]`: ten thousand reported events in one request, and how long calls wait meanwhile; exit 1 if an event is lost. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { GatewayProcess, modernRequest, sleep } from "../test/e2e/gateway-process.ts";
import { firstLine, startScript } from "./child.ts";
import { percentile } from "./percentile.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" } } as const });
const EVENTS = values.quick === true ? 1_000 : 10_000;
const REQUESTS = values.quick === true ? 2 : 10;
const QUIET_MS = 3_000;

const upstream = startScript("mcp-upstream.ts", []);
const { port } = await firstLine<{ port: number }>(upstream);
const gateway = await GatewayProcess.start({
  policies: "apiVersion: tollgate/v1\nentitlements:\n  - { name: may-echo, permit: [up/echo] }\n",
  servers: `  up: { url: "http://127.0.0.1:${port}/mcp" }`,
});
const accessToken = await gateway.accessToken(await gateway.createAgent("bench"), "up");
const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
const admin = new Pool(gateway.adminUrl, { connections: 1 });

let stopped = false;
async function callsInto(times: number[]): Promise<void> {
  while (!stopped) {
    const start = performance.now();
    await (
      await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: { text: "x" } })
    ).text();
    times.push(performance.now() - start);
  }
}

async function under(work: () => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  stopped = false;
  const calls = callsInto(times);
  await work();
  stopped = true;
  await calls;
  return times.toSorted((a, b) => a - b);
}

function batch(round: number): string {
  return JSON.stringify(
    Array.from({ length: EVENTS }, (_, i) => ({
      specversion: "1.0",
      id: `${round}-${i}`,
      source: "https://runner.example.com",
      type: "io.tollgate.llm.tokens.v1",
      data: { agent_id: "bench", quantity: i, metadata: { model: `m-${i % 20}`, workflow: "bench" } },
    })),
  );
}

async function report(body: string): Promise<{ accepted: number; duplicates: number }> {
  const answer = await admin.request({
    method: "POST",
    path: "/api/v1/metering/events",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/cloudevents-batch+json" },
    body,
  });
  return (await answer.body.json()) as { accepted: number; duplicates: number };
}

const told = (times: readonly number[]) =>
  `p50 ${percentile(times, 50).toFixed(1)} ms, p99 ${percentile(times, 99).toFixed(1)} ms, longest ${times.at(-1)?.toFixed(1)} ms (${times.length} calls)`;

await under(() => sleep(500));
const quiet = await under(() => sleep(QUIET_MS));
const counts = { accepted: 0, duplicates: 0 };
const took: number[] = [];
const bodies = Array.from({ length: REQUESTS }, (_, round) => batch(round));
const busy = await under(async () => {
  for (const body of [...bodies, bodies[0] ?? ""]) {
    const start = performance.now();
    const { accepted, duplicates } = await report(body);
    took.push(performance.now() - start);
    counts.accepted += accepted;
    counts.duplicates += duplicates;
  }
});
const seconds = took.slice(0, REQUESTS).reduce((sum, ms) => sum + ms, 0) / 1_000;
process.stdout.write(
  `${counts.accepted} events in ${REQUESTS} requests, ${Math.round(counts.accepted / seconds)} events/s; sent again: ${counts.duplicates} duplicates in ${took.at(-1)?.toFixed(0)} ms
one caller, alone:      ${told(quiet)}
one caller, meanwhile:  ${told(busy)}
`,
);
await gateway.stop();
await upstream.stop();
await admin.close();
if (counts.accepted !== EVENTS * REQUESTS || counts.duplicates !== EVENTS) process.exitCode = 1;
