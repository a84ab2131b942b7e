/** Pure. What a call costs in micro-units of the one currency: whole numbers, rounded up once a call, so that nothing is free by rounding. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";
import type { Amounts } from "./reservation.ts";

export type Price = {
  /** Micro-units for each call. */
  readonly perCall: number;
  /** Micro-units for 1,000 tool tokens. */
  readonly per1kTokens: number;
  /** Micro-units for each outcome, by name. */
  readonly outcomes: Readonly<Record<string, number>>;
};

/** At most 2^53 - 1: a dearer call cannot be held, and is refused. */
export function costOf({ perCall, per1kTokens, outcomes }: Price, amounts: Amounts): number {
  let cost = BigInt(perCall) * whole(amounts.calls) + (BigInt(per1kTokens) * whole(amounts.tool_tokens) + 999n) / 1000n;
  for (const [name, each] of Object.entries(outcomes)) cost += BigInt(each) * whole(amounts[`outcome:${name}`]);
  return cost > MOST ? Number.MAX_SAFE_INTEGER : Number(cost);
}

const UNPRICED = "A budget counts money, and the operator has not said what this costs.";

/** A price that nobody has named is not 0: what has none is refused where a ceiling counts money. Null: it may go without. */
export function refuseUnpriced(draws: readonly Pick<Draw, "meter" | "hard" | "overage">[], target: string): Refusal | null {
  if (!draws.some(({ meter, hard, overage }) => meter === "cost_micros" && (hard || overage !== null))) return null;
  return refuse("entitlement_denied", { hint: UNPRICED }, `nothing in prices says what ${target} costs, and a budget counts money`);
}

const MOST = BigInt(Number.MAX_SAFE_INTEGER);

function whole(amount: number | undefined): bigint {
  return BigInt(amount ?? 0);
}
