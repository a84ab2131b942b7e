/** Pure. How long records are kept: at least, and at most. */
import { z } from "zod";
import { durationMs } from "./call/authorize/written.ts";
import { duration, HOUR } from "./config-parts.ts";

const DAY = 24 * HOUR;
/** Half a year, which Article 19 of Regulation (EU) 2024/1689 asks of the logs of a high-risk system: six months at least. */
const AT_LEAST = "184d";
const YEARS_100 = 36_525 * DAY;

export const retention = z
  .strictObject({
    atLeast: duration(YEARS_100, "No record is purged before it is this old, whoever asks for it.").default(AT_LEAST),
    atMost: duration(YEARS_100, "Records are purged when they are this old. Default: never.").optional(),
  })
  .refine(({ atLeast, atMost }) => atMost === undefined || durationMs(atMost) >= durationMs(atLeast), {
    error: "is shorter than atLeast",
    path: ["atMost"],
  })
  .prefault({})
  .describe("How long audit records are kept.");
