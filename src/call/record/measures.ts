/** Pure. What a call is counted for: its tokens, and what its result brought about. */
import type { Usage } from "../budget/reservation.ts";
import type { TokenCount } from "./token-count.ts";

export type Measures = {
  /** By name. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** By meter. */
  readonly outputs: Readonly<Record<string, number>>;
  /** What a rule found otherwise than it expects; never a text of the result. */
  readonly note: string | null;
};

/** `tokenCount` null: it was answered without a result. `measures` null: no rule is about this call, or its result is no success. */
export type Measured = { readonly tokenCount: TokenCount | null; readonly measures: Measures | null; readonly usage: Usage };
