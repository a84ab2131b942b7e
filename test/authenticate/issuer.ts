/** A real issuer for tests: real keys, real signatures, and tokens as wrong as an attacker can make them. */
import { createHmac, sign as cryptoSign, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { JWK } from "jose";
import type { Agent, AgentProfile, AgentState } from "../../src/call/authenticate/agent.ts";
import { type AuthenticatorOptions, createAuthenticator } from "../../src/call/authenticate/authenticate.ts";
import type { TrustedIssuer } from "../../src/call/authenticate/trusted-issuer.ts";
import type { AgentId, ServerName } from "../../src/ids.ts";
import { isRefusal, type Refusal } from "../../src/refusal.ts";

export const PUBLIC_URL = "https://gw.example";
export const SERVER = "tickets" as ServerName;
export const ROUTE = `${PUBLIC_URL}/mcp/tickets`;
export const NOW_S = 1_795_000_000;
export const NOW_MS = NOW_S * 1000;
export const OWN = "https://gw.example";
export const EXTERNAL = "https://login.example.com";
export const BOT = "agt_bot" as AgentId;

export type Key = { readonly alg: string; readonly kid: string; readonly privateKey: KeyObject; readonly publicJwk: JWK };

export function makeKey(alg: string, kid: string, bits = 2048): Key {
  const pair =
    alg === "ES256"
      ? generateKeyPairSync("ec", { namedCurve: "P-256" })
      : alg === "RS256" || alg === "PS256"
        ? generateKeyPairSync("rsa", { modulusLength: bits })
        : generateKeyPairSync("ed25519");
  return { alg, kid, privateKey: pair.privateKey, publicJwk: { ...(pair.publicKey.export({ format: "jwk" }) as JWK), kid, use: "sig" } };
}

const b64 = (text: string | Buffer) => Buffer.from(text).toString("base64url");

export function signInput(input: string, key: Key): Buffer {
  const data = Buffer.from(input);
  if (key.alg === "PS256") return cryptoSign("sha256", data, { key: key.privateKey, padding: 6, saltLength: 32 });
  if (key.alg === "ES256") return cryptoSign("sha256", data, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return cryptoSign(key.alg === "RS256" ? "sha256" : null, data, key.privateKey);
}

export type Members = Readonly<Record<string, unknown>>;

/** Undefined members are left out, so that a row can take one away. */
export const headerOf = (key: Key, members: Members = {}) => JSON.stringify({ alg: key.alg, typ: "at+jwt", kid: key.kid, ...members });

export const ownClaims = (members: Members = {}): Members => ({
  iss: OWN,
  aud: ROUTE,
  sub: BOT,
  client_id: BOT,
  jti: "jti-1",
  iat: NOW_S - 10,
  exp: NOW_S + 600,
  scope: "mcp tickets.read",
  ...members,
});

export const payloadOf = (members: Members = {}) => JSON.stringify(ownClaims(members));

export function compact(key: Key, headerText: string, payload: string | Buffer): string {
  const input = `${b64(headerText)}.${b64(payload)}`;
  return `${input}.${b64(signInput(input, key))}`;
}

export const token = (key: Key, claims: Members = {}, header: Members = {}) => compact(key, headerOf(key, header), payloadOf(claims));

export function hmacToken(secret: string | Buffer, headerText: string, payload: string): string {
  const input = `${b64(headerText)}.${b64(payload)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

export function profile(members: Partial<AgentProfile> = {}): AgentProfile {
  return {
    id: BOT,
    name: "triage-bot",
    kind: "autonomous",
    state: "active",
    customer: "acme",
    team: "support",
    workflow: null,
    owner: "ops@example.com",
    purpose: "sort tickets",
    riskClass: "unclassified",
    issuer: null,
    account: { tools: null, scopes: null },
    ...members,
  };
}

/** A directory without external identities, opaque keys and revocations. */
export const NOTHING_ELSE = { byIdentity: () => undefined, byKey: () => undefined, isRevoked: () => false };

/** A registry in memory whose agents can be stopped. */
export function directoryOf(...profiles: AgentProfile[]) {
  const byId = new Map<string, AgentProfile>(profiles.map((entry) => [entry.id, entry]));
  return {
    byId: (id: string) => byId.get(id),
    byName: (name: string) => [...byId.values()].find((entry) => entry.name === name),
    ...NOTHING_ELSE,
    setState(id: AgentId, state: AgentState) {
      const entry = byId.get(id);
      if (entry !== undefined) byId.set(id, { ...entry, state });
    },
  };
}

export const ownIssuer = (...keys: Key[]): TrustedIssuer => {
  const jwks = keys.map((key) => key.publicJwk);
  return { issuer: OWN, kind: "own", audience: null, agentClaim: ["sub"], jwks: { kind: "local", keys: () => jwks } };
};

export const externalIssuer = (members: Partial<TrustedIssuer> & Pick<TrustedIssuer, "jwks">): TrustedIssuer => ({
  issuer: EXTERNAL,
  kind: "external",
  audience: null,
  agentClaim: ["sub"],
  ...members,
});

export function authenticator(options: Partial<AuthenticatorOptions> & Pick<AuthenticatorOptions, "issuers">) {
  return createAuthenticator({ publicUrl: PUBLIC_URL, directory: directoryOf(profile()), fetch, ...options }).authenticate;
}

export function expectAgent(answer: Agent | Refusal): Agent {
  if (isRefusal(answer)) throw new Error(`refused: ${answer.refused}: ${answer.note}`);
  return answer;
}

export function noteOf(answer: Agent | Refusal): string {
  return isRefusal(answer) ? `${answer.refused}: ${answer.note}` : "an agent";
}

export type Host = { readonly url: string; readonly requests: string[]; close(): Promise<void> };

/** A real HTTP server on a free port that counts what it is asked. */
export async function host(answer: (request: IncomingMessage, response: ServerResponse, url: string) => void): Promise<Host> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(request, response, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, close };
}

export function sendJson(response: ServerResponse, body: unknown, contentType = "application/json"): void {
  response.writeHead(200, { "content-type": contentType }).end(typeof body === "string" ? body : JSON.stringify(body));
}
