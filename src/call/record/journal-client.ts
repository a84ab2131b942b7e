/** The event loop's end of the journal: entries travel in groups, one group at a time, and a promise settles when they are on disk. */
import { Worker } from "node:worker_threads";
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import { type Journal, StoreUnavailable } from "./journal.ts";
import type { JournalReply, JournalRequest, JournalSetup, Numbered } from "./journal-protocol.ts";
import type { JournalTasks, TaskName } from "./journal-tasks.ts";
import { rowsText, writtenIn } from "./journal-text.ts";
import type { LedgerClock } from "./ledger-clock.ts";
import { noticeRow, permitRow, type Row, recordRow, settleRow } from "./rows.ts";

export type OpenJournal = Journal & {
  /** The gateway's id. */
  readonly source: string;
  /** Calls that a crash left open and that are now settled as `unknown`. */
  readonly recovered: number;
  /** Balances that were not what their lines say, and have been set right. */
  readonly repaired: number;
  /** As the options have it. */
  readonly openedMs: number;
  /** Where the ledger's clock starts, and how far the windows of the journal go. */
  readonly clock: LedgerClock;
  /** Those of windows that had not ended then: what the ledger goes on from. */
  readonly balances: readonly Balance[];
  /** In the journal's thread. Rejects with `StoreUnavailable` while the store is away, or with the task's own fault. */
  run: RunTask;
  /** Writes what was handed over before, then ends the thread. */
  close(): Promise<void>;
};

export type RunTask = <Name extends TaskName>(
  name: Name,
  ...args: Parameters<JournalTasks[Name]>
) => Promise<ReturnType<JournalTasks[Name]>>;

export type JournalOptions = JournalSetup & {
  /** Tells of an outage (`down`, with SQLite's words), its end (`up`, with counts), and the thread's death (`died`). */
  readonly onState: (state: "down" | "up" | "died", message: string) => void;
};

/** Rejects where the journal cannot be opened, is damaged, or was written by a newer tollgate; the message says which. */
export async function openJournal(options: JournalOptions): Promise<OpenJournal> {
  const { onState, ...setup } = options;
  const line = startThread(setup, onState);
  const { source, recovered, repaired, clock, balances } = await line.ready;
  return {
    source,
    recovered,
    repaired,
    balances,
    clock,
    openedMs: options.nowMs,
    get available() {
      return line.available();
    },
    permit: (entry) => line.write(() => permitRow(entry)),
    settle: (entry) => line.write(() => settleRow(entry, source)),
    notice: (notice) => line.write(() => noticeRow(notice, source)),
    append: (record: AuditRecord) => line.write(() => recordRow(record, source)),
    run: (name, ...args) => line.run(name, args),
    close: () => line.close(),
  };
}

/** Rows in one transaction: bounds how long the first of them waits for the last. */
const GROUP_MAX = 2_000;

type State = "open" | "closing" | "dead";
type Ready = Extract<JournalReply, { kind: "ready" }>;

function startThread(setup: JournalSetup, onState: JournalOptions["onState"]) {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const worker = new Worker(new URL(`./journal.worker${extension}`, import.meta.url), { workerData: setup });
  const waiters = createWaiters();
  const ready = Promise.withResolvers<Ready>();
  const ended = Promise.withResolvers<void>();
  let state: State = "open";
  let available = true;
  const waiting: Numbered[] = [];
  /** Number of the last row of the group that the thread is writing; null while it has nothing to do. */
  let lastSent: number | null = null;

  worker.on("message", (message: string | JournalReply) => {
    const reply = typeof message === "string" ? writtenIn(message) : message;
    if (reply.kind === "written") answered(reply.numbers, (numbers) => waiters.resolve(numbers));
    else if (reply.kind === "refused") answered(reply.numbers, (numbers) => waiters.reject(numbers, unavailable()));
    else if (reply.kind === "done") waiters.resolve([reply.number], reply.value);
    else if (reply.kind === "fault") answered([reply.number], (numbers) => waiters.reject(numbers, new Error(reply.message)));
    else if (reply.kind === "ready") ready.resolve(reply);
    else if (reply.kind !== "closed") {
      available = reply.kind === "up";
      onState(reply.kind, reply.message);
    }
  });
  const end = (message: string) => {
    const wasOpen = state === "open";
    state = "dead";
    available = false;
    ready.reject(new Error(message));
    ended.resolve();
    waiters.rejectAll(unavailable());
    if (wasOpen) onState("died", message);
  };
  worker.on("error", (fault) => end(fault instanceof Error ? fault.message : String(fault)));
  worker.on("exit", () => state !== "dead" && end("the journal's thread ended"));

  const post = (request: JournalRequest | string) => worker.postMessage(request);
  // What comes while a group is written waits for the next: each group costs two hops between threads, a dozen pages of log and a sync.
  const flush = () => {
    if (lastSent !== null) return;
    const rows = waiting.splice(0, GROUP_MAX);
    lastSent = rows.at(-1)?.number ?? null;
    if (lastSent !== null) post(rowsText(rows));
    else if (state === "closing") post({ kind: "close" });
  };
  const answered = (numbers: readonly number[], settle: (numbers: readonly number[]) => void) => {
    settle(numbers);
    if (numbers.at(-1) !== lastSent) return;
    lastSent = null;
    if (waiting.length > 0 || state === "closing") setImmediate(flush);
  };
  return {
    ready: ready.promise,
    available: () => available,
    /** The row is composed at once: what its entry refers to may change later. */
    async write(compose: () => Row): Promise<void> {
      if (state !== "open") throw unavailable();
      const row = compose();
      const { number, promise } = waiters.add();
      if (waiting.push({ number, row }) === 1) setImmediate(flush);
      await promise;
    },
    async run<T>(name: TaskName, args: readonly unknown[]): Promise<T> {
      if (state !== "open") throw unavailable();
      const { number, promise } = waiters.add();
      post({ kind: "task", number, name, args });
      return (await promise) as T;
    },
    async close(): Promise<void> {
      if (state === "open") {
        state = "closing";
        flush();
      }
      await ended.promise;
    },
  };
}

function createWaiters() {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let lastNumber = 0;
  const take = (number: number): PromiseWithResolvers<unknown> | undefined => {
    const waiter = waiting.get(number);
    waiting.delete(number);
    return waiter;
  };
  return {
    add() {
      lastNumber += 1;
      const waiter = Promise.withResolvers<unknown>();
      waiting.set(lastNumber, waiter);
      return { number: lastNumber, promise: waiter.promise };
    },
    resolve(numbers: readonly number[], value?: unknown): void {
      for (const number of numbers) take(number)?.resolve(value);
    },
    reject(numbers: readonly number[], fault: Error): void {
      for (const number of numbers) take(number)?.reject(fault);
    },
    rejectAll(fault: Error): void {
      this.reject([...waiting.keys()], fault);
    },
  };
}

function unavailable(): StoreUnavailable {
  return new StoreUnavailable("the journal cannot write");
}
