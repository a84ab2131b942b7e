/** Access token to agent: verified once, known at once until it ends; the directory is asked at every call. */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import { AccessToken, type Agent, type AgentDirectory, type AgentProfile, type AgentState } from "./agent.ts";
import { accessTokenOf } from "./bearer.ts";
import { type Grounds, readGrounds } from "./claims.ts";
import { readCompact } from "./compact.ts";
import { type Identity, readIdentity } from "./identity.ts";
import { type KeySet, type KeySource, verifySignature } from "./key-set.ts";
import { localKeySource } from "./local-keys.ts";
import { remoteKeySource } from "./remote-keys.ts";
import {
  ALGORITHMS_DEFAULT,
  type Algorithm,
  type AuthenticateLimits,
  type Fetch,
  invalid,
  LIMITS,
  type TrustedIssuer,
} from "./trusted-issuer.ts";

export type AuthenticatorOptions = {
  readonly publicUrl: string;
  readonly issuers: readonly TrustedIssuer[];
  readonly directory: AgentDirectory;
  readonly fetch: Fetch;
  readonly limits?: Partial<AuthenticateLimits>;
  readonly keysRefused?: (issuer: string, fault: string) => void;
};

/** `server` null: whatever route of this gateway the token is for, since what an agent asks about itself belongs to none. */
export type Authenticate = (
  authorization: string | null,
  server: ServerName | null,
  nowMs: number,
) => Agent | Refusal | Promise<Agent | Refusal>;

type Issuer = { readonly trusted: TrustedIssuer; readonly algorithms: readonly Algorithm[]; readonly keys: KeySource };

/** A token whose signature and claims hold. What can change without a new token (time, keys, directory) is judged at every call. */
type Verified = {
  readonly issuer: Issuer;
  readonly keySet: KeySet;
  readonly grounds: Grounds;
  readonly identity: Identity;
  readonly accessToken: AccessToken;
  /** The agent as last built, and the directory's entry that it was built from. */
  agent: Agent | null;
  profile: AgentProfile | null;
};

const ROUTE_NAME = /^[a-z0-9-]{1,32}$/;
const WRONG_AUDIENCE = invalid("aud is not this resource");
const UNKNOWN_ISSUER = invalid("iss is not a trusted issuer");
const UNKNOWN_AGENT = refuse("agent_unknown");
const STOPPED: Readonly<Record<AgentState, Refusal | null>> = {
  active: null,
  suspended: refuse("agent_suspended"),
  revoked: refuse("agent_revoked"),
};

export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const limits = { ...LIMITS, ...options.limits };
  const issuers = trust(options, limits);
  const root = `${options.publicUrl.replace(/\/$/, "")}/mcp`;
  // A view's name is as good as a server's; `/mcp` itself has none.
  const resourceOf = (name: ServerName) => (name === "" ? root : `${root}/${name}`);
  // The digest of a text only finds what was verified under exactly this text; identity, revocation and principals
  // come from the claims, since one token can have several texts (an ECDSA signature has a twin).
  const known = new LRUCache<string, Verified>({
    max: limits.verifiedMax,
    maxSize: limits.verifiedBytesMax,
    sizeCalculation: (verified) => verified.accessToken.reveal().length,
  });

  function authenticate(
    authorization: string | null,
    server: ServerName | null,
    nowMs: number,
  ): Agent | Refusal | Promise<Agent | Refusal> {
    const accessToken = accessTokenOf(authorization, limits.accessTokenBytesMax);
    if (typeof accessToken !== "string") return accessToken;
    const digest = hash("sha256", accessToken, "base64");
    const verified = known.get(digest);
    if (verified !== undefined) {
      if (isCurrent(verified, nowMs)) return admit(verified, server);
      known.delete(digest);
    }
    return verify(accessToken, nowMs).then((fresh) => {
      if (isRefusal(fresh)) return fresh;
      known.set(digest, fresh);
      return admit(fresh, server);
    });
  }

  const isCurrent = ({ grounds, issuer, keySet }: Verified, nowMs: number) =>
    nowMs < grounds.expiresAtMs + limits.skewMs && issuer.keys.holds(keySet, nowMs);

  /** Cheap before dear: nothing is fetched and no signature verified for a token that could not be accepted anyway. */
  async function verify(accessToken: string, nowMs: number): Promise<Verified | Refusal> {
    const compact = readCompact(accessToken);
    if (isRefusal(compact)) return compact;
    const { header, claims } = compact;
    const issuer = typeof claims.iss === "string" ? issuers.get(claims.iss) : undefined;
    if (issuer === undefined) return UNKNOWN_ISSUER;
    if (!issuer.algorithms.some((algorithm) => algorithm === header.algorithm)) return invalid("alg is not allowed for this issuer");
    const grounds = readGrounds(claims, issuer.trusted, limits, nowMs);
    if (isRefusal(grounds)) return grounds;
    const identity = readIdentity(claims, issuer.trusted);
    if (isRefusal(identity)) return identity;
    const keySet = await verifySignature(accessToken, header, issuer.keys, nowMs);
    if (isRefusal(keySet)) return keySet;
    return { issuer, keySet, grounds, identity, accessToken: new AccessToken(accessToken), agent: null, profile: null };
  }

  function isMeant({ trusted }: Issuer, audience: string, server: ServerName | null): boolean {
    if (trusted.audience !== null) return audience === trusted.audience;
    if (server !== null) return audience === resourceOf(server);
    return audience === root || (audience.startsWith(`${root}/`) && ROUTE_NAME.test(audience.slice(root.length + 1)));
  }

  function admit(verified: Verified, server: ServerName | null): Agent | Refusal {
    const { trusted } = verified.issuer;
    if (!isMeant(verified.issuer, verified.grounds.audience, server)) return WRONG_AUDIENCE;
    const name = verified.identity.agent;
    const profile = options.directory.byId(name) ?? (trusted.kind === "own" ? undefined : options.directory.byName(name));
    if (profile === undefined) return UNKNOWN_AGENT;
    const stopped = STOPPED[profile.state];
    if (stopped !== null) return stopped;
    if (verified.agent !== null && verified.profile === profile) return verified.agent;
    verified.profile = profile;
    verified.agent = agentOf(verified, profile);
    return verified.agent;
  }

  return authenticate;
}

function trust(options: AuthenticatorOptions, limits: AuthenticateLimits): ReadonlyMap<string, Issuer> {
  const issuers = new Map<string, Issuer>();
  for (const trusted of options.issuers) {
    if (issuers.has(trusted.issuer)) throw new Error(`the issuer ${trusted.issuer} is named twice`);
    const algorithms = trusted.algorithms ?? ALGORITHMS_DEFAULT;
    const { issuer, jwks } = trusted;
    const keysRefused = options.keysRefused ?? (() => {});
    const keys =
      jwks.kind === "local"
        ? localKeySource(jwks, algorithms, limits.keysMax)
        : remoteKeySource({ issuer, remote: jwks, algorithms, fetch: options.fetch, limits, keysRefused });
    issuers.set(issuer, { trusted, algorithms, keys });
  }
  return issuers;
}

function agentOf({ issuer, grounds, identity, accessToken }: Verified, profile: AgentProfile): Agent {
  const iss = issuer.trusted.issuer;
  const { subject, instance, workflow } = identity;
  return {
    // What the registry says of a workflow stands; a token only fills the gap.
    profile: profile.workflow === null && workflow !== null ? { ...profile, workflow } : profile,
    instance,
    subject,
    actors: identity.actors,
    roles: identity.roles,
    scopes: identity.scopes,
    issuer: iss,
    clientId: grounds.clientId,
    tokenId: grounds.tokenId,
    expiresAtMs: grounds.expiresAtMs,
    // By name, which no other agent ever has: another gateway knows the agent of an external issuer under an id of its own.
    principal: hash("sha256", JSON.stringify([iss, subject, grounds.clientId, profile.name, instance]), "base64url"),
    accessToken,
  };
}
