/** Has the ranges of a journal checked on all cores, and hands the findings over in their order. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { checkRange, type Range, type RangeFindings } from "./range-check.ts";
import type { RangeDone, RangeJob } from "./range-check.worker.ts";
import type { Store } from "./store.ts";

/** Records in one range: about half a second of work, and 25 MB that SQLite reads. A multiple of 256. */
const RANGE_RECORDS = 16_384;
/** A thread costs 40 ms to start; more than these wait for the disk. */
const THREADS_MAX = 8;

export type Progress = (done: number, size: number) => void;

export async function checkRanges(
  store: Store,
  file: string,
  size: number,
  { progress, threads: most = availableParallelism() }: { readonly progress: Progress; readonly threads?: number | undefined },
): Promise<RangeFindings[]> {
  const ranges = Array.from({ length: Math.ceil(size / RANGE_RECORDS) }, (_, i) => ({
    first: i * RANGE_RECORDS,
    end: Math.min(size, (i + 1) * RANGE_RECORDS),
  }));
  const threads = Math.min(most, THREADS_MAX, ranges.length);
  const found: RangeFindings[] = [];
  let done = 0;
  const take = (at: number, findings: RangeFindings) => {
    found[at] = findings;
    done += Math.min(RANGE_RECORDS, size - at * RANGE_RECORDS);
    progress(done, size);
  };
  if (threads > 1) await onThreads(file, ranges, threads, take);
  else for (const [at, range] of ranges.entries()) take(at, checkRange(store, range));
  return found;
}

/** The threads take one range after the other by themselves: whoever waits for them may be busy meanwhile. */
async function onThreads(file: string, ranges: readonly Range[], threads: number, take: (at: number, findings: RangeFindings) => void) {
  const job: RangeJob = { file, ranges, taken: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT) };
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const work = () =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL(`./range-check.worker${extension}`, import.meta.url), { workerData: job });
      worker.on("message", ({ at, findings }: RangeDone) => take(at, findings));
      worker.on("error", reject);
      worker.on("exit", () => resolve());
    });
  await Promise.all(Array.from({ length: threads }, work));
}
