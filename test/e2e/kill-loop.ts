/** Kills the gateway at random moments under load, and joins three logs: what clients heard, what the upstream ran, what the books say. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
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
  /** Calls that a kill left open and that a later start settled as unknown. */
  readonly recovered: number;
  readonly violations: readonly string[];
};

const CLIENTS = 8;
const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
  - { name: calls, meter: calls, limit: 100_000_000, period: total }
  - { name: tokens, meter: tool_tokens, limit: 100_000_000_000, period: total }
`;

export async function killLoop(options: { kills: number; seed: number; progress?: (done: number) => void }): Promise<KillReport> {
  const random = seededRandom(options.seed);
  const upstream = await startHttpUpstream();
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
      else await sleep(5);
    }
  };
  await gateway.serve();
  const agent = await gateway.createAgent("looper");
  accessToken = await gateway.accessToken(agent, "up");
  const clients = Array.from({ length: CLIENTS }, client);
  for (let kill = 0; kill < options.kills; kill++) {
    // By calls and not by time: a slow machine kills as deep into the load as a fast one.
    const enough = heard.size + 4 + Math.floor(random() * 40);
    for (let i = 0; i < 2_000 && heard.size < enough; i++) await sleep(5);
    await sleep(Math.floor(random() * 20));
    await gateway.signal("SIGKILL");
    await gateway.serve();
    if (kill % 10 === 9) accessToken = await gateway.accessToken(agent, "up");
    options.progress?.(kill + 1);
  }
  await sleep(200);
  running = false;
  await Promise.all(clients);
  const exit = await gateway.stop();
  await upstream.close();
  const verified = await gateway.json<{ ok: boolean }>("audit", "verify").catch((fault: Error) => ({ ok: fault.message }));
  const books = readBooks(join(gateway.folder, "data", "journal.db"));
  const executed = upstream.executions.map((execution) => execution.id ?? "");
  const violations = judge(heard, executed, books);
  if (exit !== 0) violations.push(`the last gateway ended with ${exit}`);
  if (verified.ok !== true) violations.push(`the log does not verify: ${verified.ok}`);
  rmSync(gateway.folder, { recursive: true, force: true });
  return {
    seed: options.seed,
    kills: options.kills,
    answered: heard.size,
    executed: executed.length,
    recovered: books.unknown.size,
    violations,
  };
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

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" }, quick: { type: "boolean" } } });
  const seed = Number(values.seed ?? "1");
  const kills = Number(values.count ?? (values.quick ? "25" : "500"));
  const report = await killLoop({
    kills,
    seed,
    progress: (done) => done % 25 === 0 && process.stderr.write(`${done} of ${kills} kills\n`),
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = report.violations.length === 0 ? 0 : 1;
}
