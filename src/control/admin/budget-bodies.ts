/** Pure. A budget as the admin API takes and shows it: the members of a policy file in snake_case, or `{period, token_limit, hard_cap}`. */
import { z } from "zod";
import { type BudgetFile, budget } from "../../call/authorize/budget-file.ts";
import { amountOf } from "../../call/authorize/written.ts";
import type { BudgetChanges, MadeBudget } from "../budgets/made-budgets.ts";
import { wordsOfIssues } from "./form-words.ts";

const { shape } = budget;
const short = {
  token_limit: shape.limit.optional().describe("In place of meter and limit: so many tool_tokens."),
  hard_cap: z.boolean().optional().describe("In place of hard."),
};

export const newBudget = z.strictObject({
  ...{
    name: shape.name
      .optional()
      .describe("Unique over all budgets, those of policy files too. Left out: made of whom it is about, meter and period."),
  },
  ...{ who: shape.who, tools: shape.tools, each: shape.each, meter: shape.meter.optional(), limit: shape.limit.optional() },
  ...{ period: shape.period, rolling: shape.rolling, time_zone: shape.timeZone.optional(), hard: z.boolean().optional() },
  ...{ overage: shape.overage, overrun: shape.overrun.optional(), notify: shape.notify.optional(), lease: shape.lease, hint: shape.hint },
  ...short,
});
export type NewBudget = z.output<typeof newBudget>;

/** What a budget counts by: with another one it is another budget. */
const fixed = z.never({ error: "cannot be changed: end this one and make another" }).optional();

export const budgetChanges = z.strictObject({
  ...{ name: fixed, who: fixed, tools: fixed, each: fixed, meter: fixed, period: fixed, rolling: fixed, time_zone: fixed },
  ...{ overrun: fixed, lease: fixed },
  limit: shape.limit.optional(),
  hard: z.boolean().optional(),
  notify: z.array(z.string().max(8)).max(16).optional(),
  overage: shape.limit.nullable().optional(),
  hint: shape.hint.nullable(),
  ...short,
});

/** `about`: whom it is about, for a name where none is given. */
export function budgetIn(body: NewBudget, who: BudgetFile["who"], about: string): BudgetFile | { readonly problem: string } {
  const { token_limit, hard_cap, time_zone, hard, meter, limit, ...rest } = body;
  if (token_limit !== undefined && (meter ?? limit) !== undefined) return { problem: "token_limit stands in place of meter and limit" };
  if (hard_cap !== undefined && hard !== undefined) return { problem: "hard_cap stands in place of hard" };
  const counted = token_limit === undefined ? meter : "tool_tokens";
  const parsed = budget.safeParse({
    ...defined({ ...rest, timeZone: time_zone, meter: counted, limit: token_limit ?? limit, hard: hard_cap ?? hard, who }),
    name: rest.name ?? nameOf(about, counted ?? "", rest.period ?? rest.rolling ?? ""),
  });
  if (parsed.success) return parsed.data;
  return { problem: wordsOfIssues(parsed.error, "budget") };
}

export function changesIn(body: z.output<typeof budgetChanges>): BudgetChanges {
  const { token_limit, hard_cap, limit, hard, notify, overage, hint } = body;
  return { notify, overage, hint, limit: token_limit ?? limit, hard: hard_cap ?? hard };
}

/** `isCounted` false: a policy file has the name. */
export function madeJson({ file, customer, createdAt, createdBy }: MadeBudget, isCounted: boolean): object {
  const { timeZone, limit, overage, lease, ...rest } = file;
  const amounts = { limit: amountOf(limit), overage: overage === undefined ? null : amountOf(overage) };
  return { ...rest, ...amounts, time_zone: timeZone, customer, created_at: createdAt, created_by: createdBy, counted: isCounted };
}

function nameOf(about: string, meter: string, period: string): string {
  return `${about}-${meter}-${period}`.replace(/[^A-Za-z0-9._-]/g, "-").slice(0, NAME_CHARS_MAX);
}

const NAME_CHARS_MAX = 64;

function defined(members: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
