/** Where the clock of budgets starts: never before the latest window that something was counted in, unless the operator vouches for the machine's. */
import type { Store } from "./store.ts";

export type LedgerClock = {
  readonly clockMs: number;
  /** The start of the latest window of the journal, counted by this clock or left; null: there is none. */
  readonly latestWindowMs: number | null;
};

/** When the operator vouched for the machine's clock last, and the newest balance and record of then: what begins later and was there is left. */
type Vouched = { readonly atMs: number; readonly balance: number; readonly record: number };
const VOUCHED = "clock_vouched";

/** Not of a window that was left, unless something was used there since: its time has come. What is given back there is no use. */
const COUNTED = `SELECT max(window_start) FROM balance WHERE id > @balance OR window_start <= @atMs
  OR EXISTS (SELECT 1 FROM posted_line AS p WHERE p.balance = balance.id AND p.record > @record AND (p.posted > 0 OR p.debt > 0))`;

export function ledgerClock(store: Store, nowMs: number, isVouchedFor: boolean): LedgerClock {
  const newest = (column: string, table: string) => Number(store.prepare(`SELECT coalesce(max(${column}), 0) FROM ${table}`).pluck().get());
  const vouchedNow = (): Vouched => ({ atMs: nowMs, balance: newest("id", "balance"), record: newest("sequence", "audit_record") });
  // Kept, so that a later start without the operator does not go back to those windows.
  if (isVouchedFor)
    store
      .prepare("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
      .run(VOUCHED, JSON.stringify(vouchedNow()));
  const written = store.prepare("SELECT value FROM meta WHERE name = ?").pluck().get(VOUCHED) as string | undefined;
  const vouched: Vouched = written === undefined ? { atMs: 0, balance: 0, record: 0 } : JSON.parse(written);
  const latest = store.prepare("SELECT max(window_start) FROM balance").pluck();
  const counted = store.prepare(COUNTED).pluck();
  const countedMs = (counted.get(vouched) as number | null) ?? 0;
  return { clockMs: Math.max(nowMs, countedMs), latestWindowMs: latest.get() as number | null };
}
