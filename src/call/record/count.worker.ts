/** The counting thread, for long texts. */
import { parentPort } from "node:worker_threads";
import { countTexts } from "./count.ts";
import type { TokenCount } from "./token-count.ts";

export type CountJob = { readonly number: number; readonly requestTexts: readonly string[]; readonly resultTexts: readonly string[] };
export type CountAnswer = { readonly number: number; readonly count: TokenCount };

parentPort?.on("message", (jobs: readonly CountJob[]) => {
  parentPort?.postMessage(jobs.map(({ number, requestTexts, resultTexts }) => ({ number, count: countTexts(requestTexts, resultTexts) })));
});
