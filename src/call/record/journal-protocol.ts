/** Pure. What the journal's two threads say to each other. */
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import type { TaskName } from "./journal-tasks.ts";
import type { LedgerClock } from "./ledger-clock.ts";
import type { Row } from "./rows.ts";

export type JournalSetup = {
  readonly dataDir: string;
  /** Taken as the gateway's id if the journal has none yet. */
  readonly newSource: string;
  readonly nowMs: number;
  /** The operator says that it is right, whatever windows the journal has: budgets are counted by it from now on. */
  readonly trustClock?: boolean;
  /** The `gateway.recovered` record that follows an outage of the store or a repair; times and details are filled in then. */
  readonly outageRecord: AuditRecord;
};

export type Numbered = { readonly number: number; readonly row: Row };

/** Rows travel as one text beside these (journal-text.ts). */
export type JournalRequest =
  | { readonly kind: "task"; readonly number: number; readonly name: TaskName; readonly args: readonly unknown[] }
  | { readonly kind: "close" };

export type JournalReply =
  | {
      readonly kind: "ready";
      readonly source: string;
      readonly recovered: number;
      readonly repaired: number;
      readonly balances: readonly Balance[];
      readonly clock: LedgerClock;
    }
  | { readonly kind: "written"; readonly numbers: readonly number[] }
  | { readonly kind: "done"; readonly number: number; readonly value: unknown }
  | { readonly kind: "refused"; readonly numbers: readonly number[] }
  | { readonly kind: "fault"; readonly number: number; readonly message: string }
  | { readonly kind: "down"; readonly message: string }
  | { readonly kind: "up"; readonly message: string }
  | { readonly kind: "closed" };
