/** Real gateways and a limit: many calls at once, processes killed at random; what ran is counted by the server behind them. */
import { type GatewayProcess, sleep } from "../e2e/gateway-process.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import type { Random } from "../fixtures/seeded-random.ts";
import { agentOf, reasonOf, startFleet } from "./fleet.ts";

export type Race = { readonly trials: number; readonly calls: number; readonly kills: number; readonly violations: readonly string[] };

const LIMIT = 100;
const CALLS = 200;
const policies = (rounds: number) => `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets:
${Array.from({ length: rounds }, (_, i) => `  - { name: round-${i}, who: { team: round-${i} }, meter: calls, limit: ${LIMIT}, period: total }`).join("\n")}
`;

export async function race(
  gateways: number,
  rounds: number,
  kills: number,
  random: Random,
  progress: (line: string) => void,
): Promise<Race> {
  const upstream = await startHttpUpstream();
  const setup = { policies: policies(rounds), servers: `  up: { url: "${upstream.mcpUrl}", timeout: 20s }` };
  const fleet = await startFleet(setup, gateways);
  const violations: string[] = [];
  let calls = 0;
  let killed = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const [first] = fleet.members;
      if (first === undefined) throw new Error("no gateway");
      const accessToken = await agentOf(fleet, `bot-${round}`, `round-${round}`);
      const killing = round % 2 === 1 ? Math.min(kills - killed, 3) : 0;
      let asked = 0;
      const work = async (index: number): Promise<string> => {
        asked += 1;
        const member = fleet.members[index % fleet.members.length] as GatewayProcess;
        return reasonOf(member, accessToken, "echo", { text: "x", nonce: `r${round}-${index}` });
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
