/** Calls whose cost only their result says, many at once, processes killed at random: what is committed and held never exceeds the limit. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { type GatewayProcess, sleep } from "../e2e/gateway-process.ts";
import { administer } from "../e2e/shared-registry.ts";
import { openDoor } from "../fixtures/listener.ts";
import type { Random } from "../fixtures/seeded-random.ts";
import { agentOf, type Fleet, reasonOf, startFleet } from "./fleet.ts";

export type Costs = {
  readonly calls: number;
  readonly ran: number;
  readonly kills: number;
  /** Looks at the counters while calls were under way. */
  readonly looks: number;
  readonly violations: readonly string[];
};

const COST_MAX = 100;
/** About half of what a round asks for. */
const LIMIT = 50_000;
const CALLS_A_ROUND = 2_000;
const CLIENTS = 200;
const KILLS_A_ROUND = 3;
const LOOK_MS = 50;

type Row = { readonly name: string; readonly committed: number; readonly held: number; readonly debt: number };

export async function costs(gateways: number, calls: number, random: Random, progress: (line: string) => void): Promise<Costs> {
  const rounds = Math.ceil(calls / CALLS_A_ROUND);
  /** By round: what the server behind has done. */
  const done = Array.from({ length: rounds }, () => ({ calls: 0, cost: 0 }));
  const door = await openDoor(working(done));
  const budgets = done.map((_, i) => `  - { name: round-${i}, who: { team: round-${i} }, meter: spent, limit: ${LIMIT}, period: total }`);
  const policies = `apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: ["*/*"] }]\nbudgets:\n${budgets.join("\n")}\n`;
  const meters = `meters: [{ name: spent, tool: up/work, pointer: /structuredContent/spent, max: ${COST_MAX} }]`;
  const fleet = await startFleet({ policies, servers: `  up: { url: "${door.url}/mcp", timeout: 20s }`, more: meters }, gateways);
  const violations: string[] = [];
  const total = { calls: 0, kills: 0, looks: 0 };
  try {
    for (let round = 0; round < rounds; round++) {
      const accessToken = await agentOf(fleet, `bot-${round}`, `round-${round}`);
      const say = (what: string) => void violations.push(`${gateways} gateways, round ${round}: ${what}`);
      const ask = (member: GatewayProcess) => {
        total.calls += 1;
        return reasonOf(member, accessToken, "work", { round, spent: 1 + Math.floor(random() * COST_MAX) });
      };
      const kills = round % 2 === 1 ? KILLS_A_ROUND : 0;
      let left = CALLS_A_ROUND;
      const crowd = Promise.all(
        Array.from({ length: CLIENTS }, async (_, client) => {
          for (; left > 0; left -= 1) await ask(fleet.members[(client + left) % fleet.members.length] as GatewayProcess);
        }),
      );
      const watch = watching(fleet, `round-${round}`, say);
      for (let i = 0; i < kills; i++) {
        await sleep(Math.floor(random() * 2_000));
        const member = fleet.members[Math.floor(random() * fleet.members.length)] as GatewayProcess;
        await member.signal("SIGKILL");
        await member.serve();
        total.kills += 1;
      }
      await crowd;
      await Promise.all(fleet.members.map(fleet.isReady));
      // One after the other, until the largest cost no longer fits: nothing that fits is refused.
      const [first] = fleet.members as [GatewayProcess];
      while ((await ask(first)) === "ran") {}
      total.looks += await watch.end();
      const { committed = 0, held = 0, debt = 0 } = (await rowOf(first, `round-${round}`)) ?? {};
      const cost = done[round]?.cost ?? 0;
      if (held !== 0 || debt !== 0) say(`${held} held and ${debt} owed at rest`);
      if (committed > LIMIT) say(`${committed} committed, the limit is ${LIMIT}`);
      if (committed <= LIMIT - COST_MAX) say(`refused with ${LIMIT - committed} left`);
      const billed = fleet.members.reduce((sum, member) => sum + billedIn(member, `round-${round}`), 0);
      if (billed !== committed) say(`the usage events sum up to ${billed}, ${committed} are committed`);
      if (kills === 0 ? cost !== committed : cost > committed) say(`the server has done ${cost}, ${committed} are committed`);
      progress(`costs on ${gateways}: round ${round + 1}/${rounds}, ${done[round]?.calls} ran for ${cost}, ${committed} committed`);
    }
  } finally {
    await fleet.close();
    await door.close();
  }
  return { ...total, ran: done.reduce((sum, { calls }) => sum + calls, 0), violations };
}

/** The server behind: each call costs what its client says, which the gateway learns from the result alone. */
function working(done: { calls: number; cost: number }[]): Parameters<typeof openDoor>[0] {
  const tools = [{ name: "work", inputSchema: { type: "object" } }];
  return (req, res, body) => {
    if (req.method !== "POST") return void res.writeHead(405).end();
    const { id, method, params } = JSON.parse(body.toString());
    const answer = (result: object) =>
      void res
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ jsonrpc: "2.0", id, result: { resultType: "complete", ...result } }));
    if (method !== "tools/call") return answer(method === "tools/list" ? { tools } : {});
    const { round, spent } = params.arguments as { round: number; spent: number };
    const of = done[round];
    if (of !== undefined) {
      of.calls += 1;
      of.cost += spent;
    }
    setTimeout(() => answer({ content: [], structuredContent: { spent } }), spent);
  };
}

/** Looks at the counters for as long as calls are under way: whichever member answers says the same truth. */
function watching({ members }: Fleet, budget: string, say: (what: string) => void): { end(): Promise<number> } {
  let [looks, ended] = [0, false];
  const looking = (async () => {
    for (let turn = 0; !ended; turn += 1) {
      const row = await rowOf(members[turn % members.length] as GatewayProcess, budget).catch(() => undefined);
      if (row !== undefined) looks += 1;
      if (row !== undefined && row.committed + row.held > LIMIT) say(`${row.committed} committed and ${row.held} held at one instant`);
      await sleep(LOOK_MS);
    }
  })();
  return {
    async end() {
      ended = true;
      await looking;
      return looks;
    },
  };
}

async function rowOf(member: GatewayProcess, budget: string): Promise<Row | undefined> {
  const { items } = (await (await administer(member, "GET", "/budgets")).json()) as { items: Row[] };
  return items.find(({ name }) => name === budget);
}

/** What that gateway's own usage events say. */
function billedIn({ folder }: GatewayProcess, team: string): number {
  const journal = new Database(join(folder, "data", "journal.db"), { readonly: true });
  const sum = "SELECT coalesce(sum(value), 0) FROM usage, json_each(amounts) WHERE key = 'spent' AND team = ?";
  try {
    return journal.prepare(sum).pluck().get(team) as number;
  } finally {
    journal.close();
  }
}
