/** What the configuration says of an upstream's credential, with its secrets at hand. */
import { createSecureContext } from "node:tls";
import { readClientKey } from "./call/exchange/client-key.ts";
import type { ClientCertificate, Credential, IssuerClient, UpstreamClient } from "./config.ts";
import type { ConfigFile } from "./config-schema.ts";
import type { Secret } from "./secret.ts";

type Reveal = (written: string) => Secret;
type Clients = ReadonlyMap<string, IssuerClient>;
type CredentialFile = Extract<ConfigFile["servers"][string], { url: string }>["credential"];
type ClientFile = Extract<CredentialFile, { clientCredentials: unknown }>["clientCredentials"];

export function credentialOf(written: CredentialFile, clients: Clients, reveal: Reveal): Credential {
  if (written === "none") return { kind: "none" };
  if ("bearer" in written) return { kind: "bearer", bearer: reveal(written.bearer) };
  if ("header" in written) return { kind: "header", name: written.header.name, value: reveal(written.header.value) };
  if ("basic" in written) return { kind: "basic", username: written.basic.username, password: reveal(written.basic.password) };
  if ("clientCredentials" in written) return { kind: "clientCredentials", ...upstreamClient(written.clientCredentials, clients, reveal) };
  if ("privateKeyJwt" in written) return { kind: "privateKeyJwt", ...upstreamClient(written.privateKeyJwt, clients, reveal) };
  if (!("tokenExchange" in written)) return { kind: "mtls" };
  const { profile, audience, actorToken } = written.tokenExchange;
  const exchange = { profile, audience: audience ?? null, actorToken: actorToken ?? null };
  return { kind: "tokenExchange", ...exchange, ...upstreamClient(written.tokenExchange, clients, reveal) };
}

export function certificateOf(written: CredentialFile, reveal: Reveal): ClientCertificate | null {
  if (written === "none" || written.mtls === undefined) return null;
  const { cert, key, ca } = written.mtls;
  return { cert: reveal(cert), key: reveal(key), ca: ca === undefined ? null : reveal(ca) };
}

function upstreamClient(
  written: Omit<ClientFile, "clientSecret" | "authMethod"> & Registration,
  clients: Clients,
  reveal: Reveal,
): UpstreamClient {
  const { issuer, clientId, resource, scopes, toolScopes } = written;
  return {
    issuer: issuer === "discover" ? null : issuer,
    clients: clientId === undefined ? clients : new Map([[issuer, clientOf({ ...written, clientId }, reveal)]]),
    resource: resource ?? null,
    scopes,
    toolScopes: new Map(Object.entries(toolScopes)),
  };
}

type Registration = {
  readonly clientSecret?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly authMethod?: "basic" | "post" | undefined;
};

export function clientOf(written: Registration & { readonly clientId: string }, reveal: Reveal): IssuerClient {
  const { clientId, clientSecret, clientKey, authMethod } = written;
  if (clientKey !== undefined) return { clientId, authentication: { kind: "key", key: reveal(clientKey) } };
  // One of the two stands there: the rules of the configuration say so.
  return { clientId, authentication: { kind: "secret", secret: reveal(clientSecret ?? ""), method: authMethod ?? null } };
}

export function keyProblem(key: Secret): string | null {
  return readClientKey(key.reveal()) === null
    ? "holds no private key in PEM or JWK: RSA of 2048 bits or more, P-256 or Ed25519, without a passphrase"
    : null;
}

/** Null also where a part is missing: that is said already. */
export function certificateProblem(written: unknown, known: (reference: string) => Secret | undefined): string | null {
  const parts = typeof written === "object" && written !== null ? (written as Readonly<Record<string, unknown>>) : {};
  const part = (name: string) => known(String(parts[name]))?.reveal();
  const [cert, key, ca] = [part("cert"), part("key"), part("ca")];
  if (cert === undefined || key === undefined) return null;
  try {
    createSecureContext({ cert, key, ca });
    return null;
  } catch {
    return "the certificate and the key do not fit together, or one of them is not PEM";
  }
}
