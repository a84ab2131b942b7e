/** How the gateway proves itself to an authorization server: as configured, else as the server's own metadata say. */
import {
  type AuthorizationServer,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  modifyAssertion,
  PrivateKeyJwt,
} from "oauth4webapi";
import { ExchangeFailure } from "./bounded-fetch.ts";
import { type ClientKey, readClientKey } from "./client-key.ts";
import type { IssuerClient } from "./server-credential.ts";

export function clientAuth(server: AuthorizationServer, { authentication }: IssuerClient): ClientAuth {
  if (authentication.kind === "key") return keyAuth(server, authentication.key);
  // RFC 8414: `client_secret_basic` is what every server supports that does not say otherwise.
  const methods = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
  const byPost = !methods.includes("client_secret_basic") && methods.includes("client_secret_post");
  const method = authentication.method ?? (byPost ? "post" : "basic");
  return method === "post" ? ClientSecretPost(authentication.secret.reveal()) : ClientSecretBasic(authentication.secret.reveal());
}

/** RFC 7523 section 3, as its revision has it: the audience is the issuer alone, the assertion lives for a minute and is used once. */
function keyAuth(server: AuthorizationServer, secret: { reveal(): string }): ClientAuth {
  if (server.token_endpoint_auth_methods_supported?.includes("private_key_jwt") === false) {
    throw new ExchangeFailure("the authorization server does not take private_key_jwt");
  }
  const key = keyIn(secret);
  const taken = server.token_endpoint_auth_signing_alg_values_supported;
  const algorithm = taken === undefined ? key.algorithms[0] : key.algorithms.find((each) => taken.includes(each));
  if (algorithm === undefined) throw new ExchangeFailure("the authorization server does not take the algorithm of the key");
  return PrivateKeyJwt(key.cryptoKey(algorithm), {
    [modifyAssertion]: (header) => Object.assign(header, key.header, { alg: algorithm }),
  });
}

// Parsed once a key, not once a request.
const read = new WeakMap<object, ClientKey>();

function keyIn(secret: { reveal(): string }): ClientKey {
  const known = read.get(secret) ?? readClientKey(secret.reveal());
  // The configuration was refused at load if it held any other.
  if (known === null) throw new Error("a client key is no private key");
  read.set(secret, known);
  return known;
}
