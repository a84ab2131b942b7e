/** One round of measurement: what each target carries at 32 clients, and what a call costs it. */
import type { Child } from "./child.ts";
import type { Generator } from "./load.ts";
import { costOf } from "./process-tree.ts";
import type { Target } from "./target.ts";

export type Measured = {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Microseconds of CPU of the whole process tree; null where the platform does not tell. */
  readonly cpuMicros: number | null;
  readonly rssIdleMegabytes: number | null;
  readonly rssLoadMegabytes: number | null;
};

/** `name` is also the path on the upstream. */
export type Carrier = { readonly name: "direct" | "nginx" | "gateway"; readonly target: Target; readonly child: Child };

/** `served` asks the upstream how many calls it has carried out: a call that never got there is no call. */
export async function measure(
  carrier: Carrier,
  generator: Generator,
  clients: number,
  seconds: number,
  served: (name: string) => Promise<number>,
): Promise<Measured> {
  const idle = costOf(carrier.child.pid);
  const servedBefore = await served(carrier.name);
  let rssLoadMegabytes = 0;
  const watching = setInterval(() => {
    rssLoadMegabytes = Math.max(rssLoadMegabytes, costOf(carrier.child.pid)?.rssMegabytes ?? 0);
  }, 250);
  const load = await generator.drive(carrier.target, clients, seconds).finally(() => clearInterval(watching));
  const after = costOf(carrier.child.pid);
  const carried = (await served(carrier.name)) - servedBefore;
  // When the time is up, a call of each client may be under way: carried out, but not counted by the generator.
  if (load.failed > 0 || carried < load.calls || carried > load.calls + clients) {
    throw new Error(
      `${carrier.target.url}: ${load.calls} calls, ${load.failed} failed, ${carried} carried out upstream: nothing to compare`,
    );
  }
  return {
    callsPerSecond: load.calls / load.seconds,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    cpuMicros: idle === null || after === null ? null : ((after.cpuMs - idle.cpuMs) * 1000) / carried,
    rssIdleMegabytes: idle?.rssMegabytes ?? null,
    rssLoadMegabytes: idle === null ? null : rssLoadMegabytes,
  };
}
