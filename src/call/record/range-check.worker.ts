/** A thread that checks ranges of one journal on its own connection, the next one that nobody has taken, until there is none. */
import { parentPort, workerData } from "node:worker_threads";
import { checkRange, type Range, type RangeFindings } from "./range-check.ts";
import { openReader } from "./store.ts";

export type RangeJob = {
  readonly file: string;
  readonly ranges: readonly Range[];
  /** How many of them are taken, by all threads. */
  readonly taken: SharedArrayBuffer;
};
export type RangeDone = { readonly at: number; readonly findings: RangeFindings };

const { file, ranges, taken } = workerData as RangeJob;
const counter = new Int32Array(taken);
const store = openReader(file);

for (let at = Atomics.add(counter, 0, 1); at < ranges.length; at = Atomics.add(counter, 0, 1)) {
  const range = ranges[at];
  if (range === undefined) break;
  // Records and events of one moment: a purge changes both.
  store.exec("BEGIN");
  const findings = checkRange(store, range);
  store.exec("COMMIT");
  parentPort?.postMessage({ at, findings } satisfies RangeDone);
}
store.close();
