/** A thread that checks ranges of one journal, each when it is told to, on its own connection. */
import { parentPort, workerData } from "node:worker_threads";
import { checkRange, type Range } from "./range-check.ts";
import { openReader } from "./store.ts";

const store = openReader((workerData as { file: string }).file);

parentPort?.on("message", (range: Range | null) => {
  if (range !== null) {
    // Records and events of one moment: a purge changes both.
    store.exec("BEGIN");
    const findings = checkRange(store, range);
    store.exec("COMMIT");
    parentPort?.postMessage(findings);
  } else {
    store.close();
    parentPort?.close();
  }
});
