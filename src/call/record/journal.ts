/** The journal as the life of a call sees it: a promise resolves when its rows are on disk (group commit, FULL). */

import type { CallId } from "../../ids.ts";
import type { HoldLine, PostedLine } from "../budget/reservation.ts";
import type { AuditRecord } from "./audit-record.ts";
import type { KeyClaim, KeyEnding } from "./retry-key.ts";
import type { UsageEvent } from "./usage-event.ts";

/** What a call of unknown fate is billed: its hold, and the bytes that it sends. */
export type HeldUsage = Pick<UsageEvent["data"], "target_kind" | "tool"> &
  Pick<UsageEvent["data"]["quantity"], "calls" | "tool_tokens" | "cost_micros" | "bytes_out" | "outcomes" | "outputs">;

/** Written before the first upstream byte. `audit` and `usage` are what recovery posts, as fate unknown, if nothing else comes. */
export type PermitEntry = {
  readonly callId: CallId;
  readonly atMs: number;
  readonly lines: readonly HoldLine[];
  readonly audit: AuditRecord;
  readonly usage: HeldUsage;
  /** The key that its caller gave it, which is taken from here on. */
  readonly key?: KeyClaim;
};

/** A threshold that a window of a budget has crossed, in percent of its limit; 0: the first call that it refused. Told once each. */
export type Notice = {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  readonly percent: number;
  readonly record: AuditRecord;
};

/** Settlement, usage event and audit record in one transaction, together with the balances. */
export type SettlementEntry = {
  readonly callId: CallId;
  readonly atMs: number;
  readonly state: "posted" | "voided" | "unknown";
  readonly lines: readonly PostedLine[];
  readonly audit: AuditRecord;
  /** Null when the call was not sent after all (voided): nothing is billed. */
  readonly usage: UsageEvent | null;
  /** In the same transaction. */
  readonly notices: readonly Notice[];
  /** What becomes of its key. */
  readonly key?: KeyEnding;
};

export interface Journal {
  /** Resolves once durable; rejects with `StoreUnavailable` when the rows are not on disk (nothing of it is then). */
  permit(entry: PermitEntry): Promise<void>;
  /** As permit; while the store is down the entry is kept in memory and written when it returns. */
  settle(entry: SettlementEntry): Promise<void>;
  /** One audit record that draws nothing: a refusal, a free call, an administrative act. */
  append(record: AuditRecord): Promise<void>;
  /** A record that is written once for its window and percent, however often it is handed over. */
  notice(notice: Notice): Promise<void>;
  /** False while the store refuses writes; then only credentials and health are answered. */
  readonly available: boolean;
}

/** Thrown where a durable write was due and did not happen. The caller answers `store_unavailable`. */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}

/** For a refusal that could not be written: nothing ran, so it is said all the same. Anything else is a fault. */
export function unlessAway(fault: unknown): void {
  if (!(fault instanceof StoreUnavailable)) throw fault;
}
