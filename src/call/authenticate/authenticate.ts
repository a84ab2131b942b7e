/** Credential to agent: a token is verified once and known at once until it ends, a key is looked up; the directory is asked at every call. */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import { AccessToken, type Agent, type AgentDirectory, type AgentProfile } from "./agent.ts";
import { accessTokenOf } from "./bearer.ts";
import { type Grounds, readGrounds } from "./claims.ts";
import { type JsonObject, readCompact } from "./compact.ts";
import { createFirstSight, type Register } from "./first-sight.ts";
import { type Identity, readIdentity } from "./identity.ts";
import { createIntrospection, type Introspected } from "./introspection.ts";
import { verifySignature } from "./key-set.ts";
import { isOpaqueKey, opaqueKeys } from "./opaque-key.ts";
import { isNoIdToken, PROFILES } from "./profiles.ts";
import { scopesWithin } from "./scopes-within.ts";
import { type TrustOptions, trust } from "./trust.ts";
import { invalid, LIMITS, type TrustedIssuer } from "./trusted-issuer.ts";
import type { VerifyToken } from "./verified-token.ts";

export type AuthenticatorOptions = TrustOptions & {
  readonly publicUrl: string;
  readonly directory: AgentDirectory;
  /** For issuers whose rules register agents at first sight. */
  readonly register?: Register;
};

/** `server` null: of this gateway as a whole, whatever route of it the credential is for. */
export type Authenticate = (
  authorization: string | null,
  server: ServerName | null,
  nowMs: number,
) => Agent | Refusal | Promise<Agent | Refusal>;

export type Authenticator = { readonly authenticate: Authenticate; readonly verify: VerifyToken };

/** A token whose signature and claims hold. What can change without a new token (time, keys, directory) is judged at every call. */
type Verified = {
  readonly trusted: TrustedIssuer;
  /** Whether nothing has happened since that would need a second look. */
  readonly holds: (nowMs: number) => boolean;
  readonly grounds: Grounds;
  readonly identity: Identity;
  readonly accessToken: AccessToken;
  /** Kept where a rule may register the agent by them; else null. */
  readonly claims: JsonObject;
  /** The agent as last built, and the directory's entry that it was built from. */
  agent: Agent | null;
  profile: AgentProfile | null;
};

const ROUTE_NAME = /^[a-z0-9-]{1,32}$/;
const WRONG_AUDIENCE = invalid("aud is not this resource");
const UNKNOWN_ISSUER = invalid("iss is not a trusted issuer");
const REVOKED = invalid("the token was revoked");
const NAMES_NOBODY = invalid("the claim that names the agent is missing");
const UNKNOWN_AGENT = refuse("agent_unknown");
const STOPPED = { suspended: "agent_suspended", revoked: "agent_revoked" } as const;

/** Null: it may call. The note is for our own record, which has no agent where none was let in. */
function stopped({ id, name, state }: AgentProfile): Refusal | null {
  return state === "active" ? null : refuse(STOPPED[state], {}, `${name} (${id}) is ${state}`);
}

export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { directory } = options;
  const limits = { ...LIMITS, ...options.limits };
  const issuers = trust(options, limits);
  const publicUrl = options.publicUrl.replace(/\/$/, "");
  const root = `${publicUrl}/mcp`;
  // A view's name is as good as a server's; `/mcp` itself has none.
  const resourceOf = (name: ServerName) => (name === "" ? root : `${root}/${name}`);
  const isOurs = (audience: string) =>
    audience === root || (audience.startsWith(`${root}/`) && ROUTE_NAME.test(audience.slice(root.length + 1)));
  // The digest of a text only finds what was verified under exactly this text; identity, revocation and principals
  // come from the claims, since one token can have several texts (an ECDSA signature has a twin).
  const known = new LRUCache<string, Verified>({
    max: limits.verifiedMax,
    maxSize: limits.verifiedBytesMax,
    sizeCalculation: (verified) => verified.accessToken.reveal().length,
  });
  const firstSight = options.register === undefined ? null : createFirstSight(options.register);
  const introspect = createIntrospection(options.issuers, options.fetch, limits);
  const byKey = opaqueKeys(directory, publicUrl);

  function authenticate(
    authorization: string | null,
    server: ServerName | null,
    nowMs: number,
  ): Agent | Refusal | Promise<Agent | Refusal> {
    const accessToken = accessTokenOf(authorization, limits.accessTokenBytesMax);
    if (typeof accessToken !== "string") return accessToken;
    if (isOpaqueKey(accessToken)) {
      const agent = byKey(accessToken, server, nowMs);
      return isRefusal(agent) ? agent : (stopped(agent.profile) ?? agent);
    }
    const digest = hash("sha256", accessToken, "base64");
    const verified = known.get(digest);
    if (verified !== undefined) {
      if (isCurrent(verified, nowMs)) return admit(verified, server, nowMs);
      known.delete(digest);
    }
    return verify(accessToken, "access", nowMs).then((fresh) => {
      if (isRefusal(fresh)) return fresh;
      known.set(digest, fresh.verified);
      return admit(fresh.verified, server, nowMs);
    });
  }

  const isCurrent = ({ grounds, holds }: Verified, nowMs: number) => nowMs < grounds.expiresAtMs + limits.skewMs && holds(nowMs);

  /** Cheap before dear: nothing is fetched and no signature verified for a token that could not be accepted anyway. */
  async function verify(
    accessToken: string,
    use: "access" | "assertion",
    nowMs: number,
  ): Promise<{ readonly verified: Verified; readonly claims: JsonObject } | Refusal> {
    const asked = use === "access" ? introspect(accessToken, nowMs) : null;
    if (asked !== null) return await asked.then((answer) => (isRefusal(answer) ? answer : introspected(answer, accessToken)));
    const compact = readCompact(accessToken);
    if (isRefusal(compact)) return compact;
    const { header, claims } = compact;
    const issuer = typeof claims.iss === "string" ? issuers.get(claims.iss) : undefined;
    if (issuer === undefined) return UNKNOWN_ISSUER;
    if (!isOfUse(header.type, use, issuer.trusted)) return invalid(use === "access" ? "typ is not at+jwt" : "typ is not JWT");
    if (use === "assertion" && !isNoIdToken(claims)) return invalid("an ID token is no assertion");
    if (!issuer.algorithms.some((algorithm) => algorithm === header.algorithm)) return invalid("alg is not allowed for this issuer");
    const grounds = readGrounds(claims, issuer.trusted, limits, nowMs);
    if (isRefusal(grounds)) return grounds;
    const identity = readIdentity(claims, issuer.trusted);
    if (isRefusal(identity)) return identity;
    const keySet = await verifySignature(accessToken, header, issuer.keys, nowMs);
    if (isRefusal(keySet)) return keySet;
    const { trusted, keys } = issuer;
    return verifiedAs({ trusted, grounds, identity, claims }, accessToken, (laterMs) => keys.holds(keySet, laterMs));
  }

  function admit(verified: Verified, server: ServerName | null, nowMs: number): Agent | Refusal | Promise<Agent | Refusal> {
    const { trusted } = verified;
    const { audience } = verified.grounds;
    const expected = trusted.audience ?? (server === null ? null : resourceOf(server));
    if (expected === null ? !isOurs(audience) : audience !== expected) return WRONG_AUDIENCE;
    if (isRevoked(verified)) return REVOKED;
    if (verified.identity.agent === null) return NAMES_NOBODY;
    const profile = profileOf(verified);
    if (profile !== undefined) return enter(verified, profile);
    return register(verified, verified.claims, nowMs).then((made) => (isRefusal(made) ? made : enter(verified, made)));
  }

  async function register({ trusted, identity }: Verified, claims: JsonObject, nowMs: number): Promise<AgentProfile | Refusal> {
    const { issuer: iss, register: rule } = trusted;
    if (!rule || identity.agent === null || firstSight === null) return UNKNOWN_AGENT;
    return await firstSight(iss, rule, identity.agent, claims, nowMs);
  }

  function enter(verified: Verified, profile: AgentProfile): Agent | Refusal {
    const refusal = stopped(profile);
    if (refusal !== null) return refusal;
    if (verified.agent !== null && verified.profile === profile) return verified.agent;
    verified.profile = profile;
    verified.agent = agentOf(verified, profile);
    return verified.agent;
  }

  const isRevoked = ({ trusted, grounds }: Verified): boolean =>
    grounds.tokenId !== null && directory.isRevoked(trusted.issuer, grounds.tokenId);

  /** Who was registered at the first sight of an issuer's token is that issuer's to name, by exactly what was seen; nobody else's. */
  function profileOf({ trusted, identity }: Verified): AgentProfile | undefined {
    const { kind, issuer: iss } = trusted;
    if (identity.agent === null) return undefined;
    if (kind === "own") return directory.byId(identity.agent);
    const seen = directory.byIdentity(iss, identity.agent);
    if (seen !== undefined) return seen;
    const named = directory.byId(identity.agent) ?? directory.byName(identity.agent);
    return named?.issuer === null ? named : undefined;
  }

  const verifyToken: VerifyToken = async (text, { audiences, use }, nowMs) => {
    if (text.length > limits.accessTokenBytesMax) return invalid("the token is too long");
    const fresh = await verify(text, use, nowMs);
    if (isRefusal(fresh)) return fresh;
    const { verified, claims } = fresh;
    const { trusted, grounds, identity } = verified;
    const { audience, clientId, tokenId, expiresAtMs } = grounds;
    const expected = trusted.audience;
    if (!(expected === null ? audiences.includes(audience) : audience === expected || audiences.includes(audience))) return WRONG_AUDIENCE;
    if (isRevoked(verified)) return REVOKED;
    const { agent: agentName, ...rest } = identity;
    const own = trusted.kind === "own";
    const known = profileOf(verified);
    const seen = known === undefined && agentName !== null ? await register(verified, claims, nowMs) : (known ?? null);
    if (isRefusal(seen) && seen.refused !== "agent_unknown") return seen;
    return {
      ...{ issuer: trusted.issuer, own, agentName, ...rest, profile: isRefusal(seen) ? null : seen },
      ...{ clientId, tokenId, audience, expiresAtMs, claims },
    };
  };

  return { authenticate, verify: verifyToken };
}

/** RFC 9068 section 2.1, or what the issuer's profile has in its place: nothing else is an access token, least of all an ID token or a DPoP proof. */
function isOfUse(type: string | null, use: "access" | "assertion", { profile = "generic" }: TrustedIssuer): boolean {
  if (PROFILES[profile].types.includes(type)) return true;
  return use === "assertion" && (type === null || type === "JWT");
}

type Read = Pick<Introspected, "trusted" | "grounds" | "identity" | "claims">;

function verifiedAs({ trusted, grounds, identity, claims }: Read, text: string, holds: Verified["holds"]) {
  const accessToken = new AccessToken(text);
  return { verified: { trusted, holds, grounds, identity, accessToken, claims, agent: null, profile: null }, claims };
}

function introspected(answer: Introspected, text: string) {
  return verifiedAs(answer, text, (nowMs) => nowMs < answer.untilMs);
}

function agentOf({ trusted, grounds, identity, accessToken, claims }: Verified, profile: AgentProfile): Agent {
  const iss = trusted.issuer;
  const { subject, person, instance, workflow } = identity;
  return {
    // What the registry says of a workflow stands; a token only fills the gap.
    profile: profile.workflow === null && workflow !== null ? { ...profile, workflow } : profile,
    instance,
    subject,
    person,
    actors: identity.actors,
    roles: identity.roles,
    scopes: scopesWithin(identity.scopes, profile.account.scopes),
    issuer: iss,
    clientId: grounds.clientId,
    tokenId: grounds.tokenId,
    expiresAtMs: grounds.expiresAtMs,
    claims,
    environment: "live",
    // By name, which no other agent ever has: another gateway knows the agent of an external issuer under an id of its own.
    principal: hash("sha256", JSON.stringify([iss, person, grounds.clientId, profile.name, instance]), "base64url"),
    accessToken,
  };
}
