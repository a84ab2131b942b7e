/** Counting off the event loop: jobs of one turn travel together; if the thread dies, byte lengths stand in. */
import { Worker } from "node:worker_threads";
import type { CountAnswer, CountJob } from "./count.worker.ts";
import type { CountTokens, TokenCount } from "./token-count.ts";

export type TokenCounter = { readonly count: CountTokens; close(): Promise<void> };

type Waiter = { readonly job: CountJob; readonly resolve: (count: TokenCount) => void };

export function openTokenCounter(onFault: (message: string) => void): TokenCounter {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const start = (): Worker => {
    const worker = new Worker(new URL(`./count.worker${extension}`, import.meta.url));
    worker.on("message", (answers: readonly CountAnswer[]) => {
      for (const { number, count } of answers) answer(number, count);
    });
    worker.on("error", (fault) => {
      onFault(fault instanceof Error ? fault.message : String(fault));
      for (const [number, { job }] of waiters) answer(number, byteCount(job));
      current = start();
      current.unref();
    });
    return worker;
  };
  const waiters = new Map<number, Waiter>();
  const answer = (number: number, count: TokenCount) => {
    const waiter = waiters.get(number);
    waiters.delete(number);
    waiter?.resolve(count);
  };
  let lastNumber = 0;
  let turn: CountJob[] = [];
  let current = start();
  const flush = () => {
    current.postMessage(turn);
    turn = [];
  };
  return {
    count: (requestTexts, resultTexts) =>
      new Promise((resolve) => {
        lastNumber += 1;
        const job = { number: lastNumber, requestTexts, resultTexts };
        waiters.set(lastNumber, { job, resolve });
        if (turn.push(job) === 1) queueMicrotask(flush);
      }),
    async close() {
      await current.terminate();
    },
  };
}

function byteCount({ requestTexts, resultTexts }: CountJob): TokenCount {
  const bytes = (texts: readonly string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return { input: bytes(requestTexts), output: bytes(resultTexts), source: "estimated:bytes" };
}
