/** Keeps the journal writable: writes what waits in one transaction, survives the store's absence, and catches up when it returns. */
import type { AuditRecord } from "./audit-record.ts";
import { createBacklog } from "./backlog.ts";
import { openHighWater } from "./high-water.ts";
import type { JournalReply, JournalSetup, Numbered } from "./journal-protocol.ts";
import { runTask, type TaskName } from "./journal-tasks.ts";
import { recordRow, type SettleRow } from "./rows.ts";
import { codeOf, fileIdentity, openStore, type Store } from "./store.ts";
import { checkTail } from "./tail-check.ts";
import { createWriter, type Mark, type Writer } from "./writer.ts";

/** An open store: its connection, its writer, and which file on disk it is. */
export type Open = { readonly store: Store; readonly writer: Writer; readonly source: string; readonly identity: string };

export type Keeper = {
  write(rows: readonly Numbered[]): void;
  run(number: number, name: TaskName, args: readonly unknown[]): void;
  /** While down: tries whether the store takes writes again. While up: whether the file is still the one that was opened. */
  probe(): void;
  readonly down: boolean;
  close(): void;
};

export function keepJournal(first: Open, setup: JournalSetup, reply: (message: JournalReply) => void): Keeper {
  let open = first;
  let mark: Mark = first.writer.mark();
  const highWater = openHighWater(setup.dataDir);
  highWater.note(mark);
  const advance = () => {
    mark = open.writer.mark();
    highWater.note(mark);
  };
  let down = false;
  const backlog = createBacklog();

  const goDown = (fault: unknown, rows: readonly Numbered[], doubtful: boolean) => {
    down = true;
    reply({ kind: "down", message: `${codeOf(fault)} ${messageOf(fault)}`.trim() });
    refuse(rows, doubtful);
  };
  const refuse = (rows: readonly Numbered[], doubtful: boolean) => {
    backlog.add(
      rows.map((each) => each.row),
      doubtful,
    );
    if (rows.length > 0) reply({ kind: "refused", numbers: rows.map((each) => each.number) });
  };
  const written = (rows: readonly Numbered[]) => {
    advance();
    reply({ kind: "written", numbers: rows.map((each) => each.number) });
  };
  // One row that breaks a rule must not take its neighbours along; a store that cannot write takes all of them.
  const writeOneByOne = (rows: readonly Numbered[]) => {
    for (const [i, each] of rows.entries()) {
      try {
        open.writer.writeAll([each.row]);
        written([each]);
      } catch (fault) {
        if (!isPoison(fault)) return goDown(fault, rows.slice(i), true);
        reply({ kind: "fault", number: each.number, message: messageOf(fault) });
      }
    }
  };
  const comeBack = () => {
    open.store.close();
    open = reopen(setup.dataDir, open.source, mark);
    // A commit that failed may have reached the disk all the same.
    for (const callId of backlog.doubtfulPermits) open.writer.dropPermit(callId);
    const late = backlog.settlements.filter((row) => open.writer.isOpen(row.callId));
    const lost = writeLate(open.writer, late);
    const details = { missed_records: backlog.missed, late_settlements: late.length - lost, lost_settlements: lost };
    open.writer.writeAll([recordRow(summary(setup.outageRecord, new Date(), details), open.source)]);
    advance();
    backlog.clear();
    down = false;
    reply({ kind: "up", message: JSON.stringify(details) });
  };
  return {
    write(rows) {
      if (down) return refuse(rows, false);
      try {
        open.writer.writeAll(rows.map((each) => each.row));
        written(rows);
      } catch (fault) {
        if (isPoison(fault)) writeOneByOne(rows);
        else goDown(fault, rows, true);
      }
    },
    run(number, name, args) {
      if (down) return reply({ kind: "refused", numbers: [number] });
      try {
        const value = runTask({ ...open, dataDir: setup.dataDir }, name, args);
        advance();
        reply({ kind: "done", number, value });
      } catch (fault) {
        if (isPoison(fault)) return reply({ kind: "fault", number, message: messageOf(fault) });
        goDown(fault, [], false);
        reply({ kind: "refused", numbers: [number] });
      }
    },
    probe() {
      if (!down) {
        if (fileIdentity(setup.dataDir) !== open.identity) goDown(new Error("the journal's file was replaced or removed"), [], false);
        return;
      }
      try {
        comeBack();
      } catch {
        // Still away: the next probe tries again.
      }
    },
    get down() {
      return down;
    },
    close() {
      if (!down) open.store.pragma("wal_checkpoint(TRUNCATE)");
      open.store.close();
      highWater.close();
    },
  };
}

export function summary(template: AuditRecord, at: Date, details: AuditRecord["details"]): AuditRecord {
  const time = at.toISOString();
  return { ...template, time_start: time, time_end: time, details };
}

/** After a failed fsync a connection cannot be trusted. The new one must still hold all that was acknowledged, and be able to sync it. */
function reopen(dataDir: string, source: string, mark: Mark): Open {
  const identity = fileIdentity(dataDir);
  const store = openStore(dataDir, false);
  try {
    store.pragma("wal_checkpoint(TRUNCATE)");
    checkTail(store);
    if (store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get() !== source)
      throw new Error("another gateway's journal");
    const leaf = store.prepare("SELECT leaf FROM audit_record WHERE sequence = ?").pluck();
    const found = mark.lastLeaf === null ? null : (leaf.get(mark.size - 1) as Buffer | undefined);
    if (found === undefined || (found !== null && mark.lastLeaf !== null && Buffer.compare(found, Buffer.from(mark.lastLeaf)) !== 0))
      throw new Error("the journal lacks records that were on disk before");
    return { store, writer: createWriter(store), source, identity };
  } catch (fault) {
    store.close();
    throw fault;
  }
}

/** How many of them break a rule and stay open: the next start settles those as `unknown`. */
function writeLate(writer: Writer, rows: readonly SettleRow[]): number {
  try {
    writer.writeAll(rows);
    return 0;
  } catch (fault) {
    if (!isPoison(fault)) throw fault;
  }
  let lost = 0;
  for (const row of rows) {
    try {
      writer.writeAll([row]);
    } catch (fault) {
      if (!isPoison(fault)) throw fault;
      lost += 1;
    }
  }
  return lost;
}

/** A broken constraint or a bug of ours, as opposed to a store that is full, read-only, corrupt or gone. */
function isPoison(fault: unknown): boolean {
  const code = codeOf(fault);
  return !code.startsWith("SQLITE_") || code.startsWith("SQLITE_CONSTRAINT");
}

function messageOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault);
}
