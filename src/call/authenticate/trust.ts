/** The issuers whose tokens count, each with the source of its keys. */
import type { KeySource } from "./key-set.ts";
import { localKeySource } from "./local-keys.ts";
import { remoteKeySource } from "./remote-keys.ts";
import { ALGORITHMS_DEFAULT, type Algorithm, type AuthenticateLimits, type Fetch, type TrustedIssuer } from "./trusted-issuer.ts";

export type TrustOptions = {
  readonly issuers: readonly TrustedIssuer[];
  readonly fetch: Fetch;
  readonly limits?: Partial<AuthenticateLimits>;
  readonly keysRefused?: (issuer: string, fault: string) => void;
};

export type Issuer = { readonly trusted: TrustedIssuer; readonly algorithms: readonly Algorithm[]; readonly keys: KeySource };

export function trust(options: TrustOptions, limits: AuthenticateLimits): ReadonlyMap<string, Issuer> {
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
