/** The embedded authorization server: agents obtain JWT access tokens (RFC 9068) for exactly one route. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { Registry } from "../agents/registry.ts";
import { matchesSecret } from "../agents/secrets.ts";
import type { SigningKey } from "../signing-key.ts";
import type { ControlStore } from "../store.ts";
import { metadataOf } from "./metadata.ts";
import { createProvider, type ProviderOptions } from "./provider.ts";

export type AuthorizationServerOptions = {
  readonly publicUrl: string;
  readonly accessTokenTtlMs: number;
  readonly store: ControlStore;
  readonly registry: Registry;
  readonly signingKey: SigningKey;
  /** Scopes that may be issued to an agent: some permit for it requires them. `mcp` always. */
  readonly scopesFor: (profile: AgentProfile) => readonly string[];
  /** Recorded before the token leaves. */
  readonly issued: (facts: IssuedFacts) => Promise<void>;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
};

export type IssuedFacts = {
  readonly agentId: string;
  readonly tokenId: string;
  readonly grant: string;
  readonly audience: string;
  readonly scope: string;
  readonly by: string;
};

/** RFC 6749 section 5.1. */
export type TokenResponse = {
  readonly access_token: string;
  readonly token_type: "Bearer";
  readonly expires_in: number;
  readonly scope: string;
};

export type AuthorizationServer = {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** A token for an administrator to use in an agent's name, recorded as such. */
  mint(profile: AgentProfile, resource: string, scope: string | null, by: string): Promise<TokenResponse | { fault: string }>;
  /** Loads what the first token request would otherwise wait for. */
  warm(): Promise<void>;
};

export function createAuthorizationServer(options: AuthorizationServerOptions): AuthorizationServer {
  const { publicUrl, registry, signingKey } = options;
  const scopeOf = (profile: AgentProfile, asked: string | null): string | { fault: string } => {
    const wanted = new Set(["mcp", ...(asked ?? "").split(" ").filter(Boolean)]);
    const allowed = new Set(["mcp", ...options.scopesFor(profile)]);
    for (const scope of wanted) if (!allowed.has(scope)) return { fault: scope };
    return [...wanted].join(" ");
  };
  const providerOptions: ProviderOptions = {
    ...options,
    scopeOf,
    compareSecret: (clientId, presented) =>
      registry.credentialsOf(clientId).some(({ kind, hash }) => kind === "secret" && hash !== null && matchesSecret(presented, hash)),
  };
  let provider: Promise<(request: IncomingMessage, response: ServerResponse) => Promise<void>> | null = null;
  const load = () => {
    provider ??= createProvider(providerOptions);
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
      if (path !== "/oauth/token")
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
      const scope = scopeOf(profile, asked);
      if (typeof scope !== "string") return { fault: `the scope ${scope.fault} may not be issued to ${profile.name}` };
      const seconds = Math.floor(options.accessTokenTtlMs / 1000);
      const iat = Math.floor(options.now() / 1000);
      const jti = randomUUID();
      await options.issued({ agentId: profile.id, tokenId: jti, grant: "administrator", audience: resource, scope, by });
      const claims = { iss: publicUrl, sub: profile.id, client_id: profile.id, aud: resource, iat, exp: iat + seconds, jti, scope };
      return { access_token: await signingKey.sign(claims, "at+jwt"), token_type: "Bearer", expires_in: seconds, scope };
    },
    async warm() {
      await load();
    },
  };
}

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
