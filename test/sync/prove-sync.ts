/** `npm run prove:sync`: two gateways, a collector and a ledger behind faulty networks, all of them killed again and again; then every event is looked for. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import { openCentralReader } from "../../src/call/sync/central-read.ts";
import { auditLedger } from "../../src/ledger-audit.ts";
import { freePorts, sleep } from "../e2e/gateway-process.ts";
import { type PostgresServer, startPostgres } from "../fixtures/postgres.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { faultyHttp } from "./faulty-http.ts";
import { faultyTcp } from "./faulty-tcp.ts";
import { ask } from "./ledger.ts";
import type { GatewayReport, GatewayTask } from "./prove-gateway.ts";

/** `noDedupe`: a collector that takes everything as often as it comes. `early`: a sink that does not wait for the yes. */
export type Control = "noDedupe" | "early" | null;
export type SyncProof = {
  readonly seed: number;
  readonly events: number;
  readonly kills: number;
  readonly seconds: number;
  readonly faults: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly violations: readonly string[];
};
export type ProofOptions = {
  readonly count: number;
  readonly kills: number;
  readonly seed: number;
  readonly partitionMs: number;
  readonly control?: Control;
  readonly progress?: (line: string) => void;
};

const GATEWAYS = ["gw-a", "gw-b"] as const;
const VIOLATIONS_MAX = 20;
/** Nothing has moved for so long: something is stuck. */
const STUCK_MS = 120_000;

export async function proveSync(options: ProofOptions): Promise<SyncProof> {
  const startMs = Date.now();
  const { count, kills, seed, partitionMs, control = null, progress = () => {} } = options;
  const random = seededRandom(seed);
  const folder = mkdtempSync(join(tmpdir(), "tollgate-prove-sync-"));
  const [collectorPort = 0] = await freePorts(1);
  const postgres = await startPostgres();
  const ledger = new URL(await postgres.database());
  const http = await faultyHttp(collectorPort, random);
  const tcp = await faultyTcp(Number(ledger.port), random);
  const central = join(folder, "collector.db");
  const collector = child("prove-collector.ts", [central, String(collectorPort), control === "noDedupe" ? "no" : "yes"]);
  const through = new URL(ledger);
  through.port = String(tcp.port);
  const reports = new Map<string, GatewayReport>();
  const gateways = GATEWAYS.map((gateway) => {
    const task: GatewayTask = {
      ...{ dir: join(folder, gateway), gateway, ledger: through.href, early: control === "early" },
      ...{ collector: `http://127.0.0.1:${http.port}/`, count: Math.ceil(count / GATEWAYS.length) },
    };
    return child("prove-gateway.ts", [JSON.stringify(task)], (line) => reports.set(gateway, JSON.parse(line) as GatewayReport));
  });
  const targets = [gateways[0], collector, gateways[1], serverChild(postgres)].filter((each) => each !== undefined);
  try {
    for (const each of [collector, ...gateways]) each.start();
    let killed = 0;
    let parted = 0;
    let moved = { at: Date.now(), sum: -1 };
    for (;;) {
      await sleep(50);
      const all = GATEWAYS.map((gateway) => reports.get(gateway) ?? { events: 0, pending: count, aside: 0 });
      const sum = all.reduce((total, { events, pending }) => total + events - Math.min(events, pending), 0);
      if (sum > moved.sum) moved = { at: Date.now(), sum };
      if (Date.now() - moved.at > STUCK_MS) throw new Error(`nothing moves any more: ${JSON.stringify([...reports])}`);
      const share = sum / count;
      if (killed < kills && share >= (killed + 0.5) / (kills + 1)) {
        const target = targets[killed % targets.length];
        await sleep(random() * 40);
        await target?.kill();
        await sleep(random() * 100);
        await target?.start();
        killed += 1;
        progress(`${killed} kills, ${sum} of ${count} events everywhere`);
      }
      if (parted < 3 && share >= (parted + 1) / 4) {
        parted += 1;
        for (const proxy of [http, tcp]) proxy.partition(true);
        await sleep(partitionMs);
        for (const proxy of [http, tcp]) proxy.partition(false);
        moved = { at: Date.now(), sum };
      }
      if (killed === kills && all.every(({ events, pending }) => events >= count / GATEWAYS.length && pending === 0)) break;
    }
    // What the network still holds back arrives now: late, and to no effect.
    await sleep(1_500);
    for (const gateway of gateways) await gateway.kill();
    const violations = [
      ...GATEWAYS.flatMap((gateway) => judgeCollector(join(folder, gateway), central, gateway)),
      ...(await judgeLedger(ledger.href, folder)),
      ...GATEWAYS.filter((gateway) => (reports.get(gateway)?.aside ?? 0) > 0).map((gateway) => `${gateway}: something was set aside`),
    ];
    const events = GATEWAYS.reduce((sum, gateway) => sum + idsOf(join(folder, gateway)).length, 0);
    return { seed, events, kills, seconds: (Date.now() - startMs) / 1_000, faults: { http: http.counts, tcp: tcp.counts }, violations };
  } finally {
    for (const each of [...gateways, collector]) await each.kill();
    await http.close();
    await tcp.close();
    await postgres.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Killable = { start(): void | Promise<void>; kill(): Promise<void> };

function child(script: string, args: readonly string[], hear: (line: string) => void = () => {}): Killable & { start(): void } {
  let running: ChildProcess | null = null;
  return {
    start() {
      const started = spawn(process.execPath, [join(import.meta.dirname, script), ...args], { stdio: ["ignore", "pipe", "inherit"] });
      let rest = "";
      started.stdout?.on("data", (bytes: Buffer) => {
        const lines = `${rest}${bytes}`.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) hear(line);
      });
      running = started;
    },
    async kill() {
      const ended = running;
      running = null;
      if (ended === null || ended.exitCode !== null) return;
      const gone = new Promise((resolve) => ended.once("exit", resolve));
      ended.kill("SIGKILL");
      await gone;
    },
  };
}

/** As a crash of the server would. */
function serverChild(server: PostgresServer): Killable {
  return { start: () => server.start(), kill: () => server.kill() };
}

function idsOf(dir: string): { sequence: number; id: string }[] {
  const file = join(dir, "journal.db");
  if (!existsSync(file)) return [];
  const store = new Database(file, { readonly: true });
  try {
    return store
      .prepare(
        "SELECT e.sequence, r.call_id || '.settled' AS id FROM usage_event AS e JOIN audit_record AS r ON r.sequence = e.record ORDER BY e.sequence",
      )
      .all() as { sequence: number; id: string }[];
  } finally {
    store.close();
  }
}

/** Each exactly once, nothing else, and in the order of the gateway's numbers. */
function judgeCollector(dir: string, central: string, gateway: string): string[] {
  const store = new Database(central, { readonly: true });
  const arrived = store.prepare("SELECT id, sequence FROM event WHERE source = ? ORDER BY arrival").all(`urn:tollgate:${gateway}`) as {
    id: string;
    sequence: number;
  }[];
  store.close();
  return judgeArrivals(`collector of ${gateway}`, idsOf(dir), arrived);
}

function judgeArrivals(
  where: string,
  sent: readonly { sequence: number; id: string }[],
  arrived: readonly { sequence: number; id: string }[],
): string[] {
  const times = new Map<string, number>();
  for (const { id } of arrived) times.set(id, (times.get(id) ?? 0) + 1);
  const found: string[] = [];
  for (const { id, sequence } of sent) {
    const seen = times.get(id) ?? 0;
    if (seen !== 1) found.push(`${where}: event ${sequence} is there ${seen} times`);
    times.delete(id);
  }
  for (const id of times.keys()) found.push(`${where}: ${id} is of nobody`);
  const late = arrived.findIndex(({ sequence }, i) => i > 0 && sequence < (arrived[i - 1]?.sequence ?? 0));
  if (late !== -1) found.push(`${where}: event ${arrived[late]?.sequence} came after ${arrived[late - 1]?.sequence}`);
  return found;
}

async function judgeLedger(url: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const gateway of GATEWAYS) {
    const arrived = await ask<{ id: string; sequence: string }>(
      url,
      `SELECT id, sequence FROM tollgate_event WHERE gateway = '${gateway}' ORDER BY received_at, sequence`,
    );
    const rows = arrived.map(({ id, sequence }) => ({ id, sequence: Number(sequence) }));
    found.push(...judgeArrivals(`ledger of ${gateway}`, idsOf(join(folder, gateway)), rows));
  }
  const reader = await openCentralReader(url, 60_000);
  for (const { gateway, problems } of await auditLedger(reader, null))
    found.push(...problems.map((problem) => `ledger of ${gateway}: ${problem}`));
  await reader.close();
  return found;
}

if (process.argv[1] === import.meta.filename) await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean" },
      control: { type: "boolean" },
      seed: { type: "string" },
      count: { type: "string" },
      kills: { type: "string" },
    },
  });
  const quick = values.quick === true || values.control === true;
  const options: ProofOptions = {
    seed: Number(values.seed ?? Math.floor(Math.random() * 1e9)),
    count: Number(values.count ?? (quick ? 3_000 : 100_000)),
    kills: Number(values.kills ?? (quick ? 8 : 50)),
    partitionMs: quick ? 500 : 10_000,
    progress: (line) => process.stderr.write(`${line}\n`),
  };
  const show = ({ seed, events, kills, seconds, faults, violations }: SyncProof) => {
    const lines = violations.slice(0, VIOLATIONS_MAX).map((each) => `  ${each}`);
    const trials = `${events} events, ${kills} kills, ${violations.length} violations, seed ${seed}, ${seconds.toFixed(0)} s`;
    process.stdout.write(`${[trials, `faults ${JSON.stringify(faults)}`, ...lines].join("\n")}\n`);
  };
  if (values.control === true) {
    for (const control of ["noDedupe", "early"] as const) {
      const proof = await proveSync({ ...options, control });
      process.stdout.write(`control ${control}: must fail, and does${proof.violations.length > 0 ? "" : " NOT"}\n`);
      show(proof);
      if (proof.violations.length === 0) process.exitCode = 1;
    }
    return;
  }
  const proof = await proveSync(options);
  show(proof);
  if (proof.violations.length > 0) process.exitCode = 1;
}
