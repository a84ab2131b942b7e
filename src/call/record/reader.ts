/** The journal's books for whoever must not block the event loop: the thread starts with the first question. */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Books } from "./books.ts";
import type { ReaderAnswer } from "./reader.worker.ts";
import { JOURNAL_FILE } from "./store.ts";

export type Reader = {
  /** Rejects with a fault of the store, or when the reader was closed. */
  ask<Name extends keyof Books>(name: Name, ...args: Parameters<Books[Name]>): Promise<ReturnType<Books[Name]>>;
  close(): Promise<void>;
};

/** Questions under way at once; an administrator's page asks a handful. */
const WAITING_MAX = 1_000;

export function openReaderThread(dataDir: string): Reader {
  const waiters = new Map<number, PromiseWithResolvers<unknown>>();
  let lastNumber = 0;
  let worker: Worker | null = null;
  let closed = false;

  const rejectAll = (message: string) => {
    for (const waiter of waiters.values()) waiter.reject(new Error(message));
    waiters.clear();
    worker = null;
  };
  const start = (): Worker => {
    const started = startThread(join(dataDir, JOURNAL_FILE));
    started.on("message", ({ number, value, fault }: ReaderAnswer) => {
      const waiter = waiters.get(number);
      waiters.delete(number);
      // A process may end while nobody asks.
      if (waiters.size === 0) started.unref();
      if (fault === null) waiter?.resolve(value);
      else waiter?.reject(new Error(fault));
    });
    started.on("error", (fault) => rejectAll(fault instanceof Error ? fault.message : String(fault)));
    started.on("exit", () => worker === started && rejectAll("the reading thread ended"));
    return started;
  };
  return {
    async ask(name, ...args) {
      if (closed) throw new Error("the reader is closed");
      if (waiters.size >= WAITING_MAX) throw new Error("too many questions at once");
      lastNumber += 1;
      const waiter = Promise.withResolvers<unknown>();
      waiters.set(lastNumber, waiter);
      worker ??= start();
      worker.ref();
      worker.postMessage({ number: lastNumber, question: { name, args } });
      // The answer is of the question's own type: both were named together.
      return waiter.promise as Promise<ReturnType<Books[typeof name]>>;
    },
    async close() {
      closed = true;
      await worker?.terminate();
    },
  };
}

function startThread(file: string): Worker {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  return new Worker(new URL(`./reader.worker${extension}`, import.meta.url), { workerData: { file } });
}
