/** A thread that verifies one whole journal by itself, on one core, and says what it has found. */
import { parentPort, workerData } from "node:worker_threads";
import { type Verdict, verifyLog } from "./verify.ts";

export type SelfCheckAnswer = { readonly verdict: Verdict } | { readonly fault: string };

const say = (answer: SelfCheckAnswer) => parentPort?.postMessage(answer);

try {
  say({ verdict: await verifyLog((workerData as { file: string }).file, { threads: 1 }) });
} catch (fault) {
  say({ fault: fault instanceof Error ? fault.message : String(fault) });
}
