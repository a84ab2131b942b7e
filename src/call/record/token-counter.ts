/** Counts short texts on the spot and long ones off the event loop; where neither can answer, byte lengths stand in. */
import { Worker } from "node:worker_threads";
import type { CountAnswer, CountJob } from "./count.worker.ts";
import type { CountTokens, TokenCount } from "./token-count.ts";

export type TokenCounter = { readonly count: CountTokens; close(): Promise<void> };

/** What the tokenizer does with texts, once it is loaded. */
type Tokenizer = (requestTexts: readonly string[], resultTexts: readonly string[]) => TokenCount;

/** Texts of a call up to this are counted on the event loop: 60 us of English, 500 us at worst, against 300 us for two hops between threads. */
const SHORT_CHARS_MAX = 1_024;
/** After the thread has died: how long byte lengths stand in before a new one is started, so that a broken one is not started in a loop. */
const PAUSE_MS = 1_000;
/** Jobs that wait for the thread: beyond it the newest are counted by their bytes, on the spot. About 10,000 calls a second pass. */
const WAITING_MAX = 20_000;

/** Loads the tokenizer at once (0.15 s), so that the first call finds it ready; the thread starts with the first long text. */
export function openTokenCounter(onFault: (message: string) => void): TokenCounter {
  const thread = openThread(onFault);
  let tokenizer: Tokenizer | null = null;
  const loaded = import("./count.ts").then(
    ({ countTexts }) => {
      tokenizer = countTexts;
    },
    (fault) => onFault(fault instanceof Error ? fault.message : String(fault)),
  );
  return {
    count(requestTexts, resultTexts) {
      if (charsOf(requestTexts) + charsOf(resultTexts) > SHORT_CHARS_MAX) return thread.count(requestTexts, resultTexts);
      if (tokenizer !== null) return Promise.resolve(tokenizer(requestTexts, resultTexts));
      return loaded.then(() => tokenizer?.(requestTexts, resultTexts) ?? byteCount({ requestTexts, resultTexts }));
    },
    close: thread.close,
  };
}

type Waiter = { readonly job: CountJob; readonly resolve: (count: TokenCount) => void };

/** Jobs of one turn travel together. */
function openThread(onFault: (message: string) => void): TokenCounter {
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

function charsOf(texts: readonly string[]): number {
  let chars = 0;
  for (const text of texts) chars += text.length;
  return chars;
}

function byteCount({ requestTexts, resultTexts }: Omit<CountJob, "number">): TokenCount {
  const bytes = (texts: readonly string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return { input: bytes(requestTexts), output: bytes(resultTexts), source: "estimated:bytes" };
}
