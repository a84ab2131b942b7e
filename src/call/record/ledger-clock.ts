/** Where the clock of budgets starts: never before the latest window that something was counted in, unless the operator vouches for the machine's. */
import type { Store } from "./store.ts";

export type LedgerClock = {
  readonly clockMs: number;
  /** The start of the latest window of the journal, counted by this clock or left; null: there is none. */
  readonly latestWindowMs: number | null;
};

/** When the operator vouched for the machine's clock last, and the newest balance of then: what begins later and was there is left. */
type Vouched = { readonly atMs: number; readonly balance: number };
const VOUCHED = "clock_vouched";

export function ledgerClock(store: Store, nowMs: number, isVouchedFor: boolean): LedgerClock {
  const balance = Number(store.prepare("SELECT coalesce(max(id), 0) FROM balance").pluck().get());
  // Kept, so that a later start without the operator does not go back to those windows.
  if (isVouchedFor)
    store
      .prepare("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
      .run(VOUCHED, JSON.stringify({ atMs: nowMs, balance } satisfies Vouched));
  const written = store.prepare("SELECT value FROM meta WHERE name = ?").pluck().get(VOUCHED) as string | undefined;
  const vouched: Vouched = written === undefined ? { atMs: 0, balance: 0 } : JSON.parse(written);
  const latest = store.prepare("SELECT max(window_start) FROM balance").pluck();
  const counted = store.prepare("SELECT max(window_start) FROM balance WHERE id > @balance OR window_start <= @atMs").pluck();
  const countedMs = (counted.get(vouched) as number | null) ?? 0;
  return { clockMs: Math.max(nowMs, countedMs), latestWindowMs: latest.get() as number | null };
}
