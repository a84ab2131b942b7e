/** Pure. What must not be forgotten while the store is away: settlements, permits of doubtful fate, and how many records went missing. */
import type { Row, SettleRow } from "./rows.ts";

/** Settlements kept in memory while the store is away: about 40 MB; beyond it their calls become `unknown` at the next start. */
export const BACKLOG_MAX = 10_000;

export type Backlog = {
  /** `doubtful`: these rows were in a transaction whose end is not known, so their permits may be on disk after all. */
  add(rows: readonly Row[], doubtful: boolean): void;
  readonly settlements: readonly SettleRow[];
  readonly doubtfulPermits: readonly string[];
  /** Requests of which no record was written: refusals, and calls refused for want of a permit. */
  readonly missed: number;
  clear(): void;
};

export function createBacklog(settlementsMax: number = BACKLOG_MAX): Backlog {
  let settlements: SettleRow[] = [];
  let doubtfulPermits: string[] = [];
  let missed = 0;
  return {
    add(rows, doubtful) {
      for (const row of rows) {
        if (row.kind === "settle" && settlements.length < settlementsMax) settlements.push(row);
        else missed += 1;
        if (row.kind === "permit" && doubtful) doubtfulPermits.push(row.callId);
      }
    },
    get settlements() {
      return settlements;
    },
    get doubtfulPermits() {
      return doubtfulPermits;
    },
    get missed() {
      return missed;
    },
    clear() {
      settlements = [];
      doubtfulPermits = [];
      missed = 0;
    },
  };
}
