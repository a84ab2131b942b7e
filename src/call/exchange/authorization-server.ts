/** Metadata of the authorization servers that the config names: found once an hour, one request at a time, never of another issuer. */
import { type AuthorizationServer, allowInsecureRequests, customFetch, discoveryRequest, processDiscoveryResponse } from "oauth4webapi";
import { ExchangeFailure } from "./bounded-fetch.ts";
import type { Fetch } from "./server-credential.ts";

export type FindServer = {
  (issuer: string): Promise<AuthorizationServer>;
  /** After a request failed for want of a conforming endpoint: look again next time. */
  forget(issuer: string): void;
};

/** Endpoints hardly ever move; when they do, a failed request looks again at once. */
const METADATA_FRESH_MS = 3_600_000;

export function serverFinder(fetch: Fetch, now: () => number): FindServer {
  // Bounded by the config: only its issuers are ever asked for.
  const found = new Map<string, { readonly metadata: Promise<AuthorizationServer>; readonly atMs: number }>();

  function find(issuer: string): Promise<AuthorizationServer> {
    const known = found.get(issuer);
    if (known !== undefined && now() - known.atMs < METADATA_FRESH_MS) return known.metadata;
    const metadata = discover(fetch, issuer);
    found.set(issuer, { metadata, atMs: now() });
    metadata.catch(() => found.delete(issuer));
    return metadata;
  }

  return Object.assign(find, { forget: (issuer: string) => void found.delete(issuer) });
}

/** Plain http is let through to the bounded fetch, which judges every address alike: only loopback may use it. */
export const viaFetch = (fetch: Fetch) => ({ [customFetch]: fetch as typeof globalThis.fetch, [allowInsecureRequests]: true });

async function discover(fetch: Fetch, issuer: string): Promise<AuthorizationServer> {
  const url = new URL(issuer);
  let response = await discoveryRequest(url, { algorithm: "oauth2", ...viaFetch(fetch) });
  if (response.status >= 400 && response.status < 500) response = await discoveryRequest(url, { algorithm: "oidc", ...viaFetch(fetch) });
  const metadata = await processDiscoveryResponse(url, response);
  // RFC 8414 section 3.3: identical, not merely the same URL; a secret must not go where another issuer's metadata points.
  if (metadata.issuer !== issuer) throw new ExchangeFailure("the metadata names another issuer");
  return metadata;
}
