/** The oidc-provider package, set up for one grant: client_credentials with resource indicators and JWT access tokens. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeJwt } from "jose";
import type { Context } from "oidc-provider";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { createAdapter } from "./adapter.ts";
import type { AuthorizationServerOptions } from "./authorization-server.ts";
import { CLIENT_AUTH_ALGORITHMS, CLIENT_AUTH_METHODS } from "./metadata.ts";

export type ProviderOptions = AuthorizationServerOptions & {
  readonly scopeOf: (profile: AgentProfile, asked: string | null) => string | { fault: string };
  readonly compareSecret: (clientId: string, presented: string) => boolean;
};

type Payload = { readonly aud?: unknown; readonly exp?: unknown; readonly iat?: unknown };

/** RFC 7523bis: an assertion is for this issuer alone, and short. */
const ASSERTION_SECONDS_MAX = 300;

export async function createProvider(
  options: ProviderOptions,
): Promise<(request: IncomingMessage, response: ServerResponse) => Promise<void>> {
  // Loading takes a third of a second: later than listening, before the first token.
  const { default: Provider, errors } = await import("oidc-provider");
  const { publicUrl, store, registry, signingKey, now } = options;
  const resourcePattern = new RegExp(`^${publicUrl.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}/mcp(/[a-z0-9-]{1,32})?$`);
  const provider = new Provider(publicUrl, {
    adapter: (model: string) => createAdapter(model, store, registry, now),
    jwks: { keys: [signingKey.privateKey] },
    cookies: { keys: [signingKey.kid] },
    scopes: ["mcp"],
    clientAuthMethods: CLIENT_AUTH_METHODS,
    enabledJWA: { clientAuthSigningAlgValues: CLIENT_AUTH_ALGORITHMS },
    routes: { token: "/oauth/token", jwks: "/oauth/jwks", authorization: "/oauth/authorize" },
    ttl: { ClientCredentials: Math.floor(options.accessTokenTtlMs / 1000) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      userinfo: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `${publicUrl}/mcp`,
        getResourceServerInfo: (context: Context, resource: string) => {
          if (!resourcePattern.test(resource)) throw new errors.InvalidTarget("resource must be the URL of a route of this gateway");
          const scope = grantScope(context, options, errors.InvalidScope);
          return { scope, audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } };
        },
      },
    },
    assertJwtClientAuthClaimsAndHeader: (_: unknown, { aud, exp, iat }: Payload) => {
      if (aud !== publicUrl) throw new errors.InvalidClientAuth("aud must be this issuer alone");
      const left = Number(exp) - Math.floor(now() / 1000);
      const lifetime = iat === undefined ? left : Number(exp) - Number(iat);
      if (!(left <= ASSERTION_SECONDS_MAX && lifetime <= ASSERTION_SECONDS_MAX)) throw new errors.InvalidClientAuth("exp is too far away");
      if (iat !== undefined && !(lifetime > 0)) throw new errors.InvalidClientAuth("exp is not after iat");
    },
  });
  // The issuer is the configured URL, whatever a Host or X-Forwarded header says.
  provider.proxy = false;
  provider.Client.prototype.compareClientSecret = function compare(this: { clientId: string }, presented: string): boolean {
    return options.compareSecret(this.clientId, presented);
  };
  provider.on("server_error", (_, fault) => options.fault(fault));
  provider.use((context, next) => recordIssue(context, next, options));
  return provider.callback();
}

/** `mcp` belongs to every token; what else is asked for must be required by some permit of the agent. */
function grantScope(context: Context, options: ProviderOptions, InvalidScope: new (description: string, scope: string) => Error): string {
  const params = context.oidc?.params;
  const profile = options.registry.byId(context.oidc?.client?.clientId ?? "");
  if (params === undefined || profile === undefined) return "";
  const scope = options.scopeOf(profile, typeof params.scope === "string" ? params.scope : null);
  if (typeof scope !== "string") throw new InvalidScope("this scope may not be issued to this agent", scope.fault);
  params.scope = scope;
  return scope;
}

/** The record comes first: a token that could not be recorded is not handed out. */
async function recordIssue(context: Context, next: () => Promise<void>, options: ProviderOptions): Promise<void> {
  await next();
  const body = context.body as { access_token?: string } | undefined;
  if (context.status !== 200 || typeof body?.access_token !== "string") return;
  const claims = decodeJwt(body.access_token);
  try {
    await options.issued({
      agentId: String(claims.client_id),
      tokenId: String(claims.jti),
      grant: "client_credentials",
      audience: String(claims.aud),
      scope: String(claims.scope ?? ""),
      by: "agent",
    });
  } catch {
    context.status = 503;
    context.set("retry-after", "1");
    context.body = { error: "temporarily_unavailable", error_description: "the gateway cannot record now" };
  }
}
