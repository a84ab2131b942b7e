/** How long an event takes from its server to its client, direct and through the gateway, on two streams of one run. */
import { percentile } from "./percentile.ts";
import type { Latency } from "./sequential.ts";
import { openStream } from "./stream-client.ts";
import { timesIn } from "./stream-event.ts";
import type { Target } from "./target.ts";

/** The first events of a stream meet code that has not run yet. */
const WARM_UP_EVENTS = 200;

export type Passing = { readonly direct: Latency; readonly gateway: Latency; readonly addedP50Ms: number };

export async function measurePassing(direct: Target, gateway: Target, events: number): Promise<Passing> {
  const [near, far] = await Promise.all([direct, gateway].map((target) => eventTimes(target)));
  const [nearTimes = [], farTimes = []] = [near ?? [], far ?? []].map((times) => times.slice(WARM_UP_EVENTS));
  for (const times of [nearTimes, farTimes]) {
    if (times.length !== events) throw new Error(`${times.length} of ${events} events arrived`);
    times.sort((a, b) => a - b);
  }
  const [one, other] = [latencyOf(nearTimes), latencyOf(farTimes)];
  return { direct: one, gateway: other, addedP50Ms: other.p50Ms - one.p50Ms };
}

export function eventsToAsk(events: number): number {
  return events + WARM_UP_EVENTS;
}

async function eventTimes(target: Target): Promise<number[]> {
  const { stream } = await openStream(target);
  const tookMs: number[] = [];
  let pending = "";
  for await (const chunk of stream) {
    const now = process.hrtime.bigint();
    const { times, rest } = timesIn(pending + String(chunk));
    pending = rest;
    for (const time of times) tookMs.push(Number(now - time) / 1e6);
  }
  return tookMs;
}

function latencyOf(sorted: readonly number[]): Latency {
  return { p50Ms: percentile(sorted, 50), p99Ms: percentile(sorted, 99) };
}
