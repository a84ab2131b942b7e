/** Pure. The registered claims of an access token, checked as strictly as RFC 9068 allows: jose lets most of these pass. */
import type { Refusal } from "../../refusal.ts";
import type { JsonObject } from "./compact.ts";
import { CLIENT_STANDS_FOR_AUDIENCE, claimAt, firstClaim, type IssuerProfile, PROFILES } from "./profiles.ts";
import { type AuthenticateLimits, invalid, type TrustedIssuer } from "./trusted-issuer.ts";

export const TEXT_BYTES_MAX = 255;

export type Grounds = {
  readonly audience: string;
  readonly clientId: string | null;
  readonly tokenId: string | null;
  readonly expiresAtMs: number;
};

export function readGrounds(claims: JsonObject, issuer: TrustedIssuer, limits: AuthenticateLimits, nowMs: number): Grounds | Refusal {
  const profile = PROFILES[issuer.profile ?? "generic"];
  if (!profile.isAccessToken(claims)) return invalid("the claims are not those of an access token of this issuer");
  const audience = audienceOf(claims, issuer, profile);
  if (audience === null) return invalid("aud is not exactly one audience");
  const late = readTimes(claims, issuer.maxLifetimeMs ?? limits.maxLifetimeMs, limits.skewMs, nowMs);
  if (late !== null) return invalid(late);
  // RFC 9449 section 7.2, RFC 8705 section 3: a token bound to a key is worth nothing without the proof.
  if (claims.cnf !== undefined) return invalid("the access token is bound to a key and came as a bearer token");
  const clientId = optionalText(firstClaim(claims, profile.client));
  const tokenId = optionalText(claimAt(claims, profile.tokenId));
  if (clientId === undefined || tokenId === undefined) return invalid("client_id or jti is not a clean string");
  if (issuer.kind === "own" && (clientId === null || tokenId === null)) return invalid("client_id or jti is missing");
  return { audience, clientId, tokenId, expiresAtMs: Number(claims.exp) * 1000 };
}

function audienceOf(claims: JsonObject, { issuer, clients = [] }: TrustedIssuer, profile: IssuerProfile): string | null {
  if (profile.audience === "client" && claims.aud === undefined) {
    const client = firstClaim(claims, profile.client);
    return typeof client === "string" && clients.includes(client) ? CLIENT_STANDS_FOR_AUDIENCE : null;
  }
  if (profile.audience !== "beside" || !Array.isArray(claims.aud)) return soleAudience(claims.aud);
  const own = profile.beside(issuer);
  return soleAudience(claims.aud.filter((each) => !own.includes(each)));
}

/** One audience, as a string or as a list of one: a token that another resource may hold as well could be replayed by it. */
function soleAudience(value: unknown): string | null {
  const audience = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return typeof audience === "string" ? audience : null;
}

function readTimes(claims: JsonObject, maxLifetimeMs: number, skewMs: number, nowMs: number): string | null {
  const { exp, iat, nbf } = claims;
  if (!isSeconds(exp)) return "exp is not a whole number of seconds";
  if (!isSeconds(iat)) return "iat is not a whole number of seconds";
  if (nbf !== undefined && !isSeconds(nbf)) return "nbf is not a whole number of seconds";
  if (exp <= iat) return "exp is not after iat";
  if ((exp - iat) * 1000 > maxLifetimeMs) return "the lifetime is too long";
  if (iat * 1000 > nowMs + skewMs) return "iat is in the future";
  if (nbf !== undefined && nbf * 1000 > nowMs + skewMs) return "nbf is in the future";
  if (exp * 1000 + skewMs <= nowMs) return "the access token has expired";
  return null;
}

/** Up to the year 9999: beyond it a date cannot be printed. */
const SECONDS_MAX = 253_402_300_799;

function isSeconds(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= SECONDS_MAX;
}

/** Control, format (bidirectional marks, zero width), surrogate and separator characters: an id that has them can look like another. */
const UNCLEAN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

export function isCleanText(value: unknown): value is string {
  return typeof value === "string" && value !== "" && Buffer.byteLength(value) <= TEXT_BYTES_MAX && !UNCLEAN.test(value);
}

/** Null: absent. Undefined: present, but not clean text. */
export function optionalText(value: unknown): string | null | undefined {
  if (value === undefined) return null;
  return isCleanText(value) ? value : undefined;
}
