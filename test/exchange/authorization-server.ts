/** A real authorization server on a free port: oidc-provider with client credentials and RFC 8693 as a custom grant. */
import { generateKeyPairSync } from "node:crypto";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { createLocalJWKSet, createRemoteJWKSet, type JWK, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";

export const CLIENT_SECRET = "secret of the gateway at the upstream's server: /+%";
export const RESOURCE = "https://tickets.internal/mcp";

export type Asked = Readonly<Record<string, string>>;

export type AuthorizationServer = {
  readonly issuer: string;
  /** The parameters of every token request that was authenticated, in order. */
  readonly asked: Asked[];
  /** Claims of the subject tokens that were accepted. */
  readonly subjects: JWTPayload[];
  /** Claims of the actor tokens beside them. */
  readonly actors: JWTPayload[];
  readonly verify: (accessToken: string) => Promise<JWTPayload>;
  close(): Promise<void>;
};

export type Behaviour = {
  readonly accessTokenSeconds: number;
  /** Whose signature a subject token must bear: keys, or where they are published once that is known. */
  readonly subjectKeys: readonly JWK[] | (() => string);
  /** Keys of a second client, `tollgate-keyed`, that proves itself by private_key_jwt. */
  readonly clientKeys?: readonly JWK[];
  /** What the answer of a token exchange says beside the usual. */
  readonly answer?: Readonly<Record<string, unknown>>;
};

// The few parts of oidc-provider that this server uses; the package has no types of its own.
type Context = {
  oidc: { params: Record<string, string>; client: unknown; provider: Provider };
  body: unknown;
};
type Token = { resourceServer: unknown; expiration: number; save(): Promise<string> };
type Provider = {
  ClientCredentials: new (parts: { client: unknown; scope: string | undefined }) => Token;
  ResourceServer: new (identifier: string, info: unknown) => unknown;
  registerGrantType(name: string, handler: (ctx: Context) => Promise<void>, params: string[]): void;
  callback(): RequestListener;
  on(event: string, listener: (ctx: Context) => void): void;
};
type Library = {
  Provider: new (issuer: string, config: unknown) => Provider;
  errors: { InvalidGrant: new (message: string) => Error; InvalidRequest: new (message: string) => Error };
};

const PACKAGE: string = "oidc-provider";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

export async function startAuthorizationServer(behaviour: Behaviour): Promise<AuthorizationServer> {
  const { Provider, errors } = (await import(PACKAGE)) as Library;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const signing = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKeys = { keys: [{ ...signing.publicKey.export({ format: "jwk" }), kid: "as-1", alg: "ES256", use: "sig" } as JWK] };
  const asked: Asked[] = [];
  const subjects: JWTPayload[] = [];
  const actors: JWTPayload[] = [];

  const resourceServer = (audience: string) => ({
    audience,
    scope: "tickets tickets.read tickets.write",
    accessTokenFormat: "jwt",
    accessTokenTTL: behaviour.accessTokenSeconds,
    jwt: { sign: { alg: "ES256" } },
  });
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "tollgate",
        client_secret: CLIENT_SECRET,
        grant_types: ["client_credentials", EXCHANGE],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: "ES256",
      },
      {
        client_id: "tollgate-keyed",
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys: behaviour.clientKeys ?? [] },
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: "ES256",
      },
    ].slice(0, behaviour.clientKeys === undefined ? 1 : 2),
    jwks: { keys: [{ ...signing.privateKey.export({ format: "jwk" }), kid: "as-1", alg: "ES256", use: "sig" }] },
    scopes: ["tickets", "tickets.read", "tickets.write"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_: unknown, audience: string) => resourceServer(audience) },
    },
    extraTokenClaims: (ctx: Context) =>
      ctx.oidc.params.grant_type === EXCHANGE
        ? { for: subjects.at(-1), act: ctx.oidc.params.actor_token === undefined ? undefined : { sub: actors.at(-1)?.sub } }
        : undefined,
  });

  const keys = behaviour.subjectKeys;
  const subjectKeys: JWTVerifyGetKey =
    typeof keys === "function" ? (...asked) => createRemoteJWKSet(new URL(keys()))(...asked) : createLocalJWKSet({ keys: [...keys] });
  provider.registerGrantType(
    EXCHANGE,
    async (ctx) => {
      const { params, client } = ctx.oidc;
      const subjectToken = params.subject_token ?? "";
      const options = { clockTolerance: "100y", audience: params.subject_token_type === ACCESS_TOKEN ? undefined : issuer };
      const verified = await jwtVerify(subjectToken, subjectKeys, options).catch(() => {
        throw new errors.InvalidRequest("canary in the description");
      });
      subjects.push(verified.payload);
      if (params.actor_token !== undefined) {
        const actor = await jwtVerify(params.actor_token, subjectKeys, { clockTolerance: "100y", audience: issuer }).catch(() => {
          throw new errors.InvalidRequest("canary in the description");
        });
        actors.push(actor.payload);
      }
      const token = new ctx.oidc.provider.ClientCredentials({ client, scope: params.scope });
      const resource = params.resource ?? params.audience ?? "";
      token.resourceServer = new ctx.oidc.provider.ResourceServer(resource, resourceServer(resource));
      const accessToken = await token.save();
      const answer = { access_token: accessToken, issued_token_type: ACCESS_TOKEN, token_type: "Bearer", expires_in: token.expiration };
      ctx.body = { ...answer, ...behaviour.answer };
    },
    ["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "resource", "audience", "scope"],
  );
  for (const event of ["grant.success", "grant.error"]) provider.on(event, (ctx) => asked.push({ ...ctx.oidc.params }));
  server.on("request", provider.callback());

  return {
    issuer,
    asked,
    subjects,
    actors,
    verify: async (accessToken) =>
      (await jwtVerify(accessToken, createLocalJWKSet(publicKeys), { issuer, audience: RESOURCE, clockTolerance: "100y" })).payload,
    close: () => {
      server.closeAllConnections();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
