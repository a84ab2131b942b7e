/** Pure. What a budget says beside its counters: for whom, by what window, how hard, and whom it tells. */
import type { BudgetFile } from "../../call/authorize/budget-file.ts";
import { durationText } from "../../call/authorize/written.ts";
import type { BudgetFacts } from "./budget-rows.ts";

/** In the words of the admin API. `who` and `tools` of one made at run time alone: those of a policy file are read there. */
export type BudgetTerms = {
  readonly who?: BudgetFile["who"];
  readonly tools?: BudgetFile["tools"];
  readonly each: readonly string[];
  readonly period: string | null;
  readonly rolling: string | null;
  readonly time_zone: string;
  readonly hard: boolean;
  /** How far beyond its limit a soft one lets calls go; null: no bound is written. */
  readonly overage: number | null;
  readonly overrun: string;
  readonly notify: readonly string[];
  readonly lease: number;
  readonly hint: string | null;
};

export function termsOf({ each, draw }: BudgetFacts, made: Pick<BudgetFile, "who" | "tools"> | null): BudgetTerms {
  const { period, rollingMs, timeZone: time_zone, hard, overage, overrun, notify, lease, hint = null } = draw;
  const isRolling = period === "rolling";
  return {
    ...(made?.who === undefined ? {} : { who: made.who }),
    ...(made?.tools === undefined ? {} : { tools: made.tools }),
    ...{
      each,
      period: isRolling ? null : period,
      rolling: isRolling ? durationText(rollingMs).replace("min", "m").replace(" ", "") : null,
      time_zone,
    },
    ...{ hard, overage, overrun, notify: notify.map((percent) => `${percent}%`), lease, hint },
  };
}
