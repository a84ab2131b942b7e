/** A child process: one client that calls each target in turn, warm, over kept connections. Arguments: targets as JSON, calls of each. */
import { Client } from "undici";
import { percentile } from "./percentile.ts";
import type { Target } from "./target.ts";

export type Latency = { readonly p50Ms: number; readonly p99Ms: number };

const WARM_UP_CALLS = 300;

const [targetsText = "{}", callsText = "0"] = process.argv.slice(2);
const targets = Object.entries(JSON.parse(targetsText) as Record<string, Target>).map(([name, target]) => {
  const { origin, pathname } = new URL(target.url);
  return { name, target, pathname, client: new Client(origin), timesMs: [] as number[] };
});

// In turn, so that whatever else the machine does falls on every target alike.
for (let i = 0; i < WARM_UP_CALLS + Number(callsText); i++) {
  for (const { name, target, pathname, client, timesMs } of targets) {
    const beganMs = performance.now();
    const { statusCode, body } = await client.request({ path: pathname, method: "POST", headers: target.headers, body: target.body });
    const text = await body.text();
    const tookMs = performance.now() - beganMs;
    if (statusCode !== 200 || !text.includes('"result"')) throw new Error(`${name} answers ${statusCode}: ${text.slice(0, 500)}`);
    if (i >= WARM_UP_CALLS) timesMs.push(tookMs);
  }
}
const latencies: Record<string, Latency> = {};
for (const { name, client, timesMs } of targets) {
  timesMs.sort((a, b) => a - b);
  latencies[name] = { p50Ms: percentile(timesMs, 50), p99Ms: percentile(timesMs, 99) };
  await client.close();
}
console.log(JSON.stringify(latencies));
