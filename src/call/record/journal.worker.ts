/** The journal's own thread: everything that waits is written in one transaction, and answered once it is on disk. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { JournalReply, JournalRequest, JournalSetup, Numbered } from "./journal-protocol.ts";
import { readBalances, recover } from "./recover.ts";
import { codeOf, openStore, type Store } from "./store.ts";
import { createWriter, type Entry, type Writer } from "./writer.ts";

if (parentPort === null) throw new Error("this file is a worker");
const port = parentPort;
const setup = workerData as JournalSetup;

/** How often a store that refused is tried again. */
const PROBE_MS = 250;
/** Settlements kept in memory while the store is away: about 30 MB; beyond it their calls become `unknown` at the next start. */
const WAITING_MAX = 10_000;

let store: Store = openStore(setup.dataDir);
let writer: Writer = createWriter(store, sourceOf(store));
let down = false;
let missedRecords = 0;
let waiting: Entry[] = [];

const recovery = recover(store, writer, setup.nowMs);
reply({
  kind: "ready",
  source: sourceOf(store),
  recovered: recovery.recovered,
  repaired: recovery.repaired,
  balances: readBalances(store),
});

port.on("message", (first: JournalRequest) => {
  const entries: Numbered[] = [];
  let closing = false;
  for (let request: JournalRequest | undefined = first; request !== undefined; request = nextRequest()) {
    if (request.kind === "entries") entries.push(...request.entries);
    else if (request.kind === "cursor") moveCursor(request.sink, request.sequence, request.rejected, request.number);
    else closing = true;
  }
  if (entries.length > 0) write(entries);
  if (closing) close();
});

function nextRequest(): JournalRequest | undefined {
  return receiveMessageOnPort(port)?.message as JournalRequest | undefined;
}

function write(entries: readonly Numbered[]): void {
  if (down) return refuseAll(entries);
  try {
    writer.writeAll(entries.map((each) => each.entry));
    reply({ kind: "written", numbers: entries.map((each) => each.number) });
  } catch (fault) {
    // One entry that breaks a rule must not take its neighbours along; a store that cannot write takes all of them.
    if (isPoison(fault)) writeOneByOne(entries);
    else goDown(fault, entries);
  }
}

function writeOneByOne(entries: readonly Numbered[]): void {
  for (const [i, each] of entries.entries()) {
    try {
      writer.writeAll([each.entry]);
      reply({ kind: "written", numbers: [each.number] });
    } catch (fault) {
      if (!isPoison(fault)) return goDown(fault, entries.slice(i));
      reply({ kind: "fault", number: each.number, message: messageOf(fault) });
    }
  }
}

/** A broken constraint or a bug of ours, as opposed to a store that is full, read-only, corrupt or gone. */
function isPoison(fault: unknown): boolean {
  const code = codeOf(fault);
  return !code.startsWith("SQLITE_") || code.startsWith("SQLITE_CONSTRAINT");
}

function goDown(fault: unknown, entries: readonly Numbered[]): void {
  down = true;
  reply({ kind: "down", message: `${codeOf(fault)} ${messageOf(fault)}`.trim() });
  refuseAll(entries);
  setTimeout(probe, PROBE_MS);
}

function refuseAll(entries: readonly Numbered[]): void {
  for (const { entry } of entries) {
    if (entry.kind === "settle" && waiting.length < WAITING_MAX) waiting.push(entry);
    else if (entry.kind !== "permit") missedRecords += 1;
  }
  reply({ kind: "refused", numbers: entries.map((each) => each.number) });
}

/** After a failed fsync a connection cannot be trusted: a new one is opened, and only a write that commits ends the outage. */
function probe(): void {
  try {
    store.close();
    store = openStore(setup.dataDir);
    store.prepare("INSERT INTO meta (name, value) VALUES ('probe', '') ON CONFLICT (name) DO UPDATE SET value = ''").run();
    writer = createWriter(store, sourceOf(store));
    const summary: Entry = {
      kind: "append",
      entry: { ...setup.outageRecord, ...timesNow(), details: { missed_records: missedRecords, late_settlements: waiting.length } },
    };
    writer.writeAll([...waiting, summary]);
  } catch {
    setTimeout(probe, PROBE_MS);
    return;
  }
  waiting = [];
  missedRecords = 0;
  down = false;
  reply({ kind: "up" });
}

function timesNow(): { time_start: string; time_end: string } {
  const now = new Date().toISOString();
  return { time_start: now, time_end: now };
}

function moveCursor(sink: string, sequence: number, rejected: number, number: number): void {
  try {
    store
      .prepare(
        `INSERT INTO sink_cursor (sink, sequence, rejected) VALUES (?, ?, ?)
         ON CONFLICT (sink) DO UPDATE SET sequence = max(sequence, excluded.sequence), rejected = rejected + excluded.rejected`,
      )
      .run(sink, sequence, rejected);
    reply({ kind: "written", numbers: [number] });
  } catch {
    reply({ kind: "refused", numbers: [number] });
  }
}

/** The gateway's id: made once, kept in the journal, the `source` of every event and record. */
function sourceOf(from: Store): string {
  from.prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('source', ?)").run(setup.newSource);
  return String(from.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get());
}

function close(): void {
  store.pragma("wal_checkpoint(TRUNCATE)");
  store.close();
  reply({ kind: "closed" });
  port.close();
}

function reply(message: JournalReply): void {
  port.postMessage(message);
}

function messageOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault);
}
