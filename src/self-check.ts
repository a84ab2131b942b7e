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
  stop(): Promise<void>;
};

type SelfCheckParts = { readonly config: Pick<Config, "data">; readonly metrics: Pick<Metrics, "gauge">; readonly log: Log };

/** The first calls after a start have the machine for themselves. */
const AFTER_START_MS = 1_000;

const STATES = { under_way: 0, sound: 1, damaged: 2, not_done: 3 } as const;

export function startSelfCheck({ config, metrics, log }: SelfCheckParts): SelfCheck {
  let state: keyof typeof STATES = "under_way";
  metrics.gauge(
    "tollgate_journal_verified",
    "Of the verification behind the last start: 0 under way, 1 sound, 2 damaged, 3 it could not be done.",
    () => STATES[state],
  );
  let worker: Worker | null = null;
  const begin = () => {
    worker = startThread(join(config.data, JOURNAL_FILE));
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
    });
    worker.on("error", (fault) => {
      state = "not_done";
      log.error({ why: fault instanceof Error ? fault.message : String(fault) }, "the journal could not be verified");
    });
  };
  const timer = setTimeout(begin, AFTER_START_MS).unref();
  return {
    isSound: () => state !== "damaged",
    async stop() {
      clearTimeout(timer);
      await worker?.terminate();
    },
  };
}

function startThread(file: string): Worker {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const worker = new Worker(new URL(`./call/record/verify.worker${extension}`, import.meta.url), { workerData: { file } });
  // A gateway that is to end does not wait for it.
  worker.unref();
  return worker;
}
