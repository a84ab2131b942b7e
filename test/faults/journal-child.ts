/**
 * Writes calls into a journal for ever, as a gateway under load does, and notes on a log of its own what was acknowledged.
 * Arguments: data folder, log file, calls at once, and optionally how many calls to write before it ends by itself.
 */
import { openSync, writeSync } from "node:fs";
import { blankRecord } from "../../src/call/record/compose.ts";
import { StoreUnavailable } from "../../src/call/record/journal.ts";
import { openJournal } from "../../src/call/record/journal-client.ts";
import { lockFolder } from "../../src/call/record/store.ts";
import { mintId } from "../../src/ids.ts";
import { permitEntry, settlementEntry } from "../record/entries.ts";

const [dataDir = "", logFile = "", lanes = "16", limit = "Infinity"] = process.argv.slice(2);
const log = openSync(logFile, "a");
// One write a line, in append mode: what the kernel has taken survives a SIGKILL.
const say = (line: string) => void writeSync(log, `${line}\n`);

lockFolder(dataDir);
const journal = await openJournal({
  dataDir,
  newSource: "gw_01k9x3v7m2q8r5t1w4y6z0abcd",
  nowMs: Date.now(),
  outageRecord: blankRecord("gateway.recovered"),
  onState: (state) => say(`state ${state}`),
});
say(`recovered ${journal.recovered}`);
let left = Number(limit);

async function lane(): Promise<void> {
  while (left-- > 0) {
    const callId = mintId("call", Date.now());
    try {
      await journal.permit(permitEntry(callId));
      say(`permitted ${callId}`);
      await journal.settle(settlementEntry(callId));
      say(`settled ${callId}`);
    } catch (fault) {
      if (!(fault instanceof StoreUnavailable)) throw fault;
      say(`refused ${callId}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

process.send?.("running");
await Promise.all(Array.from({ length: Number(lanes) }, lane));
await journal.close();
say("closed");
process.exit(0);
