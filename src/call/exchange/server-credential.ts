/** Pure. What the gateway shows each upstream, as the operator configured it. */

/** A secret is revealed where it is used, so that no dump of the credential has it. */
type Secret = { reveal(): string };

export type ServerCredential =
  | { readonly kind: "none" }
  /** The TLS layer has shown the client certificate already. */
  | { readonly kind: "mtls" }
  | { readonly kind: "bearer"; readonly bearer: Secret }
  | { readonly kind: "header"; readonly name: string; readonly value: Secret }
  /** RFC 7617. */
  | { readonly kind: "basic"; readonly username: string; readonly password: Secret }
  | ClientCredentials
  | TokenExchange;

/** How the gateway is registered at one authorization server, and how it proves that there. */
export type IssuerClient = {
  readonly clientId: string;
  readonly authentication:
    | {
        readonly kind: "secret";
        readonly secret: Secret /** Null: as the server's metadata says. */;
        readonly method: "basic" | "post" | null;
      }
    /** RFC 7523 section 2.2: PEM or JWK of a private key. */
    | { readonly kind: "key"; readonly key: Secret };
};

type OAuthClient = {
  /** The authorization server, compared character by character with its own metadata; or the upstream's URL, whose own metadata name it. */
  readonly issuer: string | { readonly discoveredFrom: string };
  /** By issuer: what is registered with one is never shown to another, whoever names it. */
  readonly clients: ReadonlyMap<string, IssuerClient>;
  /** RFC 8707: the upstream's URL, so that its authorization server binds the token to it. Null: none, or as the upstream's metadata say. */
  readonly resource: string | null;
  readonly scopes: readonly string[];
  /** Narrower tokens for single tools. */
  readonly toolScopes: readonly ToolScopes[];
};

export type ToolScopes = { matches(toolName: string): boolean; readonly scopes: readonly string[] };

/** RFC 6749 section 4.4: one token for all agents. `privateKeyJwt` is the same with a key in place of a secret. */
export type ClientCredentials = OAuthClient & { readonly kind: "clientCredentials" | "privateKeyJwt" };
/** One token for each principal: RFC 8693, or on behalf of the presented token at Entra. */
export type TokenExchange = OAuthClient & {
  readonly kind: "tokenExchange";
  readonly profile: "rfc8693" | "entra-obo";
  readonly audience: string | null;
  /** Whether an actor token names the agent beside a subject; null: where the gateway's own word stands for the subject. */
  readonly actorToken: boolean | null;
};

/** RFC 8693 section 4.1, nested: the outermost is the present actor. */
export type Act = { readonly sub: string; readonly act?: Act };

/** The claims of a JWT by which the gateway says for whom it asks; signed by its own key, `typ` JWT. */
export type AssertionClaims = {
  readonly iss: string;
  readonly aud: string;
  readonly sub: string;
  readonly act?: Act;
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
};

/** Outbound HTTP as the gateway allows it: no redirects, no coding but identity, addresses checked at connect. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;
