/** One token request to an authorization server, and the strict reading of its answer. */
import {
  type AuthorizationServer,
  ClientSecretBasic,
  ClientSecretPost,
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
import type { ClientCredentials, Fetch, TokenExchange } from "./server-credential.ts";

export type Granted = { readonly accessToken: string /** Null: the answer does not say. */; readonly lifetimeMs: number | null };

const URN = "urn:ietf:params:oauth:token-type:";
const GRANT_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";

/** RFC 8693 section 2.1: for whom the gateway asks. */
export type SubjectToken = { readonly text: string; readonly type: "access_token" | "jwt" };

export async function requestClientCredentials(server: AuthorizationServer, credential: ClientCredentials, fetch: Fetch): Promise<Granted> {
  const client = { client_id: credential.clientId };
  const response = await clientCredentialsGrantRequest(
    server,
    client,
    clientAuth(server, credential),
    parametersOf(credential),
    viaFetch(fetch),
  );
  return granted(await processClientCredentialsResponse(server, client, response));
}

export async function requestTokenExchange(
  server: AuthorizationServer,
  credential: TokenExchange,
  subjectToken: SubjectToken,
  fetch: Fetch,
): Promise<Granted> {
  const client = { client_id: credential.clientId };
  const parameters = parametersOf(credential);
  parameters.set("subject_token", subjectToken.text);
  parameters.set("subject_token_type", URN + subjectToken.type);
  parameters.set("requested_token_type", `${URN}access_token`);
  if (credential.audience !== null) parameters.set("audience", credential.audience);
  const auth = clientAuth(server, credential);
  const response = await genericTokenEndpointRequest(server, client, auth, GRANT_TOKEN_EXCHANGE, parameters, viaFetch(fetch));
  const answer = await processGenericTokenEndpointResponse(server, client, response);
  // RFC 8693 section 2.2.1: required, and anything but an access token (an ID token, a refresh token) is not for an upstream.
  if (answer.issued_token_type !== `${URN}access_token` && answer.issued_token_type !== `${URN}jwt`) {
    throw new ExchangeFailure("the authorization server issued another type of token");
  }
  return granted(answer);
}

function parametersOf(credential: ClientCredentials | TokenExchange): URLSearchParams {
  const parameters = new URLSearchParams();
  if (credential.resource !== null) parameters.set("resource", credential.resource);
  if (credential.scopes.length > 0) parameters.set("scope", credential.scopes.join(" "));
  return parameters;
}

/** RFC 8414: `client_secret_basic` is what every server supports that does not say otherwise. */
function clientAuth(server: AuthorizationServer, credential: ClientCredentials | TokenExchange) {
  const methods = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
  const byPost = !methods.includes("client_secret_basic") && methods.includes("client_secret_post");
  return byPost ? ClientSecretPost(credential.clientSecret.reveal()) : ClientSecretBasic(credential.clientSecret.reveal());
}

/** RFC 6750 section 2.1: b64token, so that nothing in it can end the header. */
const ACCESS_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
/** Common servers take no more than 16 KiB of headers. */
const ACCESS_TOKEN_BYTES_MAX = 12_288;

function granted(answer: TokenEndpointResponse): Granted {
  if (answer.token_type !== "bearer") throw new ExchangeFailure("token_type is not Bearer");
  if (answer.access_token.length > ACCESS_TOKEN_BYTES_MAX || !ACCESS_TOKEN.test(answer.access_token)) {
    throw new ExchangeFailure("the access token cannot be sent in a header");
  }
  if (answer.expires_in === undefined) return { accessToken: answer.access_token, lifetimeMs: null };
  if (!(answer.expires_in > 0)) throw new ExchangeFailure("the access token has expired already");
  return { accessToken: answer.access_token, lifetimeMs: Math.floor(answer.expires_in * 1000) };
}

/** RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 8707 section 2: words that may stand in our record; any other is the server's own text. */
const ERRORS = new Set([
  ...["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"],
  ...["invalid_scope", "invalid_target", "server_error", "temporarily_unavailable"],
]);

/** Fixed words for our own record: never the other side's text, never a secret. */
export function explain(thrown: unknown): string {
  if (thrown instanceof ExchangeFailure) return thrown.message;
  if (thrown instanceof ResponseBodyError) {
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
