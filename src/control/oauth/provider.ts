/** The oidc-provider package: it reads requests and authenticates clients; the grants and the tokens are ours. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context } from "oidc-provider";
import type { Fetch } from "../../call/authenticate/trusted-issuer.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import { RegistryAway } from "../postgres.ts";
import type { ControlStore } from "../store.ts";
import { createAdapter } from "./adapter.ts";
import { createClientKeys } from "./client-keys.ts";
import { createClients } from "./clients.ts";
import { GrantRefused } from "./grant-refused.ts";
import { GRANTS, type GrantClient, PARAMETERS, type Parameters, parametersOf } from "./grant-request.ts";
import { clientCredentials, type GrantParts, jwtBearer, tokenExchange } from "./grants.ts";
import type { IssuedFacts, TokenResponse } from "./issue.ts";
import { CLIENT_AUTH_ALGORITHMS, CLIENT_AUTH_METHODS } from "./metadata.ts";
import { introspect, revoke } from "./own-tokens.ts";

export type ProviderOptions = GrantParts & {
  readonly store: ControlStore;
  readonly fetchFromOutside: Fetch;
  readonly fault: (fault: unknown) => void;
};

type Payload = { readonly aud?: unknown; readonly exp?: unknown; readonly iat?: unknown };

/** RFC 7523bis: an assertion is for this issuer alone, and short. */
const ASSERTION_SECONDS_MAX = 300;

/** Grants that need no client of their own: what they present says who asks. */
const WITHOUT_CLIENT: Readonly<Record<string, typeof jwtBearer>> = {
  [GRANTS.jwtBearer]: jwtBearer,
  [GRANTS.tokenExchange]: tokenExchange,
};

export async function createProvider(
  given: ProviderOptions,
): Promise<(request: IncomingMessage, response: ServerResponse) => Promise<void>> {
  // Loading takes a third of a second: later than listening, before the first token.
  const { default: Provider, errors } = await import("oidc-provider");
  // A token that could not be recorded is not handed out.
  const cannotRecord = (): never => {
    throw new GrantRefused("temporarily_unavailable", "the gateway cannot record now");
  };
  const options = { ...given, issued: (facts: IssuedFacts) => given.issued(facts).catch(cannotRecord) };
  const { publicUrl, store, registry, signingKey, now } = options;
  const clients = createClients({ registry, keys: createClientKeys(options), context: () => Provider.ctx });
  const usedBefore = () => new errors.InvalidClientAuth("client assertion tokens must only be used once");
  const adapterOptions = { store, now, client: clients.find, usedBefore };
  const provider = new Provider(publicUrl, {
    adapter: (model: string) => createAdapter(model, adapterOptions),
    jwks: { keys: [signingKey.privateKey] },
    cookies: { keys: [signingKey.kid] },
    scopes: ["mcp"],
    clientAuthMethods: CLIENT_AUTH_METHODS,
    enabledJWA: { clientAuthSigningAlgValues: CLIENT_AUTH_ALGORITHMS },
    routes: {
      ...{ token: "/oauth/token", jwks: "/oauth/jwks", authorization: "/oauth/authorize" },
      ...{ introspection: "/oauth/introspect", revocation: "/oauth/revoke" },
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: {
        enabled: false,
        // Asked where authorization_details come without a resource, which the provider refuses by itself.
        defaultResource: ({ oidc }: Context) => oidc?.params?.audience ?? `${publicUrl}/mcp`,
      },
    },
    assertJwtClientAuthClaimsAndHeader: async (context: Context, { aud, exp, iat }: Payload) => {
      if (aud !== publicUrl) throw new errors.InvalidClientAuth("aud must be this issuer alone");
      const left = Number(exp) - Math.floor(now() / 1000);
      const lifetime = iat === undefined ? left : Number(exp) - Number(iat);
      if (!(left <= ASSERTION_SECONDS_MAX && lifetime <= ASSERTION_SECONDS_MAX)) throw new errors.InvalidClientAuth("exp is too far away");
      if (iat !== undefined && !(lifetime > 0)) throw new errors.InvalidClientAuth("exp is not after iat");
      await clients.verified(context, context.oidc?.client?.clientId ?? "");
      // A `kid` that is no text, say, which the provider overlooks: no credential, no bounds, nothing that could be revoked.
      if (clients.credentialOf(context) === null) throw new errors.InvalidClientAuth("the assertion is by none of the agent's keys");
    },
  });
  // The issuer is the configured URL, whatever a Host or X-Forwarded header says.
  provider.proxy = false;
  provider.Client.prototype.compareClientSecret = function compare(this: { clientId: string }, presented: string): boolean {
    return clients.matches(this.clientId, presented);
  };
  const away = new WeakSet<Context>();
  provider.on("server_error", (context, fault) => {
    if (isAway(fault)) away.add(context as Context);
    else options.fault(fault);
  });

  const clientOf = (context: Context): GrantClient => {
    const profile = registry.byId(context.oidc?.client?.clientId ?? "");
    if (profile === undefined) throw new GrantRefused("invalid_client", "the client is not registered any more");
    const credential = clients.credentialOf(context);
    if (credential === null) throw new GrantRefused("invalid_client", "the client has proved no credential");
    return { profile, credential };
  };
  const answer = async (context: Context, grant: string, work: (asked: Parameters) => Promise<TokenResponse>) => {
    try {
      context.body = await work(parametersOf(context.oidc?.params ?? {}, grant));
      context.status = 200;
    } catch (fault) {
      refuse(context, fault);
    }
  };
  provider.registerGrantType(
    GRANTS.clientCredentials,
    (context) => answer(context, GRANTS.clientCredentials, (asked) => clientCredentials(options, clientOf(context), asked)),
    PARAMETERS[GRANTS.clientCredentials] ?? [],
    REPEATABLE,
  );
  for (const [grant, issue] of Object.entries(WITHOUT_CLIENT)) {
    const handler = (context: Context) => answer(context, grant, (asked) => issue(options, clientOf(context), asked));
    provider.registerGrantType(grant, handler, PARAMETERS[grant] ?? [], REPEATABLE);
  }
  provider.use(async (context, next) => {
    await next();
    if (away.has(context)) return refuse(context, new GrantRefused("temporarily_unavailable", "the registry's database is away"));
    const { error, error_description } = (context.body ?? {}) as { error?: unknown; error_description?: unknown };
    const params = context.oidc?.params ?? {};
    // The provider has authenticated the client by then, and leaves tokens that are JWTs to others.
    if (error === "unsupported_token_type") return await ownTokens(context, params.token);
    const grant = String(params.grant_type);
    const issue = Object.hasOwn(WITHOUT_CLIENT, grant) ? WITHOUT_CLIENT[grant] : undefined;
    if (issue === undefined || error_description !== NO_CLIENT || typeof params.grant_type !== "string") return;
    await answer(context, params.grant_type, (asked) => issue(options, null, asked));
  });

  async function ownTokens(context: Context, token: unknown): Promise<void> {
    const clientId = context.oidc?.client?.clientId;
    if (clientId === undefined || typeof token !== "string") return;
    try {
      const isRevocation = context.oidc?.route === "revocation";
      context.body = isRevocation ? await revoke(options, clientId, token).then(() => "") : await introspect(options, clientId, token);
      context.status = 200;
    } catch (fault) {
      refuse(context, fault);
    }
  }

  function refuse(context: Context, fault: unknown): void {
    if (!(fault instanceof GrantRefused) && !isAway(fault)) throw fault;
    const error = fault instanceof GrantRefused ? fault.error : "temporarily_unavailable";
    const description = fault instanceof GrantRefused ? fault.message : "the gateway cannot record now";
    context.status = error === "temporarily_unavailable" ? 503 : error === "invalid_client" ? 401 : 400;
    if (context.status === 503) context.set("retry-after", "1");
    context.body = { error, error_description: description };
  }
  return provider.callback();
}

/** The provider's own words where nothing of a client is presented at all. */
const NO_CLIENT = "no client authentication mechanism provided";
/** Ours to refuse, with the error of RFC 8707. */
const REPEATABLE = ["resource", "audience"];

function isAway(fault: unknown): boolean {
  return fault instanceof StoreUnavailable || fault instanceof RegistryAway;
}
