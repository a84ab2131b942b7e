/** Pure. The figures of streams as text. */
import type { Leaving } from "./stream-leave.ts";
import type { StreamsReport } from "./streams.ts";

export function streamsText({ machine, rounds, passing, leaving }: StreamsReport): string {
  const lines = [`node ${machine.node}, ${machine.cpus} CPUs (${machine.model}), the best of ${rounds}`, ""];
  const [best] = passing;
  if (best !== undefined) {
    const { direct, gateway, addedP50Ms } = best;
    lines.push(
      `an event passes, p50, p99: direct ${ms(direct.p50Ms)}, ${ms(direct.p99Ms)}; gateway ${ms(gateway.p50Ms)}, ${ms(gateway.p99Ms)}; added at p50 ${ms(addedP50Ms)}`,
    );
  }
  lines.push(departure("while its answer streams", leaving.sse[0]), departure("before its answer", leaving.json[0]));
  return lines.join("\n");
}

function departure(when: string, leaving: Leaving | undefined): string {
  return `a client leaves ${when}, known upstream: p50 ${ms(leaving?.p50Ms)}, max of ${leaving?.runs} ${ms(leaving?.maxMs)}`;
}

function ms(value: number | undefined): string {
  return value === undefined ? "-" : `${value.toFixed(3)} ms`;
}
