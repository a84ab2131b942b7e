/** Pure. The keys that callers give their calls: how long they are kept, and which servers are told of them. */
import { z } from "zod";
import { duration, HOUR } from "./config-parts.ts";

/** A week: whoever has not heard of a call by then asks a person. */
const KEEP_MS_MAX = 168 * HOUR;

export const idempotent = z
  .literal("header", { error: "must be header, or be left out" })
  .optional()
  .describe(
    "header: the server understands Idempotency-Key, and gets one of the gateway's with each call that its caller gave a key: the same for every retry, another for every agent.",
  );

export const idempotency = z
  .strictObject({
    keep: duration(KEEP_MS_MAX, "How long a retry with the same Idempotency-Key is known for one.").default("24h"),
  })
  .prefault({})
  .describe("Retries of calls by their callers' keys.");
