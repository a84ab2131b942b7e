/** The journal's books for whoever must not block the event loop: the thread starts with the first question. */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Books } from "./queries.ts";
import type { ReaderAnswer } from "./reader.worker.ts";
import { JOURNAL_FILE } from "./store.ts";

export type Reader = {
  ask<Name extends keyof Books>(name: Name, ...args: Parameters<Books[Name]>): Promise<ReturnType<Books[Name]>>;
  close(): Promise<void>;
};

/** Questions under way at once; an administrator's page asks a handful. */
const WAITING_MAX = 1_000;

export function openReaderThread(dataDir: string): Reader {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const waiters = new Map<number, { resolve: (value: unknown) => void; reject: (fault: Error) => void }>();
  let lastNumber = 0;
  let worker: Worker | null = null;
  const start = (): Worker => {
    const started = new Worker(new URL(`./reader.worker${extension}`, import.meta.url), {
      workerData: { file: join(dataDir, JOURNAL_FILE) },
    });
    started.on("message", ({ number, value, fault }: ReaderAnswer) => {
      const waiter = waiters.get(number);
      waiters.delete(number);
      if (fault === null) waiter?.resolve(value);
      else waiter?.reject(new Error(fault));
    });
    started.on("error", (fault) => {
      for (const waiter of waiters.values()) waiter.reject(fault instanceof Error ? fault : new Error(String(fault)));
      waiters.clear();
      worker = null;
    });
    started.unref();
    return started;
  };
  return {
    ask: (name, ...args) =>
      new Promise((resolve, reject) => {
        if (waiters.size >= WAITING_MAX) return reject(new Error("too many questions at once"));
        lastNumber += 1;
        waiters.set(lastNumber, { resolve: resolve as (value: unknown) => void, reject });
        worker ??= start();
        worker.postMessage({ number: lastNumber, question: { name, args } });
      }),
    async close() {
      await worker?.terminate();
    },
  };
}
