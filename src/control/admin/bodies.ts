/** Pure. What may be posted to the admin API: closed schemas, checked before anything else is done. */
import { z } from "zod";
import { hasUserInfo, isMetadataAddress } from "../../addresses.ts";
import type { NewAgent } from "../agents/agent-life.ts";
import type { CredentialSpec, Rotation } from "../agents/credentials.ts";

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

/** Seconds, minutes, hours or days as a person writes them: `10m`; `0` for at once. */
const span = (maxMs: number) =>
  z
    .string()
    .regex(/^(0|[1-9][0-9]{0,9}(s|m|h|d))$/, { error: "a whole number with s, m, h or d: 10m", abort: true })
    .transform(spanMs)
    .refine((ms) => ms <= maxMs, `at most ${maxMs / DAY_MS}d`);

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

function spanMs(written: string): number {
  if (written === "0") return 0;
  const unit = written.slice(-1) as "s" | "m" | "h" | "d";
  return Number(written.slice(0, -1)) * { s: 1_000, m: 60_000, h: 3_600_000, d: DAY_MS }[unit];
}

const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/, "is not a scope (RFC 6749 section 3.3)");
const scopes = z.array(scope).max(100);
const httpsUrl = z
  .url({ protocol: /^https$/, error: "must be a URL that begins with https://", abort: true })
  .max(2048)
  .refine((url) => !hasUserInfo(url), "must not hold a user name or password")
  .refine((url) => !isMetadataAddress(url), "is a cloud metadata address, which is never called");

const credentialMembers = {
  kind: z.enum(["secret", "jwks", "jwks_uri", "api_key"]).optional(),
  jwks: jwkSet.optional(),
  jwks_uri: httpsUrl.optional(),
  environment: z.enum(["live", "test"]).optional(),
  scopes: scopes.optional(),
  /** Names of servers and views, `""` for `/mcp`. */
  servers: z.array(z.string().max(32)).min(1).max(100).optional(),
  expires_in: span(10 * YEAR_MS).optional(),
};
type CredentialMembers = z.output<z.ZodObject<typeof credentialMembers>>;

/** What is said beside a kind must belong to it: a bound that is silently left out would be no bound. */
function faultOfKind(body: CredentialMembers): string | null {
  const kind = kindOf(body);
  if ((kind === "jwks") !== (body.jwks !== undefined)) return "jwks goes with the kind jwks, and is needed there";
  if ((kind === "jwks_uri") !== (body.jwks_uri !== undefined)) return "jwks_uri goes with the kind jwks_uri, and is needed there";
  if (kind !== "api_key" && (body.environment ?? body.servers) !== undefined) return "environment and servers go with the kind api_key";
  return null;
}

function kindOf({ kind, jwks, jwks_uri }: CredentialMembers): CredentialSpec["kind"] {
  return kind ?? (jwks !== undefined ? "jwks" : jwks_uri !== undefined ? "jwks_uri" : "secret");
}

function specOf(body: CredentialMembers): CredentialSpec {
  const { jwks, jwks_uri, environment = "live", scopes, servers, expires_in } = body;
  const bounds = { scopes, expiresInMs: expires_in };
  const kind = kindOf(body);
  if (kind === "jwks" && jwks !== undefined) return { kind, jwks, ...bounds };
  if (kind === "jwks_uri" && jwks_uri !== undefined) return { kind, jwksUri: jwks_uri, ...bounds };
  return kind === "api_key" ? { kind, environment, servers, ...bounds } : { kind: "secret", ...bounds };
}

function orFault<T>(fault: string | null, context: z.RefinementCtx, value: () => T): T {
  if (fault === null) return value();
  context.addIssue({ code: "custom", message: fault });
  return z.NEVER;
}

const attributes = {
  owner: text.optional(),
  purpose: text.optional(),
  customer: text.optional(),
  team: text.nullable().optional(),
  workflow: text.nullable().optional(),
  kind: z.enum(["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"]).optional(),
  risk_class: z.enum(["minimal", "limited", "high", "unclassified"]).optional(),
};

/** Without an owner the customer's stands in, or the licence that is named, or the key that registers it. */
export const newAgent = z
  .strictObject({
    name: z.string().min(1).max(128),
    ...attributes,
    owner_license_id: text.optional(),
    jwks: jwkSet.optional(),
    credential: z.strictObject(credentialMembers).optional(),
  })
  .transform(({ risk_class, jwks, credential, owner_license_id, ...rest }, context): NewAgent => {
    const members = credential ?? { jwks };
    const fault = jwks !== undefined && credential !== undefined ? "jwks stands within credential, or alone" : faultOfKind(members);
    const owner = rest.owner ?? (owner_license_id === undefined ? undefined : `license:${owner_license_id}`);
    return orFault(fault, context, () => ({ ...rest, owner, riskClass: risk_class, credential: specOf(members) }));
  });

/** Of a row only that it is text: what is wrong in any of them is told at once. */
const cell = z.string().max(4096).optional();
export const manyAgents = z.strictObject({
  agents: z
    .array(
      z
        .strictObject({
          name: z.string().max(4096),
          owner: cell,
          purpose: cell,
          customer: cell,
          team: cell,
          workflow: cell,
          kind: cell,
          risk_class: cell,
        })
        .transform(({ risk_class, ...rest }) => ({ ...rest, riskClass: risk_class })),
    )
    .min(1)
    .max(10_000),
  secrets: z.boolean().optional(),
  dry_run: z.boolean().optional(),
});

export const agentChanges = z
  .strictObject({ name: z.string().min(1).max(128).optional(), ...attributes })
  .transform(({ risk_class, ...rest }) => ({ ...rest, riskClass: risk_class }));

/** What was not said stays as it was on the credential that is replaced. */
export type SpecOver = (before: Pick<CredentialMembers, "environment" | "scopes" | "servers">) => CredentialSpec;

function definedOf(members: CredentialMembers): CredentialMembers {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

/** `replaces` or `overlap` make it a rotation: of one credential, or of all of the same use. */
export const newCredential = z
  .strictObject({
    ...credentialMembers,
    replaces: z.string().max(64).optional(),
    overlap: span(30 * DAY_MS).optional(),
  })
  .transform(({ replaces, overlap, ...members }, context): { specOver: SpecOver; rotation: Rotation | null } =>
    orFault(faultOfKind(members), context, () => ({
      specOver: (before) => specOf({ ...before, ...definedOf(members) }),
      rotation: replaces === undefined && overlap === undefined ? null : { overlapMs: overlap ?? 0, replaces },
    })),
  );

/** Why, in the record. */
const reason = z.string().min(1).max(512).optional();
export const act = z.strictObject({ reason });
export const offboarding = z.strictObject({ owner: text, reason });
export const leak = z.strictObject({ text: z.string().min(8).max(16_384), reason, since: z.string().max(64).optional() });

const bounds = {
  tools: z.array(text).max(1_000).nullable().optional(),
  scopes: scopes.nullable().optional(),
  agents_max: z.int().min(0).max(1_000_000).nullable().optional(),
  owner: text.nullable().optional(),
};
const boundsOf = ({ agents_max, ...rest }: z.output<z.ZodObject<typeof bounds>>) => ({ ...rest, agentsMax: agents_max });
export const newCustomer = z
  .strictObject({ key: z.string().min(1).max(128), ...bounds })
  .transform(({ key, ...rest }) => ({ key, bounds: boundsOf(rest) }));
export const customerChanges = z.strictObject(bounds).transform(boundsOf);

export const newAdminKey = z
  .strictObject({
    name: z.string().min(1).max(128),
    role: z.enum(["viewer", "auditor", "operator", "approver", "admin"]),
    customer: text.optional(),
    expires_in: span(10 * YEAR_MS).optional(),
  })
  .transform(({ expires_in, ...rest }) => ({ ...rest, expiresInMs: expires_in }));

/** `server`: the name of a server or a view; without one the token is for `/mcp`. */
export const newToken = z.strictObject({ server: z.string().min(1).max(32).optional(), scope: z.string().max(2048).optional() });
