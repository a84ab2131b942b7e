/** Pure. What may be posted to the admin API: closed schemas, checked before anything else is done. */
import { z } from "zod";
import type { NewAgent } from "../agents/agent-life.ts";
import type { CredentialSpec } from "../agents/credentials.ts";

const text = z.string().min(1).max(512);

const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/** 2048 bits in base64url. */
const MODULUS_CHARS_MIN = 342;

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/, "is not base64url");
const named = { kid: z.string().min(1).max(128).optional(), alg: z.string().max(16).optional(), use: z.literal("sig").optional() };
const publicKey = z
  .looseObject({})
  .refine((key) => PRIVATE_MEMBERS.every((member) => !(member in key)), {
    message: "holds private members: register the public key, and replace this one, since it has been sent",
    abort: true,
  })
  .pipe(
    z.discriminatedUnion("kty", [
      z.object({ ...named, kty: z.literal("EC"), crv: z.literal("P-256"), x: base64url.length(43), y: base64url.length(43) }),
      z.object({ ...named, kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: base64url.length(43) }),
      z.object({ ...named, kty: z.literal("RSA"), n: base64url.min(MODULUS_CHARS_MIN).max(2048), e: base64url.max(16) }),
    ]),
  );
const jwkSet = z.object({ keys: z.array(publicKey).min(1).max(10) });

const specOf = (jwks: z.output<typeof jwkSet> | undefined): CredentialSpec =>
  jwks === undefined ? { kind: "secret" } : { kind: "jwks", jwks };

export const newAgent = z
  .strictObject({
    name: z.string().min(1).max(128),
    owner: text.optional(),
    purpose: text.optional(),
    customer: text.optional(),
    team: text.optional(),
    workflow: text.optional(),
    kind: z.enum(["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"]).optional(),
    risk_class: z.enum(["minimal", "limited", "high", "unclassified"]).optional(),
    jwks: jwkSet.optional(),
  })
  .transform(({ risk_class, jwks, ...rest }): NewAgent => ({ ...rest, riskClass: risk_class, credential: specOf(jwks) }));

export const newCredential = z.strictObject({ jwks: jwkSet.optional() }).transform(({ jwks }) => specOf(jwks));

/** `server`: the name of a server or a view; without one the token is for `/mcp`. */
export const newToken = z.strictObject({ server: z.string().min(1).max(32).optional(), scope: z.string().max(2048).optional() });
