/** How long a client's disconnect takes to its call's server, while the answer is a stream and before there is one. */
import { once } from "node:events";
import { percentile } from "./percentile.ts";
import { type Ask, send } from "./stream-client.ts";
import type { Target } from "./target.ts";

export type Leaving = { readonly runs: number; readonly p50Ms: number; readonly maxMs: number };

/** `targetOf` makes the call whose departure the upstream notes under `key`. */
export async function measureLeaving(as: "sse" | "json", targetOf: (key: string) => Target, ask: Ask, runs: number): Promise<Leaving> {
  const tookMs: number[] = [];
  for (let run = 0; run < runs; run++) {
    const key = `${as}-${run}`;
    const { request, answer } = send(targetOf(key));
    // The first event has come, or the call is under way upstream.
    if (as === "sse") await once(await answer, "data");
    else while (!(await ask<boolean>(`arrived/${key}`))) await new Promise((resolve) => setTimeout(resolve, 1));
    const leftAt = process.hrtime.bigint();
    request.destroy();
    tookMs.push(Number(BigInt(await ask<string>(`left/${key}`)) - leftAt) / 1e6);
  }
  tookMs.sort((a, b) => a - b);
  return { runs, p50Ms: percentile(tookMs, 50), maxMs: tookMs.at(-1) ?? Number.NaN };
}
