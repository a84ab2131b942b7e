/** Streams through the gateway as shipped: what idle ones cost, what a stalled one holds, how soon events and departures pass. */
import { cpus } from "node:os";
import { type Child, firstLine, freePort, startScript } from "./child.ts";
import { admit, startGateway } from "./gateway.ts";
import { askerOf } from "./stream-client.ts";
import { type Idle, type IdleSubject, measureIdle, type StreamKind } from "./stream-idle.ts";
import { eventsToAsk, measurePassing, type Passing } from "./stream-latency.ts";
import { type Leaving, measureLeaving } from "./stream-leave.ts";
import { eventsIn, measureStall, type Stall } from "./stream-stall.ts";
import { toolCallTo } from "./target.ts";

const QUICK = { rounds: 1, idleStreams: 500, idleSeconds: 5, floodBytes: 100_000_000, events: 500, leavings: 20 };
const FULL = { rounds: 3, idleStreams: 5_000, idleSeconds: 30, floodBytes: 1_073_741_824, events: 2_000, leavings: 100 };

/** Each figure of every round, the best first: other work on the machine only ever makes one worse. */
export type StreamsReport = {
  readonly machine: { readonly node: string; readonly cpus: number; readonly model: string };
  readonly rounds: number;
  readonly idle: Readonly<Record<StreamKind, readonly Idle[]>>;
  readonly stall: readonly Stall[];
  readonly passing: readonly Passing[];
  readonly leaving: Readonly<Record<"sse" | "json", readonly Leaving[]>>;
};

type Keep = (child: Child) => Child;

export async function benchStreams(folder: string, quick: boolean, kept: Keep): Promise<StreamsReport> {
  const plan = quick ? QUICK : FULL;
  const idle = { GET: [] as Idle[], "subscriptions/listen": [] as Idle[] };
  const stall: Stall[] = [];
  const passing: Passing[] = [];
  const leaving = { sse: [] as Leaving[], json: [] as Leaving[] };
  for (let round = 0; round < plan.rounds; round++) {
    for (const kind of ["GET", "subscriptions/listen"] as const) {
      const { subject, stop } = await fresh(folder, kept);
      idle[kind].push(await measureIdle(kind, subject, plan.idleStreams, plan.idleSeconds));
      await stop();
    }
    const { subject, upstreamPort, stop } = await fresh(folder, kept);
    const { url, accessToken, ask, pid } = subject;
    const through = (name: string, args: object) => toolCallTo(url, accessToken, name, args);
    const ticks = { count: eventsToAsk(plan.events) };
    const direct = toolCallTo(`http://127.0.0.1:${upstreamPort}/direct`, null, "ticks", ticks);
    passing.push(await measurePassing(direct, through("ticks", ticks), plan.events));
    for (const as of ["sse", "json"] as const)
      leaving[as].push(await measureLeaving(as, (key) => through("wait", { as, key }), ask, plan.leavings));
    const target = through("flood", { count: eventsIn(plan.floodBytes) });
    stall.push(await measureStall({ pid, upstreamPort, target, ask }, plan.floodBytes));
    await stop();
  }
  return {
    machine: { node: process.version, cpus: cpus().length, model: cpus()[0]?.model.trim() ?? "unknown" },
    rounds: plan.rounds,
    idle: {
      GET: bestFirst(idle.GET, (each) => each.kilobytesEach ?? 0),
      "subscriptions/listen": bestFirst(idle["subscriptions/listen"], (each) => each.kilobytesEach ?? 0),
    },
    stall: bestFirst(stall, (each) => each.heldBytes ?? 0),
    passing: bestFirst(passing, (each) => each.addedP50Ms),
    leaving: { sse: bestFirst(leaving.sse, (each) => each.maxMs), json: bestFirst(leaving.json, (each) => each.maxMs) },
  };
}

/** A gateway and an upstream that have served nothing yet: what one measurement leaves behind is not the next one's. */
async function fresh(folder: string, kept: Keep): Promise<{ subject: IdleSubject; upstreamPort: number; stop: () => Promise<void> }> {
  const upstream = kept(startScript("stream-upstream.ts", []));
  const { port } = await firstLine<{ port: number }>(upstream);
  const inspectPort = await freePort();
  // A long call's time covers the long stream.
  const gateway = await startGateway(folder, port, { nodeFlags: [`--inspect=127.0.0.1:${inspectPort}`], timeout: "10m" });
  kept(gateway.child);
  const accessToken = await admit(gateway);
  return {
    subject: { url: gateway.url, accessToken, pid: gateway.child.pid, inspectPort, ask: askerOf(port) },
    upstreamPort: port,
    async stop() {
      await gateway.child.stop();
      await upstream.stop();
    },
  };
}

function bestFirst<T>(rounds: readonly T[], cost: (each: T) => number): readonly T[] {
  return [...rounds].sort((a, b) => cost(a) - cost(b));
}
