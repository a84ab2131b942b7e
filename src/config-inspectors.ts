/** Pure. External guards that look at arguments and results, as the configuration writes them. */
import { z } from "zod";
import { isHttpsOrLoopback } from "./addresses.ts";
import { duration, httpUrl, secretRef } from "./config-parts.ts";

/** Longer than a person waits, and no longer than a gateway that stops waits for its calls. */
const TIMEOUT_MAX_MS = 30_000;

const inspector = z.strictObject({
  type: z
    .enum(["http", "authzen"])
    .default("http")
    .describe("http: asked by the gateway's own protocol. authzen: a decision point of the OpenID AuthZEN Authorization API 1.0."),
  url: httpUrl
    // What it says decides: without TLS anybody on the way could say it.
    .refine(isHttpsOrLoopback, "must begin with https:// (http:// only for this machine)")
    .describe("Where questions are posted; of type authzen its access evaluation endpoint."),
  bearer: secretRef.optional(),
  timeout: duration(TIMEOUT_MAX_MS, "How long one answer may take.").default("2s"),
  concurrent: z.int().min(1).max(1024).default(64).describe("Questions under way at once; one more counts as a failure."),
  onFailure: z
    .enum(["refuse", "unsafeAllow"])
    .describe("What becomes of a call when no verdict comes. It has no default. unsafeAllow: the call goes on unseen."),
});

export const inspectors = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "an inspector's name is 1 to 64 letters, digits, dots, dashes and underscores"),
    inspector,
  )
  .default({})
  .describe("External guards by name. Entitlements ask them: inspect: [NAME].");
