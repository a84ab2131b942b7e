/** Pure. External identity providers whose access tokens are accepted, as the configuration writes them. */
import { z } from "zod";
import { duration, HOUR, issuerUrl, plain } from "./config-parts.ts";

export const issuers = z
  .array(
    z.strictObject({
      issuer: issuerUrl.describe("The `iss` of its tokens, character by character."),
      profile: z.literal("generic").default("generic"),
      audience: plain.optional().describe("The `aud` of its tokens. Default: the route's URL; a value here is valid on every route."),
      agent: z
        .string()
        .regex(/^claims(\.[A-Za-z0-9_-]+)+$/, "must name a claim: claims.azp")
        .default("claims.sub")
        .describe("The claim that names the agent, by id or name."),
      unknownAgent: z.literal("refuse").default("refuse"),
      jwksUri: issuerUrl.optional().describe("Where its keys are. Default: as its metadata says."),
      algorithms: z
        .array(z.enum(["RS256", "PS256", "ES256", "Ed25519", "EdDSA"]))
        .min(1)
        .default(["RS256", "PS256", "ES256", "Ed25519"]),
      maxLifetime: duration(24 * HOUR, "The longest lifetime of an accepted token.").default("1h"),
    }),
  )
  .default([])
  .describe("External identity providers whose access tokens are accepted.");
