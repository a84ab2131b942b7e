/** The embedded authorization server: agents obtain JWT access tokens (RFC 9068) for exactly one route. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { GrantRefused } from "./grant-refused.ts";
import { entitledScopes, issueToken, type TokenResponse } from "./issue.ts";
import { metadataOf } from "./metadata.ts";
import { createProvider, type ProviderOptions } from "./provider.ts";

export type AuthorizationServerOptions = ProviderOptions;

export type AuthorizationServer = {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** A token for an administrator to use in an agent's name, recorded as such. */
  mint(profile: AgentProfile, resource: string, scope: string | null, by: string): Promise<TokenResponse | { fault: string }>;
  /** Loads what the first token request would otherwise wait for. */
  warm(): Promise<void>;
};

export function createAuthorizationServer(options: AuthorizationServerOptions): AuthorizationServer {
  const { publicUrl, signingKey } = options;
  let provider: Promise<(request: IncomingMessage, response: ServerResponse) => Promise<void>> | null = null;
  const load = () => {
    provider ??= createProvider(options);
    return provider;
  };
  const metadata = JSON.stringify(metadataOf(publicUrl));
  const jwks = JSON.stringify({ keys: signingKey.publicKeys });
  return {
    handle(request, response) {
      const path = (request.url ?? "").split("?")[0];
      if (path === "/.well-known/oauth-authorization-server" || path === "/.well-known/openid-configuration")
        return document(request, response, metadata);
      if (path === "/oauth/jwks") return document(request, response, jwks);
      if (!ENDPOINTS.has(path ?? ""))
        return answer(response, 404, { error: "invalid_request", error_description: "there is no such endpoint here" });
      if (request.method !== "POST")
        return answer(response, 405, { error: "invalid_request", error_description: "use POST" }, { allow: "POST" });
      if (Number(request.headers["content-length"] ?? "0") > TOKEN_BODY_BYTES_MAX)
        return answer(response, 413, { error: "invalid_request", error_description: "the body is too large" });
      load().then(
        (callback) => callback(request, response),
        (fault) => {
          options.fault(fault);
          answer(response, 503, { error: "temporarily_unavailable" });
        },
      );
    },
    async mint(profile, resource, asked, by) {
      const scopes = new Set(["mcp", ...(asked ?? "").split(" ").filter(Boolean)]);
      const entitled = entitledScopes(options, profile, null);
      for (const scope of scopes) if (!entitled.has(scope)) return { fault: `the scope ${scope} may not be issued to ${profile.name}` };
      const issued = issueToken(options, {
        ...{ profile, grant: "administrator", by, audience: resource, scopes, credentialId: null },
        ...{ expiresAtMs: options.now() + options.accessTokenTtlMs, instance: null, workflow: null },
        ...{ subject: null, parent: null, actorToken: null },
      });
      return await issued.catch((thrown: unknown) => {
        if (thrown instanceof GrantRefused) return { fault: thrown.message };
        throw thrown;
      });
    },
    async warm() {
      await load();
    },
  };
}

const ENDPOINTS = new Set(["/oauth/token", "/oauth/introspect", "/oauth/revoke"]);

/** A token request is a handful of parameters, the largest an assertion of 8 KiB. */
const TOKEN_BODY_BYTES_MAX = 65_536;

function document(request: IncomingMessage, response: ServerResponse, text: string): void {
  if (request.method !== "GET" && request.method !== "HEAD")
    return answer(response, 405, { error: "invalid_request" }, { allow: "GET, HEAD" });
  response.writeHead(200, { "content-type": "application/json", "cache-control": "public, max-age=300" });
  response.end(request.method === "HEAD" ? undefined : text);
}

function answer(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...headers, "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}
