/** Pure. Whether a rule has results kept, for whoever makes the same call with the same key again. */
import { z } from "zod";
import { durationMs } from "./written.ts";

const WORDS = "must be a whole number with s, m, h or d: 24h";
/** A week, as keys are kept at most. */
const REPLAY_MS_MAX = 7 * 86_400_000;

export const idempotency = z
  .strictObject({
    replay: z
      .string(WORDS)
      .regex(/^[1-9][0-9]{0,7}(s|m|h|d)$/, { error: WORDS, abort: true })
      .refine((written) => durationMs(written) <= REPLAY_MS_MAX, "is longer than 7 days")
      .describe("For how long a retry with the same Idempotency-Key gets the first result again. Results are kept encrypted until then."),
  })
  .describe("What a retry hears: by default how the first call ended, and no result.");

export type IdempotencyFile = z.output<typeof idempotency>;

/** Null: results are not kept. */
export function replayMsOf(written: IdempotencyFile | undefined): number | null {
  return written === undefined ? null : durationMs(written.replay);
}
