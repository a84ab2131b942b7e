/** Pure. What the gateway shows an upstream instead of the agent's token. */

export type IssuedToken = {
  readonly kind: "none" | "mtls" | "bearer" | "header" | "basic" | "clientCredentials" | "privateKeyJwt" | "tokenExchange";
  /** Lower-case header names to values; secrets: never logged. `toJSON` of the holder redacts them. */
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch, or null where the credential does not expire. */
  readonly expiresAtMs: number | null;
  /** Same credential, same text: catalogues and pools of an upstream may be shared within it. Contains no secret. */
  readonly shareKey: string;
};
