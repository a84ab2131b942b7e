/** Pure. Whose access tokens this gateway accepts: its own authorization server's, and those of the configuration. */
import { CLIENT_STANDS_FOR_AUDIENCE, PROFILES } from "./call/authenticate/profiles.ts";
import type { LocalKeys, RemoteKeys, TrustedIssuer } from "./call/authenticate/trusted-issuer.ts";
import { globOf } from "./call/authorize/glob.ts";
import type { Config, Issuer } from "./config.ts";

export function issuersOf(config: Config, publicKeys: ReturnType<LocalKeys["keys"]>): TrustedIssuer[] {
  const own: TrustedIssuer = {
    issuer: config.publicUrl,
    kind: "own",
    audience: null,
    agentClaim: ["sub"],
    jwks: { kind: "local", keys: () => publicKeys },
  };
  const external = config.issuers.map(trustedIssuer);
  return config.authorizationServer.enabled ? [own, ...external] : external;
}

function trustedIssuer({ jwksUri, jwks, register, ...issuer }: Issuer): TrustedIssuer {
  const globs = (register?.where ?? []).map(globOf);
  return {
    ...issuer,
    kind: "external",
    audience: PROFILES[issuer.profile].audience === "client" ? CLIENT_STANDS_FOR_AUDIENCE : issuer.audience,
    register: register === null ? null : { matches: (name) => globs.some((glob) => glob(name)), attributes: register.attributes },
    jwks: jwks === null ? { kind: "remote", uri: jwksUri } : keysIn(issuer.issuer, jwks.reveal()),
  };
}

function keysIn(issuer: string, text: string): LocalKeys | RemoteKeys {
  let keys: ReturnType<LocalKeys["keys"]> | undefined;
  try {
    keys = (JSON.parse(text) as { keys?: ReturnType<LocalKeys["keys"]> }).keys;
  } catch {
    keys = undefined;
  }
  if (!Array.isArray(keys)) throw new Error(`issuers: jwks of ${issuer} is not a JWK Set`);
  return { kind: "local", keys: () => keys };
}
