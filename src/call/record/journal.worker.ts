/** The journal's own thread: a group of rows is written in one transaction, and answered once it is on disk. */
import { parentPort, workerData } from "node:worker_threads";
import { checkHighWater } from "./high-water.ts";
import type { JournalReply, JournalRequest, JournalSetup, Numbered } from "./journal-protocol.ts";
import { rowsIn, writtenText } from "./journal-text.ts";
import { keepJournal, type Open, summary } from "./keeper.ts";
import { ledgerClock } from "./ledger-clock.ts";
import { currentBalances, recover } from "./recover.ts";
import { recordRow } from "./rows.ts";
import { fileIdentity, openStore, sourceOf } from "./store.ts";
import { checkTail } from "./tail-check.ts";
import { createWriter } from "./writer.ts";

if (parentPort === null) throw new Error("this file is a worker");
const port = parentPort;
const setup = workerData as JournalSetup;

/** How often a store that refused is tried again. */
const PROBE_MS = 250;
/** How often the file is looked at while all is well; a replaced file is noticed within this. */
const WATCH_MS = 2_000;
const open = openChecked();
const keeper = keepJournal(open, setup, reply);
let timer = setTimeout(look, WATCH_MS);

port.on("message", (request: string | JournalRequest) => {
  if (typeof request === "string") write(rowsIn(request));
  else if (request.kind === "close") close();
  else {
    const wasDown = keeper.down;
    keeper.run(request.number, request.name, request.args);
    if (keeper.down && !wasDown) lookSoon();
  }
});

function write(rows: readonly Numbered[]): void {
  const wasDown = keeper.down;
  keeper.write(rows);
  if (keeper.down && !wasDown) lookSoon();
}

function openChecked(): Open {
  const store = openStore(setup.dataDir, true);
  checkTail(store);
  checkHighWater(store, setup.dataDir);
  const writer = createWriter(store);
  const source = sourceOf(store, setup.newSource);
  const { recovered, repaired } = recover(store, writer, source, setup.nowMs);
  if (repaired > 0)
    writer.writeAll([recordRow(summary(setup.outageRecord, new Date(setup.nowMs), { repaired_balances: repaired }), source)]);
  const clock = ledgerClock(store, setup.nowMs, setup.trustClock === true);
  reply({ kind: "ready", source, recovered, repaired, clock, balances: currentBalances(store, setup.nowMs) });
  return { store, writer, source, identity: fileIdentity(setup.dataDir) };
}

function look(): void {
  keeper.probe();
  lookSoon();
}

function lookSoon(): void {
  clearTimeout(timer);
  timer = setTimeout(look, keeper.down ? PROBE_MS : WATCH_MS);
}

function close(): void {
  clearTimeout(timer);
  try {
    keeper.close();
  } finally {
    reply({ kind: "closed" });
    port.close();
  }
}

function reply(message: JournalReply): void {
  port.postMessage(message.kind === "written" ? writtenText(message.numbers) : message);
}
