/** A child process: the load generator where wrk is not installed. Arguments: target as JSON, clients, seconds. */
import { Pool } from "undici";
import { percentile } from "./percentile.ts";
import type { Target } from "./target.ts";

const [targetText = "", clientsText = "", secondsText = ""] = process.argv.slice(2);
const target = JSON.parse(targetText) as Target;
const { origin, pathname } = new URL(target.url);
const pool = new Pool(origin, { connections: Number(clientsText), pipelining: 1 });
const startMs = performance.now();
const untilMs = startMs + Number(secondsText) * 1000;
const timesMs: number[] = [];
let failed = 0;

async function client(): Promise<void> {
  for (let beganMs = performance.now(); beganMs < untilMs; beganMs = performance.now()) {
    const { statusCode, body } = await pool.request({ path: pathname, method: "POST", headers: target.headers, body: target.body });
    await body.dump();
    if (statusCode !== 200) failed++;
    timesMs.push(performance.now() - beganMs);
  }
}

await Promise.all(Array.from({ length: Number(clientsText) }, client));
const seconds = (performance.now() - startMs) / 1000;
await pool.close();
timesMs.sort((a, b) => a - b);
console.log(JSON.stringify({ calls: timesMs.length, seconds, failed, p50Ms: percentile(timesMs, 50), p99Ms: percentile(timesMs, 99) }));
