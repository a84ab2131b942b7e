/** What a sink is to the outbox: something that takes a batch, says what it does not take, or is in trouble. */
import type { Item } from "../record/outbox.ts";

/** One item that was not taken although its batch was. */
export type ItemFault = {
  readonly sequence: number;
  readonly status: number | null;
  readonly reason: string;
  /** True: the sink says to come back with it. */
  readonly retry: boolean;
};

export type Answer =
  /** A durable yes to all but these. */
  | { readonly kind: "taken"; readonly faults: readonly ItemFault[] }
  /** Something in it is bad, and it is not said what: none of it counts as taken. */
  | { readonly kind: "bad"; readonly status: number | null; readonly reason: string };

export type Target = {
  /** Throws `NotDelivered` where there is no answer that can be relied on. */
  send(items: readonly Item[], stopping: AbortSignal): Promise<Answer>;
  close(): Promise<void>;
};

/** `unknown`: the sink may have it all the same. */
export type Fate = "not_taken" | "unknown";

export class NotDelivered extends Error {
  override readonly name = "NotDelivered";
  readonly fate: Fate;
  /** What the sink asked for. */
  readonly retryAfterMs: number | null;
  constructor(message: string, fate: Fate, retryAfterMs: number | null = null) {
    super(message);
    this.fate = fate;
    this.retryAfterMs = retryAfterMs;
  }
}

/** How one that is set aside, refused or late is known to whoever reads of it. */
export const REASON_CHARACTERS_MAX = 300;
