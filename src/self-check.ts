/** Verifies the whole journal once behind every start, on a thread of its own: damage that a start does not come across is seen all the same. */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { JOURNAL_FILE } from "./call/record/store.ts";
import type { SelfCheckAnswer } from "./call/record/verify.worker.ts";
import type { Config } from "./config.ts";
import type { Log, Metrics } from "./observe.ts";

export type SelfCheck = {
  /** False once the journal is found to be damaged. */
  isSound(): boolean;
  /** Resolves when it is through, or was stopped. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
};

type SelfCheckParts = { readonly config: Pick<Config, "data">; readonly metrics: Pick<Metrics, "gauge">; readonly log: Log };

const STATES = { under_way: 0, sound: 1, damaged: 2, not_done: 3 } as const;

export function startSelfCheck({ config, metrics, log }: SelfCheckParts): SelfCheck {
  let state: keyof typeof STATES = "under_way";
  metrics.gauge(
    "tollgate_journal_verified",
    "Of the verification behind the last start: 0 under way, 1 sound, 2 damaged, 3 it could not be done.",
    () => STATES[state],
  );
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const url = new URL(`./call/record/verify.worker${extension}`, import.meta.url);
  const worker = new Worker(url, { workerData: { file: join(config.data, JOURNAL_FILE) } });
  // A gateway that is to end does not wait for it.
  worker.unref();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  worker.on("message", (answer: SelfCheckAnswer) => {
    if ("fault" in answer) {
      state = "not_done";
      log.error({ why: answer.fault }, "the journal could not be verified");
    } else if (answer.verdict.ok) {
      state = "sound";
      log.info({ records: answer.verdict.size }, "the journal is verified");
    } else {
      state = "damaged";
      const { first_bad, problems } = answer.verdict;
      log.error(
        { first_bad, problems: problems.slice(0, 5) },
        "the journal is damaged: keep the file, and look with tollgate audit verify",
      );
    }
    resolve();
  });
  worker.on("error", (fault) => {
    state = "not_done";
    log.error({ why: fault instanceof Error ? fault.message : String(fault) }, "the journal could not be verified");
  });
  worker.on("exit", () => resolve());
  return {
    isSound: () => state !== "damaged",
    done,
    async stop() {
      await worker.terminate();
    },
  };
}
