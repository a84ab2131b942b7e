/** Pure. The authorization server's metadata (RFC 8414): what works here, and nothing else. */
import { BUDGET_DETAIL } from "./budget-details.ts";
import { GRANTS } from "./grant-request.ts";

export const CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"] as const;
export const CLIENT_AUTH_ALGORITHMS = ["RS256", "PS256", "ES256", "Ed25519"] as const;

export function metadataOf(publicUrl: string): Record<string, unknown> {
  return {
    issuer: publicUrl,
    token_endpoint: `${publicUrl}/oauth/token`,
    introspection_endpoint: `${publicUrl}/oauth/introspect`,
    revocation_endpoint: `${publicUrl}/oauth/revoke`,
    jwks_uri: `${publicUrl}/oauth/jwks`,
    // No grant here uses it, and it answers 404; clients' libraries refuse metadata without the member.
    authorization_endpoint: `${publicUrl}/oauth/authorize`,
    response_types_supported: [],
    grant_types_supported: Object.values(GRANTS),
    scopes_supported: ["mcp"],
    // RFC 9396 section 10.
    authorization_details_types_supported: [BUDGET_DETAIL],
    token_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
    token_endpoint_auth_signing_alg_values_supported: CLIENT_AUTH_ALGORITHMS,
    introspection_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
    introspection_endpoint_auth_signing_alg_values_supported: CLIENT_AUTH_ALGORITHMS,
    revocation_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: CLIENT_AUTH_ALGORITHMS,
    code_challenge_methods_supported: ["S256"],
    // Required of OpenID Connect documents; no ID token is issued.
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["ES256"],
  };
}
