/** Pure. What the gateway shows an upstream, as the configuration writes it. */
import { z } from "zod";
import { httpUrl, issuerUrl, plain, secretRef } from "./config-parts.ts";

const scopes = z
  .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "is not a scope (RFC 6749 section 3.3)"))
  .default([])
  .describe("Scopes to ask for.");
const client = {
  issuer: issuerUrl.describe("The authorization server that issues the upstream token (found by its metadata)."),
  clientId: plain.describe("The gateway's own client id there."),
  clientSecret: secretRef,
  resource: httpUrl.optional().describe("RFC 8707 resource that the upstream token is for."),
  scopes,
};

/** Set by the gateway itself, or with a meaning of their own in HTTP or MCP. */
const RESERVED_HEADER =
  /^(host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|accept|accept-.*|cookie|mcp-.*|last-event-id|traceparent|tracestate|baggage)$/i;

export const credential = z
  .union(
    [
      z.literal("none"),
      z.strictObject({ bearer: secretRef }),
      z.strictObject({
        header: z.strictObject({
          name: z
            .string()
            .regex(/^[A-Za-z0-9-]{1,64}$/, "is not a header name")
            .refine((name) => !RESERVED_HEADER.test(name), "is a header that the gateway sets itself"),
          value: secretRef,
        }),
      }),
      z.strictObject({ clientCredentials: z.strictObject(client) }),
      z.strictObject({
        tokenExchange: z.strictObject({
          profile: z.literal("rfc8693").default("rfc8693"),
          ...client,
          audience: plain.optional().describe("RFC 8693 audience, where the authorization server wants one."),
        }),
      }),
    ],
    { error: "must be none, or one of bearer, header, clientCredentials, tokenExchange" },
  )
  .describe("What the gateway shows the server. The agent's own token never goes there.");
