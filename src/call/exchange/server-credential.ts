/** Pure. What the gateway shows each upstream, as the operator configured it. */

/** A secret is revealed where it is used, so that no dump of the credential has it. */
type Secret = { reveal(): string };

export type ServerCredential =
  | { readonly kind: "none" }
  | { readonly kind: "bearer"; readonly bearer: Secret }
  | { readonly kind: "header"; readonly name: string; readonly value: Secret }
  | ClientCredentials
  | TokenExchange;

type OAuthClient = {
  /** The authorization server, compared character by character with its own metadata. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: Secret;
  /** RFC 8707: the upstream's URL, so that its authorization server binds the token to it. */
  readonly resource: string | null;
  readonly scopes: readonly string[];
};

/** RFC 6749 section 4.4: one token for all agents. */
export type ClientCredentials = OAuthClient & { readonly kind: "clientCredentials" };
/** RFC 8693: one token for each principal. */
export type TokenExchange = OAuthClient & { readonly kind: "tokenExchange"; readonly audience: string | null };

/** The claims of a JWT by which the gateway says for whom it asks; signed by its own key, `typ` JWT. */
export type AssertionClaims = {
  readonly iss: string;
  readonly aud: string;
  readonly sub: string;
  readonly act?: { readonly sub: string };
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
};

/** Outbound HTTP as the gateway allows it: no redirects, no coding but identity, addresses checked at connect. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;
