/** The event loop's end of the journal: entries of one turn travel together, and a promise settles when they are on disk. */
import { Worker } from "node:worker_threads";
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { type Journal, StoreUnavailable } from "./journal.ts";
import type { JournalReply, JournalRequest, JournalSetup, Numbered } from "./journal-protocol.ts";
import type { Entry } from "./writer.ts";

export type OpenJournal = Journal & {
  /** The gateway's id. */
  readonly source: string;
  /** Calls that a crash left open and that are now settled as `unknown`. */
  readonly recovered: number;
  /** Balances whose held amount had to be set right at start. */
  readonly repaired: number;
  readonly balances: readonly Balance[];
  /** Durable position of a sink; `rejected` events were set aside. Rejects while the store is away. */
  moveCursor(sink: string, sequence: number, rejected: number): Promise<void>;
  close(): Promise<void>;
};

export type JournalOptions = {
  readonly dataDir: string;
  readonly newSource: string;
  readonly nowMs: number;
  readonly outageRecord: AuditRecord;
  /** Tells of an outage (`down`, with SQLite's words), its end (`up`), and the thread's death (`died`). */
  readonly onState: (state: "down" | "up" | "died", message: string) => void;
};

type Waiter = { readonly resolve: () => void; readonly reject: (fault: Error) => void };

export async function openJournal(options: JournalOptions): Promise<OpenJournal> {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const { dataDir, newSource, nowMs, outageRecord } = options;
  const setup: JournalSetup = { dataDir, newSource, nowMs, outageRecord };
  const worker = new Worker(new URL(`./journal.worker${extension}`, import.meta.url), { workerData: setup });
  const waiters = new Map<number, Waiter>();
  const ready = Promise.withResolvers<Extract<JournalReply, { kind: "ready" }>>();
  const closed = Promise.withResolvers<void>();
  let available = true;
  let lastNumber = 0;
  let turn: Numbered[] = [];

  const settleAll = (numbers: readonly number[], act: (waiter: Waiter) => void) => {
    for (const number of numbers) {
      const waiter = waiters.get(number);
      waiters.delete(number);
      if (waiter !== undefined) act(waiter);
    }
  };
  const unavailable = () => new StoreUnavailable("the journal cannot write");
  worker.on("message", (reply: JournalReply) => {
    if (reply.kind === "written") settleAll(reply.numbers, (waiter) => waiter.resolve());
    else if (reply.kind === "refused") settleAll(reply.numbers, (waiter) => waiter.reject(unavailable()));
    else if (reply.kind === "fault") settleAll([reply.number], (waiter) => waiter.reject(new Error(reply.message)));
    else if (reply.kind === "ready") ready.resolve(reply);
    else if (reply.kind === "closed") closed.resolve();
    else {
      available = reply.kind === "up";
      options.onState(reply.kind, reply.kind === "down" ? reply.message : "");
    }
  });
  const died = (message: string) => {
    available = false;
    ready.reject(new Error(`the journal's thread ended: ${message}`));
    closed.resolve();
    settleAll([...waiters.keys()], (waiter) => waiter.reject(unavailable()));
    options.onState("died", message);
  };
  worker.on("error", (fault) => died(fault instanceof Error ? fault.message : String(fault)));
  worker.on("exit", (code) => code !== 0 && available && died(`exit code ${code}`));

  const post = (request: JournalRequest) => worker.postMessage(request);
  const flush = () => {
    const entries = turn;
    turn = [];
    post({ kind: "entries", entries });
  };
  const write = (entry: Entry): Promise<void> =>
    new Promise((resolve, reject) => {
      lastNumber += 1;
      waiters.set(lastNumber, { resolve, reject });
      if (turn.push({ number: lastNumber, entry }) === 1) queueMicrotask(flush);
    });

  const { source, recovered, repaired, balances } = await ready.promise;
  return {
    source,
    recovered,
    repaired,
    balances,
    get available() {
      return available;
    },
    permit: (entry) => write({ kind: "permit", entry }),
    settle: (entry) => write({ kind: "settle", entry }),
    append: (entry) => write({ kind: "append", entry }),
    moveCursor: (sink, sequence, rejected) =>
      new Promise((resolve, reject) => {
        lastNumber += 1;
        waiters.set(lastNumber, { resolve, reject });
        post({ kind: "cursor", number: lastNumber, sink, sequence, rejected });
      }),
    async close() {
      post({ kind: "close" });
      await closed.promise;
      await worker.terminate();
    },
  };
}
