/** What may stand in a policy file under `budgets`. */
import { z } from "zod";
import type { TargetPattern } from "./pattern.ts";
import type { Draw } from "./permit.ts";
import { each, name, patterns, who } from "./rule-parts.ts";
import { eachOf } from "./scope.ts";
import { compileWho } from "./who.ts";
import { AMOUNT, amountOf, durationMs } from "./written.ts";

const AMOUNT_WORDS = "must be a whole number, such as 2000 or 5_000_000";
const amount = z
  .union([z.int().min(0), z.string().regex(AMOUNT, { error: AMOUNT_WORDS, abort: true })], { error: AMOUNT_WORDS })
  .refine((written) => Number.isSafeInteger(amountOf(written)), `must be at most ${Number.MAX_SAFE_INTEGER}`);

/** A shorter window than this would end before its calls do; a longer one than a year is a calendar's. */
const ROLLING_MS_MIN = 60_000;
const ROLLING_MS_MAX = 366 * 86_400_000;
const ROLLING_WORDS = "must be a whole number with s, m, h or d: 24h";
const rolling = z
  .string(ROLLING_WORDS)
  .regex(/^[1-9][0-9]{0,8}(s|m|h|d)$/, { error: ROLLING_WORDS, abort: true })
  .refine((written) => durationMs(written) >= ROLLING_MS_MIN && durationMs(written) <= ROLLING_MS_MAX, "must be from 1m to 366d");

/** A sentence or two, in every refusal. */
const HINT_CHARS_MAX = 512;

const PERCENT_WORDS = "must be percent of the limit, from 1% to 1000%: 80%";
/** Somebody is told at each of them. */
const NOTIFY_MAX = 16;
const percent = z
  .string(PERCENT_WORDS)
  .regex(/^[1-9][0-9]{0,3}%$/, { error: PERCENT_WORDS, abort: true })
  .refine((written) => Number.parseInt(written, 10) <= 1000, PERCENT_WORDS);

export const METER = /^(outcome:[a-z][a-z0-9_-]{0,63}|[a-z][a-z0-9_]{0,63})$/;

export const budget = z
  .strictObject({
    name: name.describe("Unique over all policy files; refusals name it."),
    who: who.optional(),
    tools: patterns("Which calls draw on it. Default: all.").optional(),
    each: each.optional(),
    meter: z
      .string()
      .regex(METER, "is not a meter: calls, tool_tokens, llm_tokens, bytes, duration_ms, cost_micros, outcome:NAME, or one of the config")
      .describe(
        "What is counted: calls, tool_tokens, llm_tokens, bytes, duration_ms, cost_micros, outcome:NAME, or a meter of the configuration.",
      ),
    limit: amount.describe("How much in one window, in whole units of the meter."),
    period: z
      .enum(["hour", "day", "week", "month", "year", "total"])
      .optional()
      .describe("How long a window is, by the calendar of timeZone; total: it never resets."),
    rolling: rolling.optional().describe("In place of period: the last so long, at every moment. A whole number with s, m, h or d: 24h."),
    timeZone: z
      .string()
      .refine(isTimeZone, "is not an IANA time zone such as Europe/Berlin")
      .default("UTC")
      .describe("IANA time zone of the windows."),
    hard: z.boolean().default(true).describe("true: never exceeded. false: exceeding is allowed, counted and told."),
    overage: amount.optional().describe("How far beyond its limit a budget with hard: false lets calls go. Default: as far as they want."),
    overrun: z
      .enum(["withhold", "deliver"])
      .default("withhold")
      .describe("A result larger than what is left: refused, or delivered and recorded as debt."),
    notify: z
      .array(percent)
      .max(NOTIFY_MAX)
      .default([])
      .describe("Percent of the limit at which people are told, once a window: [50%, 80%, 100%]."),
    lease: amount
      .optional()
      .describe(
        "What each gateway may set aside, to go on with while shared.redis is away. Not with rolling. Default: nothing; then it refuses.",
      ),
    hint: z
      .string()
      .min(1)
      .max(HINT_CHARS_MAX)
      .optional()
      .describe("What refusals of this budget tell the agent to do about it: whom to ask, how to get more."),
  })
  .refine(({ period, rolling: last }) => (period === undefined) !== (last === undefined), "must have either period or rolling")
  .refine(({ overage, hard }) => overage === undefined || !hard, "overage bounds a budget with hard: false; a hard one is never exceeded")
  .refine(({ lease, limit }) => lease === undefined || amountOf(lease) <= amountOf(limit), "lease is more than the limit")
  // A slice belongs to one window, and each slot of a rolling one is one: sixty of them set aside would leave next to nothing to spend.
  .refine(({ lease, rolling: last }) => lease === undefined || amountOf(lease) === 0 || last === undefined, {
    error: "not with rolling, which would set a slice aside in each of its 60 slots: leave it out, or take a period",
    path: ["lease"],
  });

export type BudgetFile = z.output<typeof budget>;

/** As the policy set has it. `who` and `targets`: groups in full. */
export function drawingBudget(budget: BudgetFile, who: BudgetFile["who"], targets: readonly TargetPattern[] | null) {
  return { who: compileWho(who), targets, each: eachOf(budget), draw: drawOf(budget) };
}

/** What a call draws, but for whose share it is. */
function drawOf({
  name: of,
  meter,
  limit,
  period,
  rolling: last,
  timeZone,
  hard,
  overage,
  overrun,
  notify,
  lease,
  hint,
}: BudgetFile): Omit<Draw, "scope"> {
  return {
    ...{ budget: of, meter, timeZone, hard, overrun },
    limit: amountOf(limit),
    period: period ?? "rolling",
    rollingMs: last === undefined ? 0 : durationMs(last),
    overage: overage === undefined ? null : amountOf(overage),
    notify: [...new Set(notify.map((written) => Number.parseInt(written, 10)))].sort((a, b) => a - b),
    lease: lease === undefined ? 0 : amountOf(lease),
    ...(hint === undefined ? {} : { hint }),
  };
}

function isTimeZone(written: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: written }).resolvedOptions().timeZone !== "" && !/^[+-]/.test(written);
  } catch {
    return false;
  }
}
