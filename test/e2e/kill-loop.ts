/** Kills the gateway at random moments under load, and joins three logs: what clients heard, what the upstream ran, what the books say. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

export type KillReport = {
  readonly seed: number;
  readonly kills: number;
  /** Calls whose answer reached a client. */
  readonly answered: number;
  /** Tools that ran. */
  readonly executed: number;
  /** Of them, how many found their permit in the journal's file before they did anything. */
  readonly permitted: number;
  /** Calls that a kill left open and that a later start settled as unknown. */
  readonly recovered: number;
  /** Kills at an exact system call; the others fell at a random moment. */
  readonly atSystemCall: number;
  readonly violations: readonly string[];
};

const CLIENTS = 8;
/** Between two tries while no gateway runs: clients that try without a pause take the core on which it starts. */
const KNOCK_MS = 50;
const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
  - { name: calls, meter: calls, limit: 100_000_000, period: total }
  - { name: tokens, meter: tool_tokens, limit: 100_000_000_000, period: total }
`;

/** What the gateway is killed in the middle of, where `strace` may be used: a sync, a write to a file, a write to a socket. */
const SYSTEM_CALLS = ["fdatasync", "pwrite64", "write", "writev"] as const;

export type KillOptions = {
  readonly kills: number;
  readonly seed: number;
  /** Every other kill falls at an exact system call. */
  readonly trace?: boolean;
  readonly progress?: (done: number) => void;
};

export async function killLoop(options: KillOptions): Promise<KillReport> {
  const random = seededRandom(options.seed);
  let journal: Database.Database | null = null;
  let permitted = 0;
  const upstream = await startHttpUpstream({
    onExecution: (nonce) => {
      const open = journal?.prepare("SELECT count(*) FROM open_call WHERE audit ->> '$.request.id' = ?").pluck().get(JSON.stringify(nonce));
      permitted += Number(open ?? 0);
    },
  });
  const gateway = await GatewayProcess.prepare({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  const heard = new Map<string, number>();
  let running = true;
  let accessToken = "";
  let next = 0;
  const client = async () => {
    while (running) {
      const nonce = `c${next++}`;
      const answer = await modernRequest(
        `${gateway.publicUrl}/mcp/up`,
        accessToken,
        "tools/call",
        { name: "echo", arguments: { text: "x", nonce } },
        nonce,
      )
        .then((response) => response.text())
        .catch(() => null);
      if (answer?.includes('"content"')) heard.set(nonce, (heard.get(nonce) ?? 0) + 1);
      else await sleep(KNOCK_MS);
    }
  };
  await gateway.serve();
  const agent = await gateway.createAgent("looper");
  accessToken = await gateway.accessToken(agent, "up");
  journal = new Database(join(gateway.folder, "data", "journal.db"), { readonly: true });
  let atSystemCall = 0;
  const clients = Array.from({ length: CLIENTS }, client);
  for (let kill = 0; kill < options.kills; kill++) {
    // By calls and not by time: a slow machine kills as deep into the load as a fast one.
    const enough = heard.size + 4 + Math.floor(random() * 40);
    for (let i = 0; i < 2_000 && heard.size < enough; i++) await sleep(5);
    await sleep(Math.floor(random() * 20));
    if (options.trace === true && kill % 2 === 1) atSystemCall += await killAtSystemCall(gateway, random);
    else await gateway.signal("SIGKILL");
    await gateway.serve();
    if (kill % 10 === 9) accessToken = await gateway.accessToken(agent, "up");
    options.progress?.(kill + 1);
  }
  await sleep(200);
  running = false;
  await Promise.all(clients);
  const exit = await gateway.stop();
  await upstream.close();
  journal.close();
  const verified = await gateway.json<{ ok: boolean }>("audit", "verify").catch((fault: Error) => ({ ok: fault.message }));
  const books = readBooks(join(gateway.folder, "data", "journal.db"));
  const executed = upstream.executions.map((execution) => execution.id ?? "");
  const violations = judge(heard, executed, books);
  if (permitted !== executed.length) violations.push(`${executed.length - permitted} calls ran whose permit was not on disk`);
  if (exit !== 0) violations.push(`the last gateway ended with ${exit}`);
  if (verified.ok !== true) violations.push(`the log does not verify: ${verified.ok}`);
  rmSync(gateway.folder, { recursive: true, force: true });
  return {
    seed: options.seed,
    kills: options.kills,
    answered: heard.size,
    executed: executed.length,
    permitted,
    atSystemCall,
    recovered: books.unknown.size,
    violations,
  };
}

/** The tracer is attached to the running gateway and kills it at its Nth such call from then on; 0: it did not come to it. */
async function killAtSystemCall(gateway: GatewayProcess, random: () => number): Promise<0 | 1> {
  const name = SYSTEM_CALLS[Math.floor(random() * SYSTEM_CALLS.length)] ?? "fdatasync";
  const nth = 1 + Math.floor(random() * 12);
  const inject = `inject=${name}:signal=KILL:when=${nth}`;
  const tracer = spawn("strace", ["-f", "-qq", "-o", "/dev/null", "-e", `trace=${name}`, "-e", inject, "-p", String(gateway.child?.pid)], {
    stdio: "ignore",
  });
  const { child } = gateway;
  for (let i = 0; i < 400 && child?.signalCode === null; i++) await sleep(5);
  const killed = child?.signalCode === "SIGKILL" ? 1 : 0;
  await gateway.signal("SIGKILL");
  tracer.kill("SIGKILL");
  return killed;
}

type Books = {
  /** JSON-RPC id to the number of charged records. */
  readonly charged: Map<string, number>;
  readonly unknown: Set<string>;
  readonly usageEvents: number;
  readonly open: number;
  readonly balances: readonly { budget: string; committed: number; held: number }[];
  readonly postedCalls: number;
};

type Charged = { request: { id: string } | null; settlement: string | null; budget: { budget: string; posted: number }[] };

function readBooks(file: string): Books {
  const store = new Database(file, { readonly: true });
  const charged = new Map<string, number>();
  const unknown = new Set<string>();
  let postedCalls = 0;
  for (const body of store.prepare("SELECT body FROM audit_record WHERE kind = 'call'").pluck().iterate() as Iterable<string>) {
    const record = JSON.parse(body) as Charged;
    if (record.settlement !== "posted" && record.settlement !== "unknown") continue;
    const id = JSON.parse(record.request?.id ?? "null") as string;
    charged.set(id, (charged.get(id) ?? 0) + 1);
    if (record.settlement === "unknown") unknown.add(id);
    postedCalls += record.budget.find((line) => line.budget === "calls")?.posted ?? 0;
  }
  const one = (sql: string) => Number(store.prepare(sql).pluck().get());
  const balances = store.prepare("SELECT budget, sum(committed) AS committed, sum(held) AS held FROM balance GROUP BY budget").all();
  const books: Books = {
    charged,
    unknown,
    postedCalls,
    usageEvents: one("SELECT count(*) FROM usage_event"),
    open: one("SELECT count(*) FROM open_call"),
    balances: balances as Books["balances"],
  };
  store.close();
  return books;
}

function judge(heard: ReadonlyMap<string, number>, executed: readonly string[], books: Books): string[] {
  const violations: string[] = [];
  for (const [id, times] of books.charged) if (times !== 1) violations.push(`${id} is charged ${times} times`);
  for (const id of heard.keys()) {
    if (!books.charged.has(id)) violations.push(`${id} was answered and is not charged`);
    if (books.unknown.has(id)) violations.push(`${id} was answered and is charged as unknown`);
  }
  for (const id of executed) if (!books.charged.has(id)) violations.push(`${id} ran and is not recorded`);
  if (new Set(executed).size !== executed.length) violations.push("a call ran twice");
  if (books.usageEvents !== books.charged.size)
    violations.push(`${books.usageEvents} usage events for ${books.charged.size} charged calls`);
  if (books.open !== 0) violations.push(`${books.open} calls are still open`);
  for (const { budget, held } of books.balances) if (held !== 0) violations.push(`${held} is still held on ${budget}`);
  const committed = books.balances.find((balance) => balance.budget === "calls")?.committed;
  if (committed !== books.postedCalls) violations.push(`the balance says ${committed} calls, the records ${books.postedCalls}`);
  return violations;
}
