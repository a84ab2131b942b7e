/** Pure. What about agents is unusual enough to be told. */
import { z } from "zod";
import { durationMs } from "./call/authorize/written.ts";
import type { Anomalies } from "./config.ts";
import { duration } from "./config-parts.ts";

const DAY_MS = 86_400_000;
/** Two months: what an agent last did before that says little of it. */
const DAYS_MAX = 62;

const days = (what: string) =>
  duration(DAYS_MAX * DAY_MS, what).refine((written) => durationMs(written) % DAY_MS === 0, "must be whole days: 7d");

const rules = z
  .strictObject({
    learn: days("How long an agent is only watched, from its first call that is remembered.").default("7d"),
    remember: days("What an agent has not done for so long is new when it does it.").default("28d"),
    overactive: z
      .strictObject({
        times: z
          .int()
          .min(2)
          .max(1_000)
          .default(3)
          .describe("Calls in an hour, as a multiple of its busiest hour in the days that are remembered."),
        atLeast: z.int().min(1).max(1_000_000_000).default(100).describe("And at least so many."),
      })
      .prefault({})
      .describe("When an agent calls too much."),
  })
  .refine(
    ({ learn, remember }) => durationMs(remember) > durationMs(learn),
    "learn must be shorter than remember, which is 28d by default",
  );

export const anomalies = z
  .union([z.literal("off"), rules], { error: "must be off, or an object" })
  .prefault({})
  .describe("Records agent.anomaly of what an agent does that it did not use to do. off: none.");

/** Null: none. */
export function anomaliesOf(written: z.output<typeof anomalies>): Anomalies | null {
  if (written === "off") return null;
  const { learn, remember, overactive } = written;
  return { learnDays: durationMs(learn) / DAY_MS, rememberDays: durationMs(remember) / DAY_MS, overactive };
}
