/** Pure. The figures of streams as text, each beside its goal. */
import type { Idle } from "./stream-idle.ts";
import type { Leaving } from "./stream-leave.ts";
import type { Stall } from "./stream-stall.ts";
import type { StreamsReport } from "./streams.ts";

export function streamsText({ machine, rounds, idle, stall, passing, leaving }: StreamsReport): string {
  const [passed] = passing;
  return [
    `node ${machine.node}, ${machine.cpus} CPUs (${machine.model}), the best of ${rounds}`,
    "",
    ...Object.values(idle).flatMap(([best]) => (best === undefined ? [] : idleLines(best))),
    ...(stall[0] === undefined ? [] : [stallLine(stall[0])]),
    departure("while its answer streams", leaving.sse[0]),
    departure("before its answer", leaving.json[0]),
    `an event passes: direct p50 ${ms(passed?.direct.p50Ms)}, p99 ${ms(passed?.direct.p99Ms)}; through the gateway ${ms(passed?.gateway.p50Ms)}, ${ms(passed?.gateway.p99Ms)}; added at p50 ${ms(passed?.addedP50Ms)} (goal 1 ms)`,
  ].join("\n");
}

function idleLines({ kind, streams, kilobytesEach, kilobytesEachCollected, cpuPercent }: Idle): string[] {
  return [
    `${streams} idle ${kind} streams: ${figure(kilobytesEachCollected, 1)} kB each after a garbage collection, ${figure(kilobytesEach, 1)} kB before (goal 50)`,
    `${streams} idle ${kind} streams: ${figure(cpuPercent, 1)} % of a core, keep-alive included (goal 5 %)`,
  ];
}

function stallLine({ streamBytes, heldBytes, kernelBytes, rssMegabytes, megabytesPerSecond }: Stall): string {
  const held = `${figure(heldBytes === null ? null : heldBytes / 1024, 0)} KiB held for a stalled client (goal 1,024)`;
  const kernel = `${figure(kernelBytes === null ? null : kernelBytes / 1024, 0)} KiB in the kernel's buffers`;
  return `a stream of ${figure(streamBytes / 1e6, 0)} MB: ${held}, ${kernel}; RSS up to ${figure(rssMegabytes, 0)} MB more; ${figure(megabytesPerSecond, 0)} MB/s when it is read`;
}

function departure(when: string, leaving: Leaving | undefined): string {
  return `a client leaves ${when}, known upstream: p50 ${ms(leaving?.p50Ms)}, max of ${leaving?.runs} ${ms(leaving?.maxMs)} (goal 1,000 ms)`;
}

function ms(value: number | undefined): string {
  return `${figure(value ?? null, 2)} ms`;
}

function figure(value: number | null, digits: number): string {
  return value === null ? "-" : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
