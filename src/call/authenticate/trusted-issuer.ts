/** Pure. Whose access tokens are accepted, and every limit of accepting them. */
import type { JWK } from "jose";
import { type Refusal, refuse } from "../../refusal.ts";
import type { ProfileName } from "./profiles.ts";

export const ALGORITHMS_DEFAULT = ["RS256", "PS256", "ES256", "Ed25519"] as const;
export type Algorithm = (typeof ALGORITHMS_DEFAULT)[number] | "EdDSA";

export type TrustedIssuer = {
  /** Compared character by character with `iss`. */
  readonly issuer: string;
  /** `own`: tokens of the embedded authorization server, strict RFC 9068 with `sub` = `client_id` = the agent's id. */
  readonly kind: "own" | "external";
  /** Null: the route's URL, `{publicUrl}/mcp/{server}`. A configured audience is valid on every route. */
  readonly audience: string | null;
  readonly algorithms?: readonly Algorithm[];
  /** Where the claims name the agent, by id or name: `claims.sub` is `["sub"]`; null: as its profile says. */
  readonly agentClaim: readonly string[] | null;
  /** Default: generic, which is RFC 9068. */
  readonly profile?: ProfileName;
  /** Of issuers whose tokens have no audience: the clients that are meant for this gateway. */
  readonly clients?: readonly string[];
  /** Null: an agent that nobody registered is refused. */
  readonly register?: RegisterRule | null;
  /** For opaque tokens; null: it has none. */
  readonly introspection?: Introspection | null;
  readonly jwks: LocalKeys | RemoteKeys;
  /** Longest `exp - iat`, milliseconds. */
  readonly maxLifetimeMs?: number;
};

/** RFC 7662. `prefix`: how its tokens begin, where several issuers have opaque ones. */
export type Introspection = {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: { reveal(): string };
  readonly prefix: string | null;
};

/** Which names become agents at their first sight, and with which attributes: texts, or `claims.x.y`. */
export type RegisterRule = { readonly matches: (name: string) => boolean; readonly attributes: Readonly<Record<string, string>> };

/** Public keys in this process. The same array until they change: an unchanged array costs nothing on the hot path. */
export type LocalKeys = { readonly kind: "local"; readonly keys: () => readonly JWK[] };
/** `uri` null: found by the issuer's own metadata (RFC 8414, then OpenID Connect Discovery). */
export type RemoteKeys = { readonly kind: "remote"; readonly uri: string | null };

/** Outbound HTTP as the gateway allows it: no redirects, no coding but identity, addresses checked at connect. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export type AuthenticateLimits = {
  /** RFC 9068 tokens with many claims stay under 4 KiB; jose spends 264 ms of CPU on 5 MB. */
  readonly accessTokenBytesMax: number;
  /** Clocks of issuer and gateway may differ by this much. */
  readonly skewMs: number;
  readonly maxLifetimeMs: number;
  /** Verified tokens kept in memory: by count, and by the bytes of their texts. */
  readonly verifiedMax: number;
  readonly verifiedBytesMax: number;
  /** How long a fetched key set counts: a key that its issuer removed is refused after this time. */
  readonly keysFreshMs: number;
  /** At most one fetch in this time for an unknown `kid`: random ones must not become a flood at the issuer. */
  readonly unknownKidPauseMs: number;
  /** Pause after a failed fetch: short enough for an issuer that starts together with the gateway. */
  readonly retryPauseMs: number;
  /** How long the last good keys count while their host is down. */
  readonly lastGoodMs: number;
  /** Real key sets and metadata are under 20 kB. */
  readonly documentBytesMax: number;
  readonly documentTimeoutMs: number;
  readonly keysMax: number;
};

export const LIMITS: AuthenticateLimits = {
  accessTokenBytesMax: 8192,
  skewMs: 30_000,
  maxLifetimeMs: 3_600_000,
  verifiedMax: 10_000,
  verifiedBytesMax: 33_554_432,
  keysFreshMs: 300_000,
  unknownKidPauseMs: 30_000,
  retryPauseMs: 5_000,
  lastGoodMs: 3_600_000,
  documentBytesMax: 65_536,
  documentTimeoutMs: 3_000,
  keysMax: 100,
};

/** Kind outside, exact inside: whatever is wrong with a credential that is present, the note alone tells it. */
export function invalid(note: string): Refusal {
  return refuse("credential_invalid", {}, note);
}
