/** Writes the journal's entries: in one transaction all that was waiting, each entry whole or not at all. */
import canonicalize from "canonicalize";
import type { HoldLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import type { PermitEntry, SettlementEntry } from "./journal.ts";
import { leafHash, rootOf } from "./merkle.ts";
import type { Store } from "./store.ts";
import { FAN_OUT } from "./tree.ts";
import type { UsageEvent } from "./usage-event.ts";

export type Entry =
  | { readonly kind: "permit"; readonly entry: PermitEntry }
  | { readonly kind: "settle"; readonly entry: SettlementEntry }
  | { readonly kind: "append"; readonly entry: AuditRecord };

export type Writer = {
  /** All or nothing; throws what SQLite throws. */
  writeAll(entries: readonly Entry[]): void;
};

export function createWriter(store: Store, source: string): Writer {
  const begin = store.prepare("BEGIN IMMEDIATE");
  const commit = store.prepare("COMMIT");
  const rollback = store.prepare("ROLLBACK");
  const insertOpen = store.prepare("INSERT INTO open_call (call_id, at_ms, lines, audit, usage) VALUES (?, ?, ?, ?, ?)");
  const deleteOpen = store.prepare("DELETE FROM open_call WHERE call_id = ?");
  const insertUsage = store.prepare("INSERT INTO usage_event (sequence, call_id, time, subject, data) VALUES (?, ?, ?, ?, ?)");
  const log = logWriter(store, source);
  const balances = balanceWriter(store);
  let nextUsage = Number(store.prepare("SELECT coalesce(max(sequence), 0) + 1 FROM usage_event").pluck().get());

  const permit = (entry: PermitEntry) => {
    insertOpen.run(entry.callId, entry.atMs, JSON.stringify(entry.lines), JSON.stringify(entry.audit), JSON.stringify(entry.usage));
    for (const line of entry.lines) balances.add(line, 0, line.amount, 0);
  };
  const settle = (entry: SettlementEntry) => {
    if (deleteOpen.run(entry.callId).changes !== 1) throw new Error(`${entry.callId} has no permit to settle`);
    for (const { line, posted, debt } of entry.lines) balances.add(line, posted, -line.amount, debt);
    if (entry.usage !== null) usage(entry.usage);
    log.append(entry.audit);
  };
  const usage = ({ time, subject, data }: UsageEvent) => insertUsage.run(nextUsage++, data.call_id, time, subject, JSON.stringify(data));
  const write = (each: Entry) => {
    if (each.kind === "permit") permit(each.entry);
    else if (each.kind === "settle") settle(each.entry);
    else log.append(each.entry);
  };
  return {
    writeAll(entries) {
      const usageBefore = nextUsage;
      const logBefore = log.position();
      begin.run();
      try {
        for (const each of entries) write(each);
        commit.run();
      } catch (fault) {
        nextUsage = usageBefore;
        log.returnTo(logBefore);
        if (store.inTransaction) rollback.run();
        throw fault;
      }
    },
  };
}

/** Numbers the records, canonicalises and hashes them, and stores the root of every complete run of 256. */
function logWriter(store: Store, source: string) {
  const insert = store.prepare("INSERT INTO audit_record (sequence, kind, call_id, body, leaf) VALUES (?, ?, ?, ?, ?)");
  const insertNode = store.prepare("INSERT INTO merkle_node (level, number, hash) VALUES (?, ?, ?)");
  const nodes = store.prepare("SELECT hash FROM merkle_node WHERE level = ? AND number >= ? ORDER BY number").pluck();
  let next = Number(store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck().get());
  const tail = store.prepare("SELECT leaf FROM audit_record WHERE sequence >= ? ORDER BY sequence").pluck();
  let open = tail.all(next - (next % FAN_OUT)) as Buffer[];

  const closeRun = () => {
    insertNode.run(1, next / FAN_OUT - 1, rootOf(open));
    open = [];
    for (let level = 2, unit = FAN_OUT * FAN_OUT; next % unit === 0; level += 1, unit *= FAN_OUT) {
      const number = next / unit - 1;
      insertNode.run(level, number, rootOf(nodes.all(level - 1, number * FAN_OUT) as Buffer[]));
    }
  };
  return {
    append(record: AuditRecord): void {
      const body = canonicalize({ ...record, sequence: next, source });
      if (body === undefined) throw new Error("an audit record is not JSON");
      const leaf = leafHash(Buffer.from(body));
      insert.run(next, record.kind, record.call_id, body, leaf);
      open.push(leaf);
      next += 1;
      if (open.length === FAN_OUT) closeRun();
    },
    position: () => ({ next, open: open.slice() }),
    returnTo(position: { next: number; open: Buffer[] }): void {
      next = position.next;
      open = position.open;
    },
  };
}

function balanceWriter(store: Store) {
  const upsert = store.prepare(
    `INSERT INTO balance (budget, scope, window_start, window_end, committed, held, debt) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (budget, scope, window_start) DO UPDATE SET
       committed = committed + excluded.committed, held = held + excluded.held, debt = debt + excluded.debt`,
  );
  const change = store.prepare(
    "UPDATE balance SET committed = committed + ?, held = held + ?, debt = debt + ? WHERE budget = ? AND scope = ? AND window_start = ?",
  );
  return {
    add({ draw, windowStartMs, windowEndMs }: HoldLine, committed: number, held: number, debt: number): void {
      // The CHECKs judge the proposed row as well, so a negative change goes through UPDATE.
      if (change.run(committed, held, debt, draw.budget, draw.scope, windowStartMs).changes === 1) return;
      upsert.run(draw.budget, draw.scope, windowStartMs, windowEndMs, committed, held, debt);
    },
  };
}
