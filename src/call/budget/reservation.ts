/** The answer to "how much?": an amount held on every budget of a call at once, until it is posted or voided. */
import type { CallId } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";

/** Whole units by meter. A meter that is not there is not known to the call: others report it. */
export type Amounts = Readonly<Record<string, number>>;

/** What a call really used, by meter; what is not there is 0. */
export type Usage = Amounts & { readonly calls: number; readonly tool_tokens: number };

/** One hold on one counter. Windows are half-open, milliseconds since the epoch; `windowEndMs` null: period total. */
export type HoldLine = {
  readonly draw: Draw;
  readonly windowStartMs: number;
  readonly windowEndMs: number | null;
  readonly amount: number;
};

/** How a hold ended on one counter: `held` goes, `posted` is committed, `debt` is what could not be prevented. */
export type PostedLine = {
  readonly line: HoldLine;
  readonly posted: number;
  readonly debt: number;
  /** Committed and debt, after it: what counts towards thresholds. */
  readonly spent: number;
  /** Of the limit, after it. */
  readonly remaining: number;
  /** Thresholds in percent that it has crossed. */
  readonly crossed: readonly number[];
};

export type Settlement = {
  readonly state: "posted" | "voided" | "unknown";
  readonly lines: readonly PostedLine[];
  /** Set when a hard budget could not carry the result: posted as held, the result is withheld. */
  readonly withheld: Refusal | null;
};

/** What a call came to, as far as it matters for what is charged. `refusal`: it stays here. */
export type Came = {
  readonly kind: string;
  readonly refusal: Refusal | null;
  /** False: it can be asked for again, so that what is withheld of it costs nothing. */
  readonly isOnce?: boolean;
};

export interface Reservation extends Disposable {
  readonly callId: CallId;
  readonly lines: readonly HoldLine[];
  /** True when a hard budget meters the result, so that the final message waits whole. */
  readonly metersResult: boolean;
  /** Bytes, those of the request among them, that may pass before it is settled: the hold of budgets that withhold; Infinity: none does. */
  readonly bytesMax: number;
  /** From here on leaving the scope posts the hold in full as `unknown` instead of voiding it. */
  sent(): void;
  /** Posts the truth, once. A usage above the hold first tries to extend it; hard budgets never exceed their limit. */
  post(usage: Amounts, came?: Came): Settlement | Promise<Settlement>;
  /** Fate unknown after sending: posts the hold in full, or what is known to have passed where that is more and nothing withholds it. */
  postUnknown(passed?: Amounts): Settlement;
  /** Nothing reached the upstream after all: gives the whole hold back, also after `sent()`. */
  voidUnsent(): Settlement;
}

/** A counter's state for `budget list`, `/readyz` and refusals; a rolling budget has one for each slot of its window. */
export type Balance = {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  readonly windowEndMs: number | null;
  readonly committed: number;
  readonly held: number;
  readonly debt: number;
};

/** A compensating entry on one counter: signed changes of what is committed and of the debt. */
export type Adjustment = { readonly line: HoldLine; readonly posted: number; readonly debt: number };

/** What a correction by a person changes: a credit gives back what was used, the newest first; a debit is a debt. */
export interface Adjusting {
  /** Null: so much is not used, or there is no room for another counter. A refusal: the ledger is away. Nothing is changed. */
  plan(
    draw: Draw,
    change: "credit" | "debit",
    amount: number,
    nowMs: number,
  ): readonly Adjustment[] | Refusal | null | Promise<readonly Adjustment[] | Refusal | null>;
  apply(adjustments: readonly Adjustment[]): void;
}

export interface Ledger {
  /** All draws or none. The refusal names the first budget, in the order given, that cannot carry its amount. */
  hold(callId: CallId, draws: readonly Draw[], amounts: Amounts, nowMs: number): Reservation | Refusal | Promise<Reservation | Refusal>;
  /** What `hold` would answer now, and what each draw has left. Nothing is held, and no counter is made. */
  weigh(draws: readonly Draw[], amounts: Amounts, nowMs: number): Weighing | Promise<Weighing>;
  balances(): readonly Balance[] | Promise<readonly Balance[]>;
}

/** `remaining` and `held` in units of the meter; `windowEndMs` null: period total; of a rolling budget, when its oldest use stops to count. */
export type Left = { readonly draw: Draw; readonly remaining: number; readonly held: number; readonly windowEndMs: number | null };
export type Weighing = { readonly refusal: Refusal | null; readonly left: readonly Left[] };
