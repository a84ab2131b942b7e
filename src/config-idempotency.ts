/** Pure. How long the keys that callers give their calls are kept. */
import { z } from "zod";
import { duration, HOUR } from "./config-parts.ts";

/** A week: whoever has not heard of a call by then asks a person. */
const KEEP_MS_MAX = 168 * HOUR;

export const idempotency = z
  .strictObject({
    keep: duration(KEEP_MS_MAX, "How long a retry with the same Idempotency-Key is known for one.").default("24h"),
  })
  .prefault({})
  .describe("Retries of calls by their callers' keys.");
