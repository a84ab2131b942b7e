/** Pure. Whose access tokens this gateway accepts: its own authorization server's, and those of the configuration. */
import type { LocalKeys, TrustedIssuer } from "./call/authenticate/trusted-issuer.ts";
import type { Config } from "./config.ts";

export function issuersOf(config: Config, publicKeys: ReturnType<LocalKeys["keys"]>): TrustedIssuer[] {
  const own: TrustedIssuer = {
    issuer: config.publicUrl,
    kind: "own",
    audience: null,
    agentClaim: ["sub"],
    jwks: { kind: "local", keys: () => publicKeys },
  };
  const external = config.issuers.map(
    ({ jwksUri, profile: _, ...issuer }): TrustedIssuer => ({ ...issuer, kind: "external", jwks: { kind: "remote", uri: jwksUri } }),
  );
  return config.authorizationServer.enabled ? [own, ...external] : external;
}
