/** Pure. What the journal's two threads say to each other. */
import type { Balance } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import type { Entry } from "./writer.ts";

export type JournalSetup = {
  readonly dataDir: string;
  /** Taken as the gateway's id if the journal has none yet. */
  readonly newSource: string;
  readonly nowMs: number;
  /** The record that follows an outage of the store; times and details are filled in then. */
  readonly outageRecord: AuditRecord;
};

export type Numbered = { readonly number: number; readonly entry: Entry };

export type JournalRequest =
  | { readonly kind: "entries"; readonly entries: readonly Numbered[] }
  | { readonly kind: "cursor"; readonly number: number; readonly sink: string; readonly sequence: number; readonly rejected: number }
  | { readonly kind: "close" };

export type JournalReply =
  | {
      readonly kind: "ready";
      readonly source: string;
      readonly recovered: number;
      readonly repaired: number;
      readonly balances: readonly Balance[];
    }
  | { readonly kind: "written"; readonly numbers: readonly number[] }
  | { readonly kind: "refused"; readonly numbers: readonly number[] }
  | { readonly kind: "fault"; readonly number: number; readonly message: string }
  | { readonly kind: "down"; readonly message: string }
  | { readonly kind: "up" }
  | { readonly kind: "closed" };
