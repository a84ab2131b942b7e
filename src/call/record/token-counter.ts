/** Counting off the event loop: jobs of one turn travel together; where the thread cannot answer, byte lengths stand in. */
import { Worker } from "node:worker_threads";
import type { CountAnswer, CountJob } from "./count.worker.ts";
import type { CountTokens, TokenCount } from "./token-count.ts";

export type TokenCounter = { readonly count: CountTokens; close(): Promise<void> };

/** After the thread has died: how long byte lengths stand in before a new one is started, so that a broken one is not started in a loop. */
const PAUSE_MS = 1_000;
/** Jobs that wait for the thread: beyond it the newest are counted by their bytes, on the spot. About 10,000 calls a second pass. */
const WAITING_MAX = 20_000;

type Waiter = { readonly job: CountJob; readonly resolve: (count: TokenCount) => void };

/** Starts the thread at once, so that the tokenizer is loaded (0.15 s) before the first call needs it. */
export function openTokenCounter(onFault: (message: string) => void): TokenCounter {
  const waiters = new Map<number, Waiter>();
  let lastNumber = 0;
  let turn: CountJob[] = [];
  let closed = false;
  let pausedUntilMs = 0;
  let worker: Worker | null = null;

  const answer = (number: number, count: TokenCount) => {
    const waiter = waiters.get(number);
    waiters.delete(number);
    waiter?.resolve(count);
  };
  const lose = (lost: Worker, message: string) => {
    if (worker !== lost) return;
    worker = null;
    pausedUntilMs = performance.now() + PAUSE_MS;
    for (const [number, { job }] of waiters) answer(number, byteCount(job));
    if (!closed) onFault(message);
  };
  const start = (): Worker => {
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    const started = new Worker(new URL(`./count.worker${extension}`, import.meta.url));
    started.unref();
    started.on("message", (answers: readonly CountAnswer[]) => {
      for (const { number, count } of answers) answer(number, count);
      if (waiters.size === 0) started.unref();
    });
    started.on("error", (fault) => lose(started, fault instanceof Error ? fault.message : String(fault)));
    started.on("exit", () => lose(started, "the counting thread ended"));
    return started;
  };
  const flush = () => {
    const jobs = turn;
    turn = [];
    if (worker === null && !closed && performance.now() >= pausedUntilMs) worker = start();
    if (worker === null) {
      for (const job of jobs) answer(job.number, byteCount(job));
      return;
    }
    worker.ref();
    worker.postMessage(jobs);
  };
  worker = start();
  return {
    count: (requestTexts, resultTexts) => {
      lastNumber += 1;
      const job = { number: lastNumber, requestTexts, resultTexts };
      if (waiters.size >= WAITING_MAX) return Promise.resolve(byteCount(job));
      return new Promise((resolve) => {
        waiters.set(job.number, { job, resolve });
        if (turn.push(job) === 1) queueMicrotask(flush);
      });
    },
    async close() {
      closed = true;
      await worker?.terminate();
    },
  };
}

function byteCount({ requestTexts, resultTexts }: CountJob): TokenCount {
  const bytes = (texts: readonly string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return { input: bytes(requestTexts), output: bytes(resultTexts), source: "estimated:bytes" };
}
