/** Writes the journal's rows: in one transaction all that was waiting, or nothing of it. */
import { balanceWriter } from "./balance-writer.ts";
import { keyWriter } from "./key-writer.ts";
import { logWriter } from "./log-writer.ts";
import type { KeyClaim, KeyEnding } from "./retry-key.ts";
import type { Move, NoticeRow, PermitRow, RecordRow, Row, SettleRow, UsageRow } from "./rows.ts";
import type { Store } from "./store.ts";
import { usageWriter } from "./usage-writer.ts";

export type Writer = {
  /** All or nothing; throws what SQLite throws. */
  writeAll(rows: readonly Row[]): void;
  /** A task's own transaction, all or nothing; throws what `act` throws. */
  transact<T>(act: (pen: Pen) => T): T;
  /** Whether the call has a permit on disk and no settlement. */
  isOpen(callId: string): boolean;
  /** Gives a hold back whose permit reached the disk although its commit had failed: such a call was never sent. */
  dropPermit(callId: string): void;
  /** How many records there are, and the leaf of the last: what a store that was opened again must still hold. */
  mark(): Mark;
};

/** What a task writes with, within its transaction. */
export type Pen = {
  /** Attributes are deleted in this transaction: their row numbers may become others'. */
  forgetAttributes(): void;
  /** The record's sequence number. */
  append(record: RecordRow): number;
  /** What a record adds to a balance, and takes from it. */
  post(move: Move, record: number): void;
  /** The event's sequence number. `position`: among the events of its record. */
  addUsage(usage: UsageRow, record: number, position: number): number;
};

export type Mark = { readonly size: number; readonly lastLeaf: Buffer | null };

export function createWriter(store: Store): Writer {
  const begin = store.prepare("BEGIN IMMEDIATE");
  const commit = store.prepare("COMMIT");
  const insertOpen = store.prepare("INSERT INTO open_call (call_id, at_ms, moves, audit, usage) VALUES (?, ?, ?, ?, ?)");
  const deleteOpen = store.prepare("DELETE FROM open_call WHERE call_id = ?");
  const movesOfOpen = store.prepare("SELECT moves FROM open_call WHERE call_id = ?").pluck();
  const insertNotice = store.prepare("INSERT OR IGNORE INTO budget_notice (budget, scope, window_start, percent) VALUES (?, ?, ?, ?)");
  const log = logWriter(store);
  const balances = balanceWriter(store);
  const usage = usageWriter(store);
  const keys = keyWriter(store);

  const permit = (row: PermitRow) => {
    insertOpen.run(row.callId, row.atMs, row.moves, row.audit, row.usage);
    for (const move of movesIn(row.moves)) balances.move(move);
    if (row.key !== "") keys.take(JSON.parse(row.key) as KeyClaim);
  };
  const notice = ({ budget, scope, windowStartMs, percent, record }: NoticeRow) => {
    if (insertNotice.run(budget, scope, windowStartMs, percent).changes === 1) log.append(record);
  };
  const settle = (row: SettleRow) => {
    if (deleteOpen.run(row.callId).changes !== 1) throw new Error(`${row.callId} has no permit to settle`);
    const record = log.append(row.record);
    for (const move of movesIn(row.moves)) balances.post(move, record);
    if (row.usage !== null) usage.add(row.usage, record);
    if (row.key !== "") keys.end(JSON.parse(row.key) as KeyEnding);
    for (const each of row.notices) notice(each);
  };
  const write = (row: Row) => {
    if (row.kind === "permit") permit(row);
    else if (row.kind === "settle") settle(row);
    else if (row.kind === "notice") notice(row);
    else log.append(row);
  };
  const inOneTransaction = <T>(act: () => T): T => {
    const logBefore = log.position();
    const usageBefore = usage.position();
    begin.run();
    try {
      const value = act();
      balances.flush();
      commit.run();
      return value;
    } catch (fault) {
      rollBack(store);
      log.returnTo(logBefore);
      usage.returnTo(usageBefore);
      balances.forget();
      throw fault;
    }
  };
  return {
    writeAll: (rows) =>
      inOneTransaction(() => {
        for (const row of rows) write(row);
      }),
    transact: (act) =>
      inOneTransaction(() => act({ forgetAttributes: usage.forget, append: log.append, post: balances.post, addUsage: usage.add })),
    isOpen: (callId) => movesOfOpen.get(callId) !== undefined,
    dropPermit: (callId) =>
      inOneTransaction(() => {
        const moves = movesOfOpen.get(callId) as string | undefined;
        if (moves === undefined) return;
        for (const [budget, scope, start, end, , held] of movesIn(moves)) balances.move([budget, scope, start, end, 0, -held, 0]);
        deleteOpen.run(callId);
        keys.drop(callId);
      }),
    mark: () => log.mark(),
  };
}

function movesIn(text: string): readonly Move[] {
  return JSON.parse(text) as Move[];
}

/** Many of SQLite's faults have rolled back already; a rollback that fails too must not hide the first fault. */
function rollBack(store: Store): void {
  try {
    if (store.inTransaction) store.exec("ROLLBACK");
  } catch {
    // The store goes down for the first fault and is opened anew.
  }
}
