/** Pure. What a call is counted for: its tokens, and what its result brought about. */
import type { Usage } from "../budget/reservation.ts";
import { outcomeMeter, outcomeOf } from "./event-types.ts";
import type { TokenCount } from "./token-count.ts";

export type Measures = {
  /** By name. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** By meter. */
  readonly outputs: Readonly<Record<string, number>>;
  /** What of `outputs` the arguments say. */
  readonly given: Readonly<Record<string, number>>;
  /** What a rule found otherwise than it expects; never a text of the result. */
  readonly note: string | null;
};

/** `tokenCount` null: it was answered without a result. `measures` null: no rule is about this call, or its result is no success. */
export type Measured = { readonly tokenCount: TokenCount | null; readonly measures: Measures | null; readonly usage: Usage };

/** Amounts by meter: of outcomes, and of what the configuration counts. */
export function amountsIn(measures: Measures | null): Readonly<Record<string, number>> {
  const outcomes = Object.entries(measures?.outcomes ?? {}).map(([name, amount]) => [outcomeMeter(name), amount] as const);
  return { ...measures?.outputs, ...Object.fromEntries(outcomes) };
}

/** The same without what the arguments say. */
export function amountsOfResult(measures: Measures | null): Readonly<Record<string, number>> {
  const all = Object.entries(amountsIn(measures)).map(([meter, amount]) => [meter, amount - (measures?.given[meter] ?? 0)] as const);
  return Object.fromEntries(all);
}

/** Amounts by meter as an event has them: those of outcomes by their names, and the others. */
export function namedIn(amounts: readonly (readonly [string, number])[]): Pick<Measures, "outcomes" | "outputs"> {
  const outcomes: Record<string, number> = {};
  const outputs: Record<string, number> = {};
  for (const [meter, amount] of amounts) {
    const outcome = outcomeOf(meter);
    if (outcome === null) outputs[meter] = amount;
    else outcomes[outcome] = amount;
  }
  return { outcomes, outputs };
}
