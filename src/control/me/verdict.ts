/** Pure. A decision as its asker hears it: the refusal's own row of the table, and what is left of the budgets. */
import type { Left } from "../../call/budget/reservation.ts";
import { type Facts, type Reason, type Refusal, WIRE } from "../../refusal.ts";

export type RemainingRow = {
  readonly budget: string;
  readonly meter: string;
  readonly limit: number;
  readonly remaining: number;
  /** RFC 3339, UTC; null: never. */
  readonly resets_at: string | null;
};

export type Verdict = {
  readonly allowed: boolean;
  readonly reason: Reason | null;
  /** JSON-RPC code that a call would be refused with; null where there is none. */
  readonly code: number | null;
  readonly title: string | null;
  readonly detail: string | null;
  /** As in the refusal's problem: scope, budget, meter, limit, remaining, required, resets_at. */
  readonly facts: Facts;
  readonly remaining: readonly RemainingRow[];
};

/** What is not disclosed is told in the bytes of what does not exist. */
const SECRETIVE: ReadonlySet<Reason> = new Set(["tool_unknown", "server_unknown"]);

export function verdictOf(refusal: Refusal | null, left: readonly Left[]): Verdict {
  const remaining = left.map(remainingRow);
  if (refusal === null) return { allowed: true, reason: null, code: null, title: null, detail: null, facts: {}, remaining };
  const { refused: reason, facts, code } = refusal;
  const { title, remedy: detail, code: usual } = WIRE[reason];
  const secret = SECRETIVE.has(reason);
  return { allowed: false, reason, code: code ?? usual, title, detail, facts: secret ? {} : facts, remaining: secret ? [] : remaining };
}

export function remainingRow({ draw, remaining, windowEndMs }: Omit<Left, "held">): RemainingRow {
  const resets_at = windowEndMs === null ? null : new Date(windowEndMs).toISOString();
  return { budget: draw.budget, meter: draw.meter, limit: draw.limit, remaining, resets_at };
}
