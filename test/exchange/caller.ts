/** Agents as the step before hands them over, and the gateway's own key that signs assertions. */
import { generateKeyPairSync } from "node:crypto";
import { type JWK, SignJWT } from "jose";
import { AccessToken, type Agent } from "../../src/call/authenticate/agent.ts";
import { createExchange, type ExchangeOptions } from "../../src/call/exchange/exchange.ts";
import type { IssuedToken } from "../../src/call/exchange/issued-token.ts";
import type {
  AssertionClaims,
  ClientCredentials,
  IssuerClient,
  ServerCredential,
  TokenExchange,
} from "../../src/call/exchange/server-credential.ts";
import type { AgentId, ServerName } from "../../src/ids.ts";
import { isRefusal, type Refusal } from "../../src/refusal.ts";
import { CLIENT_SECRET, RESOURCE } from "./authorization-server.ts";

export const PUBLIC_URL = "https://gw.example";
export const SERVER = "tickets" as ServerName;
export const START_MS = 1_795_000_000_000;

const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
export const gatewayJwk: JWK = { ...(pair.publicKey.export({ format: "jwk" }) as JWK), kid: "gw-1" };

export const sign = (claims: Readonly<Record<string, unknown>>, typ: string) =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg: "ES256", typ, kid: "gw-1" }).sign(pair.privateKey);

export const secret = (text: string) => ({ reveal: () => text });

export function agent(members: Partial<Agent> = {}): Agent {
  const id = (members.profile?.id ?? "agt_bot") as AgentId;
  const subject = members.subject ?? null;
  return {
    profile: {
      id,
      name: "triage-bot",
      kind: "autonomous",
      state: "active",
      customer: "acme",
      team: null,
      workflow: null,
      owner: "ops@example.com",
      purpose: "sort tickets",
      riskClass: "unclassified",
      issuer: null,
      account: { tools: null, scopes: null },
    },
    instance: null,
    subject,
    person: null,
    actors: [],
    roles: [],
    scopes: new Set(["mcp"]),
    issuer: PUBLIC_URL,
    clientId: id,
    tokenId: "jti-1",
    expiresAtMs: START_MS + 600_000,
    principal: `${members.issuer ?? PUBLIC_URL} ${id} ${subject}`,
    claims: {},
    environment: "live",
    accessToken: new AccessToken("canary-of-the-inbound-token"),
    ...members,
  };
}

export const named = (id: string, members: Partial<Agent> = {}) =>
  agent({ profile: { ...agent().profile, id: id as AgentId }, ...members });

export const secretClient = (text: string): IssuerClient => ({
  clientId: "tollgate",
  authentication: { kind: "secret", secret: secret(text), method: null },
});

const oauthClient = (issuer: string) => ({
  issuer,
  clients: new Map([[issuer, secretClient(CLIENT_SECRET)]]),
  resource: RESOURCE,
  scopes: ["tickets"],
  toolScopes: [],
});

export const clientCredentials = (issuer: string): ClientCredentials => ({ kind: "clientCredentials", ...oauthClient(issuer) });
export const tokenExchange = (issuer: string): TokenExchange => ({
  kind: "tokenExchange",
  profile: "rfc8693",
  audience: null,
  actorToken: null,
  ...oauthClient(issuer),
});

/** An exchange for one server under a clock that the test moves. */
export function exchanging(credential: ServerCredential, options: Partial<ExchangeOptions> = {}) {
  const clock = { nowMs: START_MS };
  const assertions: AssertionClaims[] = [];
  const { exchange, invalidate, reissue, forget } = createExchange({
    publicUrl: PUBLIC_URL,
    servers: new Map([[SERVER, credential]]),
    fetch,
    fetchFromOutside: fetch,
    now: () => clock.nowMs,
    signAssertion: (claims) => {
      assertions.push(claims);
      return sign(claims, "JWT");
    },
    uniqueId: () => `unique-${assertions.length}`,
    ...options,
  });
  return {
    clock,
    assertions,
    forget,
    exchange: async (caller: Agent = agent(), toolName: string | null = null) => exchange(caller, SERVER, toolName),
    reissue: async (caller: Agent, failed: IssuedToken) => reissue(caller, SERVER, failed),
    exchangeAtOnce: (caller: Agent = agent()) => exchange(caller, SERVER),
    invalidate: (caller: Agent, failed: IssuedToken) => invalidate(caller, SERVER, failed),
  };
}

export function expectIssued(answer: IssuedToken | Refusal): IssuedToken {
  if (isRefusal(answer)) throw new Error(`refused: ${answer.refused}: ${answer.note}`);
  return answer;
}

export const accessTokenOf = (answer: IssuedToken | Refusal) => (expectIssued(answer).headers.authorization ?? "").replace("Bearer ", "");

export const noteOf = (answer: IssuedToken | Refusal) => (isRefusal(answer) ? `${answer.refused}: ${answer.note}` : "a token");
