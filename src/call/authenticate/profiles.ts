/** Pure. What the access tokens of each identity provider really look like: data, from the providers' documentation. */
import { isObject, type JsonObject } from "./compact.ts";

export const PROFILE_NAMES = ["generic", "okta", "entra", "auth0", "keycloak", "ping", "cognito", "kubernetes"] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

type Path = readonly string[];

export type IssuerProfile = {
  /** `typ` of its access tokens, without `application/`; null: the header has none. */
  readonly types: readonly (string | null)[];
  /** `one`: exactly one. `beside`: others of the provider's own may stand beside it. `client`: there is none, and the client stands for it. */
  readonly audience: "one" | "beside" | "client";
  /** Audiences of the provider itself that may stand beside ours. */
  readonly beside: (issuer: string) => readonly string[];
  /** What names the agent, the first that is there. */
  readonly agent: readonly Path[];
  readonly client: readonly Path[];
  readonly tokenId: Path;
  /** Claims that hold scopes; two of them at once are two answers to one question. */
  readonly scopes: readonly ("scope" | "scp")[];
  readonly roles: readonly Path[];
  readonly instance: Path;
  /** The agent's own token, although `sub` and the agent's claim differ. */
  readonly isMachine: (claims: JsonObject) => boolean;
  /** What an ID token or a refresh token of the same issuer does not have. */
  readonly isAccessToken: (claims: JsonObject) => boolean;
  readonly maxLifetimeMs: number;
};

const HOUR_MS = 3_600_000;
const never = () => false;

/** RFC 9068, as strictly as it is written. */
const generic: IssuerProfile = {
  types: ["at+jwt"],
  audience: "one",
  beside: () => [],
  agent: [["sub"]],
  client: [["client_id"]],
  tokenId: ["jti"],
  scopes: ["scope"],
  roles: [["roles"]],
  instance: ["instance"],
  isMachine: never,
  isAccessToken: () => true,
  maxLifetimeMs: HOUR_MS,
};

/** OpenID Connect Core sections 2 and 3.1.3.6: claims of ID tokens alone. */
const ID_TOKEN_CLAIMS = ["nonce", "at_hash", "c_hash"];
export const isNoIdToken = (claims: JsonObject) => ID_TOKEN_CLAIMS.every((claim) => !Object.hasOwn(claims, claim));

export const PROFILES: Readonly<Record<ProfileName, IssuerProfile>> = {
  generic,
  // Okta, "Access token": custom authorization servers; `cid` and a `jti` that begins with AT. are in no ID token.
  okta: {
    ...generic,
    types: [null, "JWT", "at+jwt", "okta-internal-at+jwt"],
    agent: [["cid"]],
    client: [["cid"]],
    scopes: ["scp"],
    roles: [["groups"]],
    isAccessToken: (claims) => isNoIdToken(claims) && typeof claims.jti === "string" && claims.jti.startsWith("AT."),
    maxLifetimeMs: 24 * HOUR_MS,
  },
  // Microsoft identity platform, "Access token claims reference": version 2 has azp, version 1 appid; an app's own token has roles and no scp.
  entra: {
    ...generic,
    types: ["JWT", "at+jwt"],
    agent: [["azp"], ["appid"]],
    client: [["azp"], ["appid"]],
    tokenId: ["uti"],
    scopes: ["scp"],
    isMachine: (claims) => claims.scp === undefined,
    isAccessToken: (claims) => isNoIdToken(claims) && (Object.hasOwn(claims, "azpacr") || Object.hasOwn(claims, "appidacr")),
    maxLifetimeMs: 28 * HOUR_MS,
  },
  // Auth0, "Access token profiles": both; the userinfo endpoint stands beside the API where openid was asked for.
  auth0: {
    ...generic,
    types: ["JWT", "at+jwt"],
    audience: "beside",
    beside: (issuer) => [`${issuer.replace(/\/$/, "")}/userinfo`],
    agent: [["azp"], ["client_id"]],
    client: [["azp"], ["client_id"]],
    roles: [],
    isMachine: (claims) => typeof claims.sub === "string" && claims.sub.endsWith("@clients"),
    isAccessToken: (claims) => isNoIdToken(claims) && (Object.hasOwn(claims, "azp") || Object.hasOwn(claims, "client_id")),
    maxLifetimeMs: 24 * HOUR_MS,
  },
  // Keycloak: `typ` stands in the claims as well, and tells a Bearer token from an ID or Refresh token.
  keycloak: {
    ...generic,
    types: ["JWT", "at+jwt"],
    audience: "beside",
    beside: () => ["account"],
    agent: [["azp"]],
    client: [["azp"]],
    roles: [["realm_access", "roles"]],
    isMachine: (claims) => typeof claims.preferred_username === "string" && claims.preferred_username.startsWith("service-account-"),
    isAccessToken: (claims) => isNoIdToken(claims) && claims.typ === "Bearer",
  },
  // PingOne and PingFederate, JWT access tokens.
  ping: {
    ...generic,
    types: [null, "JWT", "at+jwt"],
    agent: [["client_id"]],
    roles: [],
    isAccessToken: (claims) => isNoIdToken(claims) && Object.hasOwn(claims, "client_id"),
  },
  // Amazon Cognito, "Understanding the access token": no aud; token_use tells it from an ID token.
  cognito: {
    ...generic,
    types: [null, "JWT"],
    audience: "client",
    agent: [["client_id"]],
    roles: [["cognito:groups"]],
    isAccessToken: (claims) => isNoIdToken(claims) && claims.token_use === "access",
    maxLifetimeMs: 24 * HOUR_MS,
  },
  // Kubernetes, "Managing Service Accounts": bound tokens of the TokenRequest API.
  kubernetes: {
    ...generic,
    types: [null, "JWT"],
    client: [],
    scopes: [],
    roles: [],
    instance: ["kubernetes.io", "pod", "name"],
    isAccessToken: (claims) =>
      typeof claims.sub === "string" && claims.sub.startsWith("system:serviceaccount:") && isObject(claims["kubernetes.io"]),
    maxLifetimeMs: 2 * HOUR_MS,
  },
};

/** Undefined where it is not there; own members alone. */
export function claimAt(claims: JsonObject, path: Path): unknown {
  let value: unknown = claims;
  for (const member of path) value = isObject(value) && Object.hasOwn(value, member) ? value[member] : undefined;
  return value;
}

/** The first of several that is there. */
export function firstClaim(claims: JsonObject, paths: readonly Path[]): unknown {
  for (const path of paths) {
    const value = claimAt(claims, path);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** What stands for the audience of tokens that have none: no resource is called so. */
export const CLIENT_STANDS_FOR_AUDIENCE = "urn:tollgate:audience:client";
