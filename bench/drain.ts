/** `npm run bench:drain [-- --quick | --count N]`: a backlog goes out while calls go on at a fixed rate: how fast, and what a call notices of it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { blankRecord } from "../src/call/record/compose.ts";
import { openJournal } from "../src/call/record/journal-client.ts";
import { GatewayProcess, sleep } from "../test/e2e/gateway-process.ts";
import { startPostgres } from "../test/fixtures/postgres.ts";
import { newCallId, permitEntry, settlementEntry } from "../test/record/entries.ts";
import { ask } from "../test/sync/ledger.ts";
import { firstLine, startScript } from "./child.ts";
import { percentile } from "./percentile.ts";

const { values } = parseArgs({
  options: { quick: { type: "boolean" }, count: { type: "string" }, rate: { type: "string" }, to: { type: "string" } },
});
const COUNT = Number(values.count ?? (values.quick === true ? 30_000 : 1_000_000));
const CALLS_PER_SECOND = Number(values.rate ?? 500);
const TO = values.to === "cloudevents" ? "cloudevents" : "postgres";
/** Calm seconds before and after the drain, with the same calls. */
const CALM_SECONDS = values.quick === true ? 5 : 20;
const DRAIN_FACTOR_MIN = 5;
const LATENCY_FACTOR_MAX = 1.1;
const GROUP = 500;
const TICK_MS = 5;

const upstream = startScript("mcp-upstream.ts", []);
const { port } = await firstLine<{ port: number }>(upstream);
const postgres = TO === "postgres" ? await startPostgres() : null;
const meter = TO === "cloudevents" ? startScript("meter.ts", []) : null;
const ledger = (await postgres?.database()) ?? "";
const meterPort = meter === null ? 0 : (await firstLine<{ port: number }>(meter)).port;
const sink =
  postgres === null
    ? `{ type: cloudevents, name: meter, url: "http://127.0.0.1:${meterPort}/", every: 1h, batch: 1000 }`
    : "{ type: postgres, name: ledger, url: env:LEDGER, every: 1h, send: [usage] }";
const gateway = await GatewayProcess.prepare({
  policies: 'apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: ["*/*"] }]\n',
  servers: `  up: { url: "http://127.0.0.1:${port}/mcp" }`,
  more: `sync: [${sink}]\n`,
  env: { LEDGER: ledger },
});
process.stderr.write(`filling a journal with ${COUNT} events\n`);
await fill(join(gateway.folder, "data"));
await gateway.serve();
const accessToken = await gateway.accessToken(await gateway.createAgent("bench"), "up");
const pool = new Pool(gateway.publicUrl, { connections: 64 });

let times: number[] = [];
let failed = 0;
let driving = true;
const underWay = new Set<Promise<void>>();
const driver = drive();
await calm("warm-up", 5);
const before = await calm("before", CALM_SECONDS);
const startMs = performance.now();
times = [];
// A flush is answered when all is there; the command's own patience is five minutes.
let flushed = await gateway.command("sync", "flush", "--json");
for (let tries = 0; flushed.code !== 0 && tries < 3; tries++) flushed = await gateway.command("sync", "flush", "--json");
const { code, stderr } = flushed;
const seconds = (performance.now() - startMs) / 1_000;
const during = figures(times);
const after = await calm("after", CALM_SECONDS);
driving = false;
await driver;
await Promise.all(underWay);
const arrived = postgres === null ? null : Number((await ask<{ n: string }>(ledger, "SELECT count(*) AS n FROM tollgate_event"))[0]?.n);
await pool.close();
await gateway.stop();
await meter?.stop();
await upstream.stop();
await postgres?.close();

const perSecond = COUNT / seconds;
const ratio = during.p50Ms / ((before.p50Ms + after.p50Ms) / 2);
const verdicts = [
  {
    what: `drained at ${Math.round(perSecond)} events/s, ${(perSecond / CALLS_PER_SECOND).toFixed(1)} times the live rate`,
    ok: perSecond >= DRAIN_FACTOR_MIN * CALLS_PER_SECOND,
  },
  { what: `a call takes ${ratio.toFixed(2)} times as long at the median`, ok: ratio <= LATENCY_FACTOR_MAX },
  { what: `${failed} calls failed`, ok: failed === 0 },
  { what: `the flush ended with ${code} ${stderr}`.trim(), ok: code === 0 },
  { what: `${arrived ?? "?"} events are in the ledger`, ok: arrived === null || arrived >= COUNT },
];
const row = (name: string, { count, p50Ms, p90Ms, p99Ms }: ReturnType<typeof figures>) =>
  `${name.padEnd(8)} ${String(count).padStart(7)} calls  p50 ${p50Ms.toFixed(2)} ms  p90 ${p90Ms.toFixed(2)} ms  p99 ${p99Ms.toFixed(2)} ms`;
const lines = [
  `${COUNT} events to ${TO} in ${seconds.toFixed(1)} s, ${CALLS_PER_SECOND} calls/s meanwhile`,
  row("before", before),
  row("draining", during),
  row("after", after),
  ...verdicts.map(({ what, ok }) => `${ok ? "ok    " : "NOT ok"} ${what}`),
];
process.stdout.write(`${lines.join("\n")}\n`);
if (verdicts.some(({ ok }) => !ok)) process.exitCode = 1;

async function fill(dir: string): Promise<void> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const journal = await openJournal({
    ...{ dataDir: dir, newSource: "gw-bench", nowMs: Date.now(), outageRecord: blankRecord("gateway.recovered"), onState: () => {} },
  });
  for (let done = 0; done < COUNT; done += GROUP) {
    const calls = Array.from({ length: Math.min(GROUP, COUNT - done) }, newCallId);
    await Promise.all(calls.map((callId) => journal.permit(permitEntry(callId))));
    await Promise.all(calls.map((callId) => journal.settle(settlementEntry(callId))));
  }
  await journal.close();
}

async function calm(name: string, seconds: number): Promise<ReturnType<typeof figures>> {
  process.stderr.write(`${name}\n`);
  times = [];
  await sleep(seconds * 1_000);
  return figures(times);
}

function figures(all: readonly number[]) {
  const sorted = [...all].sort((a, b) => a - b);
  return { count: sorted.length, p50Ms: percentile(sorted, 50), p90Ms: percentile(sorted, 90), p99Ms: percentile(sorted, 99) };
}

async function drive(): Promise<void> {
  const start = performance.now();
  for (let sent = 0; driving; await sleep(TICK_MS)) {
    const due = ((performance.now() - start) / 1_000) * CALLS_PER_SECOND;
    for (; sent < due; sent++) {
      const one = call(sent).finally(() => underWay.delete(one));
      underWay.add(one);
    }
  }
}

async function call(id: number): Promise<void> {
  const startedMs = performance.now();
  const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "echo",
    authorization: `Bearer ${accessToken}`,
  };
  const params = { name: "echo", arguments: { text: "x" }, _meta: meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params });
  const ok = await pool.request({ method: "POST", path: "/mcp/up", headers, body }).then(
    async (answer) => answer.statusCode === 200 && (await answer.body.text()).includes('"result"'),
    () => false,
  );
  if (!ok) failed += 1;
  times.push(performance.now() - startedMs);
}
