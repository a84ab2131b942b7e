/** Agent to issued token: what an upstream is shown instead of the agent's own token, kept until shortly before it ends. */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Agent } from "../authenticate/agent.ts";
import { serverFinder } from "./authorization-server.ts";
import { boundedFetch } from "./bounded-fetch.ts";
import { explain, type Granted, requestClientCredentials, requestTokenExchange, type SubjectToken, spokeOAuth } from "./grant.ts";
import type { IssuedToken } from "./issued-token.ts";
import { isFieldValue, redacted } from "./redact.ts";
import type { AssertionClaims, ClientCredentials, Fetch, ServerCredential, TokenExchange } from "./server-credential.ts";

export type ExchangeOptions = {
  readonly publicUrl: string;
  readonly servers: ReadonlyMap<string, ServerCredential>;
  readonly fetch: Fetch;
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number;
  readonly signAssertion: (claims: AssertionClaims) => Promise<string>;
  /** For `jti`; never the same twice. */
  readonly uniqueId: () => string;
  readonly timeoutMs?: number;
};

export type Exchange = {
  exchange(agent: Agent, server: ServerName): IssuedToken | Refusal | Promise<IssuedToken | Refusal>;
  /** After the upstream refused `failed`: the next exchange asks anew, unless another call has done so already. */
  invalidate(agent: Agent, server: ServerName, failed: IssuedToken): void;
};

type Obtained = ClientCredentials | TokenExchange;
type Kept = { readonly issued: IssuedToken; readonly obtainedAtMs: number; readonly untilMs: number };

/** Tokens and failures in memory; the least recently used goes first. */
const KEPT_MAX = 10_000;
/** A token is renewed this long before it ends, so that none expires on its way. */
const MARGIN_MS = 30_000;
/** No token counts longer than this, whatever its server says: a client that is revoked there ends here too. */
const LIFETIME_MAX_MS = 3_600_000;
const LIFETIME_UNSAID_MS = 600_000;
/** Between a failure, here or at the upstream, and the next attempt: calls that fail must not become a storm at the authorization server. */
const BACK_OFF_MS = 1_000;
/** RFC 7523 section 3: used at once, once. */
const ASSERTION_SECONDS = 60;

export function createExchange(options: ExchangeOptions): Exchange {
  const fetch = boundedFetch(options.fetch, options.timeoutMs);
  const findServer = serverFinder(fetch, options.now);
  const fixed = fixedTokens(options.servers);
  const kept = new LRUCache<string, Kept>({ max: KEPT_MAX });
  const failed = new LRUCache<string, { readonly refusal: Refusal; readonly untilMs: number }>({ max: KEPT_MAX });
  const inFlight = new Map<string, Promise<IssuedToken | Refusal>>();

  function exchange(agent: Agent, server: ServerName): IssuedToken | Refusal | Promise<IssuedToken | Refusal> {
    const constant = fixed.get(server);
    if (constant !== undefined) return constant;
    const credential = obtainedBy(server);
    const key = keyOf(credential, agent, server);
    const nowMs = options.now();
    const known = kept.get(key);
    if (known !== undefined && nowMs < known.untilMs) return known.issued;
    const failure = failed.get(key);
    if (failure !== undefined && nowMs < failure.untilMs) return failure.refusal;
    const running = inFlight.get(key);
    if (running !== undefined) return running;
    const started = obtain(credential, agent, key).finally(() => inFlight.delete(key));
    inFlight.set(key, started);
    return started;
  }

  function invalidate(agent: Agent, server: ServerName, refused: IssuedToken): void {
    if (fixed.has(server)) return;
    const key = keyOf(obtainedBy(server), agent, server);
    const known = kept.get(key);
    // An upstream that refuses even a token of this second refuses them all; a new one for each call would be a storm.
    if (known?.issued === refused && options.now() - known.obtainedAtMs >= BACK_OFF_MS) kept.delete(key);
  }

  function obtainedBy(server: ServerName): Obtained {
    const credential = options.servers.get(server);
    if (credential?.kind === "clientCredentials" || credential?.kind === "tokenExchange") return credential;
    throw new Error("the server has no configured credential");
  }

  async function obtain(credential: Obtained, agent: Agent, key: string): Promise<IssuedToken | Refusal> {
    const subjectToken = credential.kind === "tokenExchange" ? await subjectTokenFor(credential, agent) : null;
    const granted = await request(credential, subjectToken);
    const nowMs = options.now();
    if (typeof granted === "string") {
      const refusal = refuse("exchange_failed", {}, granted);
      failed.set(key, { refusal, untilMs: nowMs + BACK_OFF_MS });
      return refusal;
    }
    const endsMs = nowMs + Math.min(granted.lifetimeMs ?? LIFETIME_UNSAID_MS, LIFETIME_MAX_MS);
    // What was obtained for a subject ends with the token that named it.
    const subjectEndsMs = subjectToken === null ? Number.POSITIVE_INFINITY : agent.expiresAtMs;
    const issued: IssuedToken = {
      kind: credential.kind,
      headers: redacted({ authorization: `Bearer ${granted.accessToken}` }),
      expiresAtMs: Math.min(endsMs, subjectEndsMs),
      shareKey: subjectToken === null ? credential.kind : `${credential.kind}:${personOf(agent)}`,
    };
    const untilMs = Math.min(granted.lifetimeMs === null ? endsMs : endsMs - MARGIN_MS, subjectEndsMs);
    if (nowMs < untilMs) kept.set(key, { issued, obtainedAtMs: nowMs, untilMs });
    return issued;
  }

  /** A string says, in fixed words, why there is none. One attempt: another grant type is never tried instead. */
  async function request(credential: Obtained, subjectToken: SubjectToken | null): Promise<Granted | string> {
    try {
      const server = await findServer(credential.issuer);
      if (credential.kind === "clientCredentials") return await requestClientCredentials(server, credential, fetch);
      if (subjectToken === null) throw new Error("a token exchange needs a subject");
      return await requestTokenExchange(server, credential, subjectToken, fetch);
    } catch (thrown) {
      if (!spokeOAuth(thrown)) findServer.forget(credential.issuer);
      return explain(thrown);
    }
  }

  /** The inbound token goes to the authorization server that issued it and to nobody else; any other hears the gateway's own word. */
  async function subjectTokenFor(credential: TokenExchange, agent: Agent): Promise<SubjectToken> {
    if (agent.issuer === credential.issuer) return { text: agent.accessToken.reveal(), type: "access_token" };
    const iat = Math.floor(options.now() / 1000);
    const who = agent.subject === null ? { sub: agent.profile.id } : { sub: agent.subject, act: { sub: agent.profile.id } };
    const times = { jti: options.uniqueId(), iat, exp: iat + ASSERTION_SECONDS };
    return { text: await options.signAssertion({ iss: options.publicUrl, aud: credential.issuer, ...who, ...times }), type: "jwt" };
  }

  return { exchange, invalidate };
}

/** Credentials that need no request are made once; one that cannot stand in a header stops the start, without being shown. */
function fixedTokens(servers: ReadonlyMap<string, ServerCredential>): ReadonlyMap<string, IssuedToken> {
  const fixed = new Map<string, IssuedToken>();
  for (const [server, credential] of servers) {
    const headers = fixedHeaders(credential);
    if (headers === null) continue;
    if (!Object.values(headers).every(isFieldValue)) throw new Error(`the credential of server ${server} cannot stand in a header`);
    fixed.set(server, { kind: credential.kind, headers: redacted(headers), expiresAtMs: null, shareKey: credential.kind });
  }
  return fixed;
}

function fixedHeaders(credential: ServerCredential): Readonly<Record<string, string>> | null {
  if (credential.kind === "none") return {};
  if (credential.kind === "bearer") return { authorization: `Bearer ${credential.bearer.reveal()}` };
  if (credential.kind === "header") return { [credential.name.toLowerCase()]: credential.value.reveal() };
  return null;
}

/** One token a server, or one a server, principal and set of rights; where the inbound token itself was shown, one for each of those. */
function keyOf(credential: Obtained, agent: Agent, server: ServerName): string {
  if (credential.kind === "clientCredentials") return server;
  const shown = agent.issuer === credential.issuer ? `${agent.expiresAtMs} ${agent.tokenId ?? ""}` : "";
  return `${server} ${personOf(agent)} ${shown}`;
}

// An agent object lives as long as its verified token, so this is computed once a token, not once a call.
const persons = new WeakMap<Agent, string>();

/** Everything that could make one exchanged token worth more than another. */
function personOf(agent: Agent): string {
  const known = persons.get(agent);
  if (known !== undefined) return known;
  const rights = [agent.principal, agent.profile.customer, agent.actors, agent.roles, [...agent.scopes].sort()];
  const person = hash("sha256", JSON.stringify(rights), "base64url");
  persons.set(agent, person);
  return person;
}
