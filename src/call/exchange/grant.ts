/** One token request to an authorization server, and the strict reading of its answer. */
import {
  type AuthorizationServer,
  clientCredentialsGrantRequest,
  genericTokenEndpointRequest,
  OperationProcessingError,
  processClientCredentialsResponse,
  processGenericTokenEndpointResponse,
  ResponseBodyError,
  type TokenEndpointResponse,
  UnsupportedOperationError,
  WWWAuthenticateChallengeError,
} from "oauth4webapi";
import { viaFetch } from "./authorization-server.ts";
import { ExchangeFailure } from "./bounded-fetch.ts";
import { clientAuth } from "./client-auth.ts";
import type { Delegation } from "./delegation.ts";
import type { Fetch, IssuerClient, TokenExchange } from "./server-credential.ts";

export type Granted = { readonly accessToken: string /** Null: the answer does not say. */; readonly lifetimeMs: number | null };

/** What is asked for, of whom. */
export type Asking = {
  readonly server: AuthorizationServer;
  readonly client: IssuerClient;
  readonly resource: string | null;
  readonly scopes: readonly string[];
  readonly fetch: Fetch;
};

const URN = "urn:ietf:params:oauth:token-type:";
const GRANT_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const GRANT_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

export async function requestClientCredentials({ server, client: known, fetch, ...wanted }: Asking): Promise<Granted> {
  const client = { client_id: known.clientId };
  const auth = clientAuth(server, known);
  const response = await clientCredentialsGrantRequest(server, client, auth, parametersOf(wanted), viaFetch(fetch));
  return granted(await processClientCredentialsResponse(server, client, response), wanted.scopes);
}

/** RFC 8693: the subject, and beside it the agent that acts. */
export async function requestTokenExchange(asking: Asking, { audience }: TokenExchange, { subject, actor }: Delegation): Promise<Granted> {
  const parameters = parametersOf(asking);
  parameters.set("subject_token", subject.text);
  parameters.set("subject_token_type", URN + subject.type);
  if (actor !== null) {
    parameters.set("actor_token", actor.text);
    parameters.set("actor_token_type", URN + actor.type);
  }
  parameters.set("requested_token_type", `${URN}access_token`);
  if (audience !== null) parameters.set("audience", audience);
  const answer = await askFor(asking, GRANT_TOKEN_EXCHANGE, parameters);
  // RFC 8693 section 2.2.1: required, and anything but an access token (an ID token, a refresh token) is not for an upstream.
  if (answer.issued_token_type !== `${URN}access_token` && answer.issued_token_type !== `${URN}jwt`) {
    throw new ExchangeFailure("the authorization server issued another type of token");
  }
  return granted(answer, asking.scopes);
}

/** Entra's on-behalf-of: the presented token is the assertion, the scopes name the resource, and the answer names all that was ever consented to. */
export async function requestOnBehalfOf(asking: Asking, { subject }: Delegation): Promise<Granted> {
  const parameters = parametersOf({ resource: null, scopes: asking.scopes });
  parameters.set("assertion", subject.text);
  parameters.set("requested_token_use", "on_behalf_of");
  return granted(await askFor(asking, GRANT_JWT_BEARER, parameters), []);
}

async function askFor(
  { server, client: known, fetch }: Asking,
  grant: string,
  parameters: URLSearchParams,
): Promise<TokenEndpointResponse> {
  const client = { client_id: known.clientId };
  const response = await genericTokenEndpointRequest(server, client, clientAuth(server, known), grant, parameters, viaFetch(fetch));
  return processGenericTokenEndpointResponse(server, client, response);
}

function parametersOf({ resource, scopes }: Pick<Asking, "resource" | "scopes">): URLSearchParams {
  const parameters = new URLSearchParams();
  if (resource !== null) parameters.set("resource", resource);
  if (scopes.length > 0) parameters.set("scope", scopes.join(" "));
  return parameters;
}

/** RFC 6750 section 2.1: b64token, so that nothing in it can end the header. */
const ACCESS_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
/** Common servers take no more than 16 KiB of headers. */
const ACCESS_TOKEN_BYTES_MAX = 12_288;

function granted(answer: TokenEndpointResponse, asked: readonly string[]): Granted {
  if (answer.token_type !== "bearer") throw new ExchangeFailure("token_type is not Bearer");
  // RFC 6749 section 5.1: other scopes are named; a token that can do more than it should is shown to nobody.
  if (asked.length > 0 && answer.scope?.split(" ").some((scope) => scope !== "" && !asked.includes(scope)) === true) {
    throw new ExchangeFailure("the access token has more scopes than were asked for");
  }
  if (answer.access_token.length > ACCESS_TOKEN_BYTES_MAX || !ACCESS_TOKEN.test(answer.access_token)) {
    throw new ExchangeFailure("the access token cannot be sent in a header");
  }
  if (answer.expires_in === undefined) return { accessToken: answer.access_token, lifetimeMs: null };
  if (!(answer.expires_in > 0)) throw new ExchangeFailure("the access token has expired already");
  return { accessToken: answer.access_token, lifetimeMs: Math.floor(answer.expires_in * 1000) };
}

/** OpenID Connect Core section 3.1.2.6, as Entra says it at its token endpoint: only the user can go on. */
const USER_NEEDED = new Set(["interaction_required", "login_required", "consent_required"]);

/** RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 8707 section 2: words that may stand in our record; any other is the server's own text. */
const ERRORS = new Set([
  ...["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"],
  ...["invalid_scope", "invalid_target", "server_error", "temporarily_unavailable"],
]);

/** Fixed words for our own record: never the other side's text, never a secret. */
export function explain(thrown: unknown): string {
  if (thrown instanceof ExchangeFailure) return thrown.message;
  if (thrown instanceof ResponseBodyError) {
    if (USER_NEEDED.has(thrown.error)) {
      const challenge = typeof thrown.cause.claims === "string" ? ", with a claims challenge" : "";
      return `the authorization server wants the user to sign in again: ${thrown.error}${challenge}`;
    }
    return `the authorization server refused: ${ERRORS.has(thrown.error) ? thrown.error : "an unregistered error"}`;
  }
  if (thrown instanceof WWWAuthenticateChallengeError) return "the authorization server refused the gateway's own credential";
  if (thrown instanceof OperationProcessingError || thrown instanceof UnsupportedOperationError) {
    return `the authorization server's answer does not conform (${thrown.code ?? "no code"})`;
  }
  return "the authorization server's answer cannot be used";
}

/** True where the same endpoint may well grant the next request: it spoke OAuth. */
export function spokeOAuth(thrown: unknown): boolean {
  return thrown instanceof ResponseBodyError || thrown instanceof WWWAuthenticateChallengeError;
}
