/** `npm run prove:revocation [-- --quick] [--count N]`: what one gateway is told to stop, another one of the registry refuses within a second. */
import { parseArgs } from "node:util";
import { openDoor } from "../fixtures/listener.ts";
import { modernRequest, sleep } from "./gateway-process.ts";
import { administer, startSharedRegistry } from "./shared-registry.ts";

export type RevocationReport = {
  readonly trials: number;
  /** From the answer of the gateway that was told to the first refusal of the other, milliseconds, sorted. */
  readonly lateMs: readonly number[];
  readonly violations: readonly string[];
};

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
`;
const LIMIT_MS = 1_000;
const TRIES_MS = 5;

export async function proveRevocation(options: { trials: number; progress?: (done: number) => void }): Promise<RevocationReport> {
  const door = await openDoor((_, res, body) => {
    const { id, method } = JSON.parse(body.toString());
    const tools = [{ name: "echo", inputSchema: { type: "object" } }];
    const result = { resultType: "complete", ...(method === "tools/list" ? { tools } : { content: [{ type: "text", text: "done" }] }) };
    res.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  const stage = await startSharedRegistry({ policies: POLICIES, servers: `  up: { url: "${door.url}/mcp" }` });
  const { first, second } = stage;
  const lateMs: number[] = [];
  const violations: string[] = [];
  try {
    const agent = await first.createAgent("subject-of-the-trial");
    const accessToken = await first.accessToken(agent, "up");
    const reason = async () => {
      const answer = await modernRequest(`${second.listenUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: {} });
      const body = (await answer.json()) as { result?: unknown; error?: { data: { reason: string } } };
      return body.result === undefined ? (body.error?.data.reason ?? String(answer.status)) : "allowed";
    };
    const tell = async (act: "suspend" | "reinstate") => {
      const { status } = await administer(first, "POST", `/agents/${agent.id}/${act}`, { reason: "trial" });
      if (status !== 200) throw new Error(`${act} answered ${status}`);
    };
    for (let trial = 1; trial <= options.trials; trial++) {
      while ((await reason()) !== "allowed") await sleep(TRIES_MS);
      await tell("suspend");
      const told = performance.now();
      let late = 0;
      for (let heard = ""; heard !== "agent_suspended"; ) {
        late = performance.now() - told;
        if (late > 10 * LIMIT_MS) break;
        heard = await reason();
        if (heard === "allowed") await sleep(TRIES_MS);
      }
      lateMs.push(late);
      if (late > LIMIT_MS) violations.push(`trial ${trial}: still allowed after ${Math.round(late)} ms`);
      await tell("reinstate");
      if (trial % 20 === 0) options.progress?.(trial);
    }
  } finally {
    await stage.close();
    await door.close();
  }
  return { trials: options.trials, lateMs: lateMs.toSorted((a, b) => a - b), violations };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { count: { type: "string" }, quick: { type: "boolean" }, json: { type: "boolean" } } });
  const trials = Number(values.count ?? (values.quick ? 20 : 200));
  const report = await proveRevocation({ trials, progress: (done) => process.stderr.write(`\r${done} of ${trials}`) });
  process.stderr.write("\n");
  const at = (share: number) => Math.round(report.lateMs[Math.min(trials - 1, Math.floor(trials * share))] ?? 0);
  if (values.json) console.log(JSON.stringify({ ...report, lateMs: { p50: at(0.5), p99: at(0.99), max: at(1) } }));
  else {
    console.log(`trials      ${report.trials}, two processes, one registry in PostgreSQL`);
    console.log(`refused     after ${at(0.5)} ms at p50, ${at(0.99)} ms at p99, ${at(1)} ms at most`);
    console.log(`violations  ${report.violations.length} (later than ${LIMIT_MS} ms)`);
    for (const violation of report.violations) console.log(`  ${violation}`);
  }
  process.exit(report.violations.length === 0 ? 0 : 1);
}
