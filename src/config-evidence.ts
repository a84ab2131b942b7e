/** Pure. How the log is signed and who watches it, as the configuration writes it. */
import { z } from "zod";
import { isHttpsOrLoopback } from "./addresses.ts";
import { verifierIn } from "./call/record/signed-note.ts";
import { duration, httpUrl } from "./config-parts.ts";

/** What is not signed for longer than a day is hardly evidence of that day. */
const EVERY_MAX_MS = 86_400_000;

export const logKey = z
  .string()
  .regex(/^(data|file:.+)$/, "must be data, or file: and a file: file:/keys/log.key")
  .default("data")
  .describe(
    "The key that signs this gateway's log, made at the first start and shared with no other gateway, with the last signed checkpoint beside it: data (log.key in the data folder), or file:FILE.",
  );

export const checkpoint = z
  .strictObject({ every: duration(EVERY_MAX_MS, "How often the log is signed while it grows.").default("1m") })
  .prefault({})
  .describe("Signed checkpoints of the log.");

export const witness = z
  .strictObject({
    url: httpUrl
      .refine(isHttpsOrLoopback, "must begin with https:// (http:// only for this machine)")
      .describe("Its submission prefix: checkpoints are posted to {url}/add-checkpoint."),
    key: z
      .string()
      .refine((written) => verifierIn(written)?.type === 4, "is not a witness's verifier key: name+hash+base64, of type 0x04")
      .describe("The key whose cosignatures count, as c2sp.org/signed-note writes verifier keys."),
  })
  .optional()
  .describe("Who signs the checkpoints as well, by the protocol of c2sp.org/tlog-witness.");
