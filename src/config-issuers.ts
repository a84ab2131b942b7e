/** Pure. External identity providers whose access tokens are accepted, as the configuration writes them. */
import { z } from "zod";
import { PROFILE_NAMES } from "./call/authenticate/profiles.ts";
import { duration, fileRef, HOUR, issuerUrl, plain, secretRef, text } from "./config-parts.ts";

const CLAIM = /^claims(\.[A-Za-z0-9_:/.-]+)+$/;
/** A text, or the claim that holds it. */
const attribute = plain.max(512);

const register = z
  .strictObject({
    where: z.array(text).min(1).max(100).describe("Patterns over the name that the token gives: system:serviceaccount:agents:*."),
    owner: attribute.describe("Who answers for them; claims.x reads it from the token."),
    purpose: attribute.describe("What they are for; claims.x reads it from the token."),
    customer: attribute.optional().describe("Whose account they work for. Default: default."),
    team: attribute.optional().describe("Their team."),
    workflow: attribute.optional().describe("Their workflow."),
    kind: z.enum(["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"]).optional().describe("Default: autonomous."),
  })
  .describe("Which identities become agents at their first token, and as what.");

export const issuers = z
  .array(
    z.strictObject({
      issuer: issuerUrl.describe("The `iss` of its tokens, character by character."),
      profile: z.enum(PROFILE_NAMES).default("generic").describe("What its access tokens look like; generic is RFC 9068."),
      audience: plain.optional().describe("The `aud` of its tokens. Default: the route's URL; a value here is valid on every route."),
      clients: z
        .array(plain)
        .min(1)
        .optional()
        .describe("For cognito, whose tokens have no aud: the clients that are meant for this gateway."),
      agent: z
        .string()
        .regex(CLAIM, "must name a claim: claims.azp")
        .optional()
        .describe("The claim that names the agent, by id or name. Default: as the profile says; generic: claims.sub."),
      unknownAgent: z.enum(["refuse", "register"]).default("refuse").describe("What becomes of an identity that nobody has registered."),
      register: register.optional(),
      introspection: z
        .strictObject({
          url: issuerUrl.describe("Its introspection endpoint (RFC 7662)."),
          clientId: plain.describe("The gateway's own client id there."),
          clientSecret: secretRef,
          prefix: plain.optional().describe("How its tokens begin; needed where several issuers have opaque tokens."),
        })
        .optional()
        .describe("For opaque tokens: an answer is believed for 30 s at the longest."),
      jwksUri: issuerUrl.optional().describe("Where its keys are. Default: as its metadata says."),
      jwks: fileRef.optional().describe("Its keys, a JWK Set, where they cannot be fetched: env:NAME or file:PATH."),
      algorithms: z
        .array(z.enum(["RS256", "PS256", "ES256", "Ed25519", "EdDSA"]))
        .min(1)
        .default(["RS256", "PS256", "ES256", "Ed25519"]),
      maxLifetime: duration(48 * HOUR, "The longest lifetime of an accepted token. Default: as the profile says; generic: 1h.").optional(),
    }),
  )
  .default([])
  .describe("External identity providers whose access tokens are accepted.");
