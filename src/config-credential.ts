/** Pure. What the gateway shows an upstream, as the configuration writes it. */
import { z } from "zod";
import { fileRef, httpUrl, issuerUrl, plain, secretRef, text } from "./config-parts.ts";

const scopeList = z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "is not a scope (RFC 6749 section 3.3)"));

/** How the gateway is registered at an authorization server. */
const registration = {
  clientSecret: secretRef.optional(),
  clientKey: secretRef
    .optional()
    .describe("For private_key_jwt (RFC 7523): a private key as PEM or JWK, RSA of 2048 bits or more, P-256 or Ed25519."),
  authMethod: z
    .enum(["basic", "post"])
    .optional()
    .describe("How clientSecret is sent. Default: as the authorization server's metadata say."),
};
const clientId = plain.describe("The gateway's own client id there.");

export const clients = z
  .record(issuerUrl, z.strictObject({ clientId, ...registration }))
  .default({})
  .describe("The gateway's clients by issuer, for credentials that name no client of their own. One is never shown to another issuer.");

const wanted = {
  resource: httpUrl.optional().describe("RFC 8707 resource that the upstream token is for. Default: the server's URL."),
  scopes: scopeList.default([]).describe("Scopes to ask for."),
  toolScopes: z
    .record(text, scopeList.min(1))
    .default({})
    .describe("Scopes for calls of the tools that a pattern names, in place of scopes: a narrower token for each."),
};
const client = {
  issuer: z
    .union([z.literal("discover"), issuerUrl], {
      error: "must be the https:// URL of an authorization server, or discover (http:// only for this machine)",
    })
    .describe("The authorization server that issues the upstream token. discover: as the server's own metadata name it, among clients."),
  clientId: clientId.optional(),
  ...registration,
  ...wanted,
};

const mtls = z
  .strictObject({
    cert: fileRef.describe("The certificate chain, PEM."),
    key: secretRef.describe("Its private key, PEM."),
    ca: fileRef.optional().describe("The authorities that may have issued the server's certificate, PEM. Default: the well-known ones."),
  })
  .describe("A client certificate for the connection to the server, alone or beside another credential.");
const beside = { mtls: mtls.optional() };

/** Set by the gateway itself, or with a meaning of their own in HTTP or MCP. */
const RESERVED_HEADER =
  /^(host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|accept|accept-.*|cookie|mcp-.*|last-event-id|traceparent|tracestate|baggage)$/i;

export const credential = z
  .union(
    [
      z.literal("none"),
      z.strictObject({ bearer: secretRef, ...beside }),
      z.strictObject({
        header: z.strictObject({
          name: z
            .string()
            .regex(/^[A-Za-z0-9-]{1,64}$/, "is not a header name")
            .refine((name) => !RESERVED_HEADER.test(name), "is a header that the gateway sets itself"),
          value: secretRef,
        }),
        ...beside,
      }),
      z.strictObject({
        basic: z.strictObject({
          username: plain.regex(/^[^:]*$/, "must not hold a colon (RFC 7617 section 2)"),
          password: secretRef,
        }),
        ...beside,
      }),
      z.strictObject({ mtls }),
      z.strictObject({ clientCredentials: z.strictObject(client), ...beside }),
      z.strictObject({
        privateKeyJwt: z.strictObject({ ...client, clientSecret: z.never().optional(), authMethod: z.never().optional() }),
        ...beside,
      }),
      z.strictObject({
        tokenExchange: z.strictObject({
          profile: z
            .enum(["rfc8693", "entra-obo"])
            .default("rfc8693")
            .describe("RFC 8693, or on behalf of the presented token at the Entra tenant that issued it."),
          ...client,
          audience: plain.optional().describe("RFC 8693 audience, where the authorization server wants one."),
          actorToken: z
            .boolean()
            .optional()
            .describe(
              "Whether an actor_token names the agent beside a subject. Default: unless the presented token itself is the subject_token.",
            ),
        }),
        ...beside,
      }),
    ],
    { error: "must be none, or one of bearer, header, basic, clientCredentials, privateKeyJwt, tokenExchange, mtls" },
  )
  .describe("What the gateway shows the server. The agent's own token never goes there.");
