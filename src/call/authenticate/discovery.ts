/** Where an issuer publishes its keys, by its own metadata; metadata that names another issuer is never followed. */
import { isObject } from "./compact.ts";
import { fetchDocument } from "./document.ts";
import type { AuthenticateLimits, Fetch } from "./trusted-issuer.ts";

/** The first address that answers decides. A fault names what stood in the way. */
export async function discoverKeysUri(fetch: Fetch, issuer: string, limits: AuthenticateLimits): Promise<URL | string> {
  for (const address of metadataAddresses(issuer)) {
    const fetched = await fetchDocument(fetch, address, ["application/json"], limits);
    if ("fault" in fetched) {
      if (fetched.absent) continue;
      return `metadata: ${fetched.fault}`;
    }
    const metadata = fetched.document;
    // RFC 8414 section 3.3: identical, or it is somebody else's.
    if (!isObject(metadata) || metadata.issuer !== issuer) return "metadata: another issuer";
    return URL.parse(String(metadata.jwks_uri)) ?? "metadata: no jwks_uri";
  }
  return "metadata: not found";
}

/** RFC 8414 section 3.1, then OpenID Connect by insertion, then by appending: the order of MCP clients. */
function metadataAddresses(issuer: string): readonly string[] {
  const url = URL.parse(issuer);
  if (url === null) return [];
  const { origin } = url;
  const path = url.pathname.replace(/\/$/, "");
  const addresses = [`${origin}/.well-known/oauth-authorization-server${path}`, `${origin}/.well-known/openid-configuration${path}`];
  return path === "" ? addresses : [...addresses, `${origin}${path}/.well-known/openid-configuration`];
}
