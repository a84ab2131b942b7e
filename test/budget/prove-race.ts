/** Real gateways and a limit: many calls at once, processes killed at random; what ran is counted by the server behind them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GatewayProcess, modernRequest, type Setup, sleep } from "../e2e/gateway-process.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { startRedis } from "../fixtures/redis.ts";
import type { Random } from "../fixtures/seeded-random.ts";

export type Race = { readonly trials: number; readonly calls: number; readonly kills: number; readonly violations: readonly string[] };

const LIMIT = 100;
const CALLS = 200;
const policies = (rounds: number) => `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
${Array.from({ length: rounds }, (_, i) => `  - { name: round-${i}, who: { team: round-${i} }, meter: calls, limit: ${LIMIT}, period: total }`).join("\n")}
`;

/** `gateways` 1: one process that counts alone; more: on one Redis and one registry. */
export async function race(
  gateways: number,
  rounds: number,
  kills: number,
  random: Random,
  progress: (line: string) => void,
): Promise<Race> {
  const upstream = await startHttpUpstream();
  const setup = { policies: policies(rounds), servers: `  up: { url: "${upstream.mcpUrl}", timeout: 20s }` };
  const fleet = gateways === 1 ? await alone(setup) : await together(setup, gateways);
  const violations: string[] = [];
  let calls = 0;
  let killed = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const [first] = fleet.members;
      if (first === undefined) throw new Error("no gateway");
      const agent = await first.createAgent(`bot-${round}`, `round-${round}`);
      const accessToken = await first.accessToken(agent, "up");
      // The others hear of a new agent within a second.
      await Promise.all(
        fleet.members.map((member) => until(async () => (await reasonOf(member, accessToken, "none", "no_such_tool")) === "tool_unknown")),
      );
      const killing = round % 2 === 1 ? Math.min(kills - killed, 3) : 0;
      let asked = 0;
      const work = async (index: number): Promise<string> => {
        asked += 1;
        const member = fleet.members[index % fleet.members.length] as GatewayProcess;
        return reasonOf(member, accessToken, `r${round}-${index}`);
      };
      const crowd = Promise.all(Array.from({ length: CALLS }, (_, i) => work(i)));
      for (let i = 0; i < killing; i++) {
        await sleep(Math.floor(random() * 150));
        const member = fleet.members[Math.floor(random() * fleet.members.length)] as GatewayProcess;
        await member.signal("SIGKILL");
        await member.serve();
        killed += 1;
      }
      const answers = await crowd;
      await Promise.all(fleet.members.map(fleet.isReady));
      // Whoever was cut off comes again, until nothing is left.
      for (let more = CALLS; killing > 0 && more < 2 * CALLS; more += 20) {
        const again = await Promise.all(Array.from({ length: 20 }, (_, i) => work(more + i)));
        answers.push(...again);
        if (again.every((answer) => answer === "budget_exhausted")) break;
      }
      calls += asked;
      const passed = answers.filter((answer) => answer === "ran").length;
      const ran = upstream.executions.filter(({ id }) => id?.startsWith(`r${round}-`)).length;
      const row = (await first.json<{ name: string; committed: number; held: number; debt: number }[]>("budget", "list")).find(
        ({ name }) => name === `round-${round}`,
      );
      const say = (what: string) =>
        violations.push(
          `${gateways} gateways, round ${round}, ${killing} kills: ${what} (passed ${passed}, ran ${ran}, ${JSON.stringify(row)})`,
        );
      if (ran > LIMIT || passed > ran) say("more ran than the limit");
      if (killing === 0 && (passed !== LIMIT || ran !== LIMIT)) say("not exactly the limit passed");
      if (row?.committed !== LIMIT || row.held !== 0 || row.debt !== 0) say("the books do not say the limit");
      progress(`race of ${gateways}: round ${round + 1}/${rounds}, ${passed} passed, ${ran} ran, ${row?.committed} charged`);
    }
  } finally {
    await fleet.close();
    await upstream.close();
  }
  return { trials: rounds, calls, kills: killed, violations };
}

type Fleet = { readonly members: readonly GatewayProcess[]; isReady(member: GatewayProcess): Promise<void>; close(): Promise<void> };

async function alone(setup: Setup): Promise<Fleet> {
  const gateway = await GatewayProcess.start(setup);
  return {
    members: [gateway],
    isReady: async () => {},
    async close() {
      await gateway.stop();
      rmSync(gateway.folder, { recursive: true, force: true });
    },
  };
}

async function together(setup: Setup, count: number): Promise<Fleet> {
  const [redis, postgres] = [await startRedis(), await startPostgres()];
  const registry = await postgres.database();
  const keys = mkdtempSync(join(tmpdir(), "tollgate-keys-"));
  const members: GatewayProcess[] = [];
  for (let i = 1; i <= count; i++) {
    const shared = `shared: { postgres: env:REGISTRY, staleAfter: 2s, redis: "${redis.url}", lapse: 90s }`;
    const more = `gatewayId: gw-${i}\nkeys: file:${keys}\n${shared}\n`;
    const publicPort = members[0] === undefined ? {} : { publicPort: Number(new URL(members[0].publicUrl).port) };
    const member = await GatewayProcess.prepare({ ...setup, more, env: { REGISTRY: registry }, ...publicPort });
    await member.serve();
    members.push(member);
  }
  const isReady = (member: GatewayProcess) =>
    until(async () => {
      const { stdout } = await member.command("budget", "shared", "status", "--json");
      return (JSON.parse(stdout || "{}") as { open?: boolean }).open === true;
    });
  await Promise.all(members.map(isReady));
  return {
    members,
    isReady,
    async close() {
      await Promise.all(members.map((member) => member.stop()));
      await redis.close();
      await postgres.close();
      for (const folder of [keys, ...members.map((member) => member.folder)]) rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function reasonOf(gateway: GatewayProcess, accessToken: string, nonce: string, tool = "echo"): Promise<string> {
  try {
    const answer = await modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", {
      name: tool,
      arguments: { text: "x", nonce },
    });
    const body = (await answer.json()) as { error?: { data: { reason: string } }; reason?: string };
    return body.error?.data.reason ?? body.reason ?? "ran";
  } catch {
    return "cut";
  }
}

const STUCK_MS = 60_000;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + STUCK_MS;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > endMs) throw new Error("a gateway does not become ready");
    await sleep(100);
  }
}
