/** Retries under cut connections and kills: per key the upstream runs a call once, or never and the client is told; as many usage events. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import { type Credentials, GatewayProcess, sleep } from "../e2e/gateway-process.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { type Random, seededRandom } from "../fixtures/seeded-random.ts";
import { type Attempt, attempt, type Cut, type Heard } from "./cut-request.ts";

export type RetryOptions = {
  readonly keys: number;
  readonly seed: number;
  readonly kills: number;
  /** A planted bug, which has to be found: keys do not outlive the process. */
  readonly control?: boolean;
  readonly progress?: (line: string) => void;
};

export type RetryProof = {
  readonly seed: number;
  readonly keys: number;
  readonly kills: number;
  readonly requests: number;
  readonly cut: number;
  readonly executions: number;
  /** Keys whose call did not run although it may have, as far as the gateway knows: permitted, and cut before it was sent. */
  readonly neverRan: number;
  readonly replayed: number;
  readonly settled: number;
  readonly unknown: number;
  readonly usageEvents: number;
  readonly seconds: number;
  readonly violations: readonly string[];
};

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: told, permit: ["told/*"] }
  - { name: kept, permit: ["kept/*"], idempotency: { replay: 24h } }
budgets: [{ name: calls, meter: calls, limit: 100_000_000, period: total }]
`;
const RETRIES_MAX = 5;
const CLIENTS = 24;
const CUTS: readonly Cut[] = ["never", "beforeAnswer", "atHead", "atFirstByte"];
/** A gateway that is killed is back within seconds: whoever hears nothing after so many tries of 25 ms never will. */
const TRIES_MAX = 4_000;

export async function proveRetries(options: RetryOptions): Promise<RetryProof> {
  const startedMs = performance.now();
  const upstream = await startHttpUpstream();
  const servers = ["told", "kept"].map((name) => `  ${name}: { url: "${upstream.mcpUrl}" }`).join("\n");
  const gateway = await GatewayProcess.prepare({ policies: POLICIES, servers });
  await gateway.serve();
  const world: World = {
    ...{ options, gateway, agent: await gateway.createAgent("retrier"), tokens: new Map<string, string>() },
    tally: { requests: 0, cut: 0, replayed: 0, settled: 0, unknown: 0 },
    heard: new Map(),
    finished: 0,
    up: Promise.resolve(),
  };
  const random = seededRandom(options.seed);
  const seeds = Array.from({ length: options.keys }, () => Math.floor(random() * 2 ** 32));
  let next = 0;
  const client = async () => {
    while (next < seeds.length) {
      const number = next++;
      await playKey(world, number, seededRandom(seeds[number] ?? 0));
      world.finished += 1;
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  for (let kill = 1; kill <= options.kills; kill++) {
    const until = Math.floor((options.keys * kill) / (options.kills + 1));
    while (world.finished < until) await sleep(2);
    await sleep(Math.floor(random() * 20));
    const started = Promise.withResolvers<void>();
    world.up = started.promise;
    await gateway.signal("SIGKILL");
    if (options.control === true) forgetKeys(gateway);
    await gateway.serve();
    started.resolve();
    options.progress?.(`${kill} kills, ${world.finished} keys`);
  }
  await clients;
  // Long after everything: each retry still hears of its own call.
  for (let number = 0; number < seeds.length; number += Math.ceil(seeds.length / 200)) await listen(world, number, "late");
  await gateway.stop();
  await upstream.close();
  const ran = new Map<string, number>();
  for (const { id } of upstream.executions) ran.set(id ?? "", (ran.get(id ?? "") ?? 0) + 1);
  const { events, violations } = judge(world, ran);
  rmSync(gateway.folder, { recursive: true, force: true });
  const { keys, kills, seed } = options;
  return {
    ...{ seed, keys, kills, ...world.tally, executions: upstream.executions.length, neverRan: keys - ran.size },
    ...{ usageEvents: events, seconds: (performance.now() - startedMs) / 1_000, violations },
  };
}

type World = {
  readonly options: RetryOptions;
  readonly gateway: GatewayProcess;
  readonly agent: Credentials;
  readonly tokens: Map<string, string>;
  readonly tally: { requests: number; cut: number; replayed: number; settled: number; unknown: number };
  /** What the last word on each key was. */
  readonly heard: Map<string, Word>;
  finished: number;
  /** Resolves when the gateway is there: nobody knocks at a closed door all the time. */
  up: Promise<void>;
};

type Word = "result" | "replayed" | "settled" | "unknown" | "later" | "nothing" | `odd: ${string}`;

const keyOf = (number: number): string => `key-${number}`;
const serverOf = (number: number): string => (number % 2 === 0 ? "told" : "kept");

/** The call and up to five retries at once, some of them cut; then retries until the client knows. */
async function playKey(world: World, number: number, random: Random): Promise<void> {
  const attempts = Array.from({ length: 1 + Math.floor(random() * (RETRIES_MAX + 1)) }, (_, i) => {
    const cut = CUTS[Math.floor(random() * CUTS.length)] ?? "never";
    if (cut !== "never") world.tally.cut += 1;
    return ask(world, number, `a${i}`, random() < 0.5, cut, Math.floor(random() * 30));
  });
  await Promise.all(attempts);
  await listen(world, number, "b");
}

/** Until there is a word that is final. */
async function listen(world: World, number: number, round: string): Promise<void> {
  for (let i = 0; i < TRIES_MAX; i++) {
    const word = wordOf(await ask(world, number, `${round}${i}`, false, "never", 0));
    if (word === "later" || word === "nothing") {
      await world.up;
      await sleep(25);
      continue;
    }
    if (word === "replayed" || word === "settled" || word === "unknown") world.tally[word] += 1;
    world.heard.set(keyOf(number), word);
    return;
  }
  world.heard.set(keyOf(number), "nothing");
}

async function ask(world: World, number: number, round: string, progress: boolean, cut: Cut, cutMs: number): Promise<Heard> {
  const server = serverOf(number);
  world.tally.requests += 1;
  const nonce = keyOf(number);
  const args = number % 3 === 0 ? { text: "x".repeat(1 + (number % 400)), nonce } : { ms: number % 12, steps: 2, nonce };
  const accessToken = world.tokens.get(server) ?? (await newToken(world, server));
  const asked: Attempt = {
    ...{ url: `${world.gateway.publicUrl}/mcp/${server}`, accessToken, id: `${nonce}-${round}`, key: nonce, args, progress, cut, cutMs },
    tool: number % 3 === 0 ? "echo" : "slow",
  };
  const heard = await attempt(asked);
  if (heard?.status === 401) world.tokens.delete(server);
  return heard;
}

async function newToken({ gateway, agent, tokens }: World, server: string): Promise<string> {
  const accessToken = await gateway.accessToken(agent, server).catch(() => "");
  if (accessToken !== "") tokens.set(server, accessToken);
  return accessToken;
}

function wordOf(heard: Heard): Word {
  if (heard === null || heard.status === 401) return "nothing";
  const { status, message } = heard;
  if (message.result !== undefined) return message.result._meta?.["io.tollgate/receipt"]?.replayed === true ? "replayed" : "result";
  const reason = message.error?.data?.reason ?? message.reason ?? "none";
  if (reason === "idempotency_settled") return message.error?.data?.first_call?.fate === "known" ? "settled" : "unknown";
  // Not made, or not yet over: the client comes again.
  const passing = ["idempotency_in_flight", "store_unavailable", "overloaded", "upstream_unreachable", "request_timeout"];
  return passing.includes(reason) ? "later" : `odd: ${status} ${reason}`;
}

/** The planted bug. */
function forgetKeys({ folder }: GatewayProcess): void {
  const journal = new Database(join(folder, "data", "journal.db"));
  journal.exec("DELETE FROM retry_key");
  journal.close();
}

type Event = { readonly key: string; readonly provisional: number };

/** The upstream's log, the clients' words and the gateway's books, joined by key. */
function judge({ gateway, heard, options }: World, ran: ReadonlyMap<string, number>): { events: number; violations: string[] } {
  const journal = new Database(join(gateway.folder, "data", "journal.db"), { readonly: true });
  const events = journal
    .prepare(
      `SELECT substr(r.body ->> '$.request.id', 2, instr(substr(r.body ->> '$.request.id', 6), '-') + 3) AS key, u.provisional
       FROM usage AS u JOIN audit_record AS r ON r.sequence = u.record`,
    )
    .all() as Event[];
  const open = Number(journal.prepare("SELECT count(*) FROM open_call").pluck().get());
  journal.close();
  const charged = new Map<string, Event[]>();
  for (const event of events) charged.set(event.key, [...(charged.get(event.key) ?? []), event]);
  const violations: string[] = [];
  if (open > 0) violations.push(`${open} calls are still open`);
  for (let number = 0; number < options.keys; number++) {
    const key = keyOf(number);
    const [times, of, word] = [ran.get(key) ?? 0, charged.get(key) ?? [], heard.get(key) ?? "nothing"];
    if (times > 1) violations.push(`${key} ran ${times} times`);
    if (times === 1 && of.length !== 1) violations.push(`${key} ran once and is charged ${of.length} times`);
    if (times === 0 && (of.length !== 1 || of[0]?.provisional !== 1)) violations.push(`${key} never ran and is charged as if it had`);
    if (times === 0 && word !== "unknown") violations.push(`${key} never ran, and its client heard: ${word}`);
    if (word === "nothing" || word.startsWith("odd")) violations.push(`${key}: its client heard ${word}`);
  }
  return { events: events.length, violations };
}

if (process.argv[1] === import.meta.filename) await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      ...{ quick: { type: "boolean" }, control: { type: "boolean" } },
      ...{ seed: { type: "string" }, keys: { type: "string" }, kills: { type: "string" } },
    },
  });
  const quick = values.quick === true || values.control === true;
  const proof = await proveRetries({
    seed: Number(values.seed ?? Math.floor(Math.random() * 1e9)),
    keys: Number(values.keys ?? (quick ? 300 : 10_000)),
    kills: Number(values.kills ?? (quick ? 3 : 20)),
    control: values.control === true,
    progress: (line) => process.stderr.write(`${line}\n`),
  });
  const { violations, ...figures } = proof;
  const text = Object.entries(figures).map(([name, figure]) => `${name} ${Math.round(figure)}`);
  process.stdout.write(`${text.join(", ")}, violations ${violations.length}\n`);
  for (const violation of violations.slice(0, 20)) process.stdout.write(`  ${violation}\n`);
  if (values.control === true) process.stdout.write(`control: must fail, and does${violations.length > 0 ? "" : " NOT"}\n`);
  if (violations.length > 0 !== (values.control === true)) process.exitCode = 1;
}
