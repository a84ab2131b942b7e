/** Streams through the gateway as shipped: how soon an event passes, and how soon a departure. */
import { cpus } from "node:os";
import { type Child, firstLine, startScript } from "./child.ts";
import { admit, startGateway } from "./gateway.ts";
import { askerOf } from "./stream-client.ts";
import { eventsToAsk, measurePassing, type Passing } from "./stream-latency.ts";
import { type Leaving, measureLeaving } from "./stream-leave.ts";
import { toolCallTo } from "./target.ts";

const QUICK = { rounds: 1, events: 500, leavings: 20 };
/** The best of the rounds counts: other work on the machine only ever makes a figure worse. */
const FULL = { rounds: 3, events: 2_000, leavings: 100 };

export type StreamsReport = {
  readonly machine: { readonly node: string; readonly cpus: number; readonly model: string };
  readonly rounds: number;
  /** Each round, the best first. */
  readonly passing: readonly Passing[];
  readonly leaving: { readonly sse: readonly Leaving[]; readonly json: readonly Leaving[] };
};

export async function benchStreams(folder: string, quick: boolean, kept: (child: Child) => Child): Promise<StreamsReport> {
  const plan = quick ? QUICK : FULL;
  const { port } = await firstLine<{ port: number }>(kept(startScript("stream-upstream.ts", [])));
  const ask = askerOf(port);
  const gateway = await startGateway(folder, port);
  kept(gateway.child);
  const accessToken = await admit(gateway);
  const ticks = { count: eventsToAsk(plan.events) };
  const direct = toolCallTo(`http://127.0.0.1:${port}/direct`, null, "ticks", ticks);
  const through = toolCallTo(gateway.url, accessToken, "ticks", ticks);
  const leave = (as: "sse" | "json", round: number) =>
    measureLeaving(`${as}-${round}`, as, (key) => toolCallTo(gateway.url, accessToken, "wait", { as, key: key }), ask, plan.leavings);
  const passing: Passing[] = [];
  const leaving = { sse: [] as Leaving[], json: [] as Leaving[] };
  for (let round = 0; round < plan.rounds; round++) {
    passing.push(await measurePassing(direct, through, plan.events));
    leaving.sse.push(await leave("sse", round));
    leaving.json.push(await leave("json", round));
  }
  return {
    machine: { node: process.version, cpus: cpus().length, model: cpus()[0]?.model.trim() ?? "unknown" },
    rounds: plan.rounds,
    passing: passing.sort((a, b) => a.addedP50Ms - b.addedP50Ms),
    leaving: { sse: leaving.sse.sort(byMax), json: leaving.json.sort(byMax) },
  };
}

function byMax(a: Leaving, b: Leaving): number {
  return a.maxMs - b.maxMs;
}
