/** Pure. The answer to "is this allowed?": the rule that decided, and every budget that now has to carry the call. */

export type RuleRef = { readonly name: string; readonly file: string; readonly line: number };

export type Meter = "calls" | "tool_tokens";

export type Period = "hour" | "day" | "week" | "month" | "year" | "total";

/** One counter that a call draws on: a budget, and whose share of it. */
export type Draw = {
  readonly budget: string;
  /** Whose counter: `` (shared) or `team=support`, `agent=agt_...&server=tickets`: the budget's `each`, in its order. */
  readonly scope: string;
  readonly meter: Meter;
  /** Whole units of `meter`. */
  readonly limit: number;
  readonly period: Period;
  /** IANA zone in which the window's calendar runs. */
  readonly timeZone: string;
  readonly hard: boolean;
  /** `withhold`: a result over budget is refused; `deliver`: it passes and the excess becomes debt. */
  readonly overrun: "withhold" | "deliver";
};

export type Permit = {
  readonly rule: RuleRef;
  readonly policyVersion: string;
  readonly draws: readonly Draw[];
  /** Rules whose condition failed to evaluate (a permit then does not apply, a forbid does); recorded. */
  readonly conditionFaults: readonly string[];
};
