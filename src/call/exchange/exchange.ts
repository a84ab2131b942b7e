/** Agent to issued token: what an upstream is shown instead of the agent's own token, kept until shortly before it ends. */
import { hash } from "node:crypto";
import type { AgentId, ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { Agent } from "../authenticate/agent.ts";
import { serverFinder } from "./authorization-server.ts";
import { boundedFetch, ExchangeFailure } from "./bounded-fetch.ts";
import { type Assert, type Delegation, delegate, isShown } from "./delegation.ts";
import { type Protection, protectionFinder } from "./discovery.ts";
import { fixedTokens } from "./fixed-token.ts";
import { explain, type Granted, requestClientCredentials, requestOnBehalfOf, requestTokenExchange, spokeOAuth } from "./grant.ts";
import type { IssuedToken } from "./issued-token.ts";
import { createKeptTokens, type Obtained } from "./kept-tokens.ts";
import { redacted } from "./redact.ts";
import type { ClientCredentials, Fetch, IssuerClient, ServerCredential, TokenExchange } from "./server-credential.ts";

export type ExchangeOptions = Assert & {
  readonly servers: ReadonlyMap<string, ServerCredential>;
  /** To authorization servers that the operator names. */
  readonly fetch: Fetch;
  /** To URLs that an upstream or its authorization server names. */
  readonly fetchFromOutside: Fetch;
  readonly timeoutMs?: number;
};

type Answer = IssuedToken | Refusal;

export type Exchange = {
  /** `toolName`: of a call of one tool, whose token may be narrower; null for anything else. */
  exchange(agent: Agent, server: ServerName, toolName?: string | null): Answer | Promise<Answer>;
  /** After the upstream refused `failed`: the next exchange asks anew, unless another call has done so already. */
  invalidate(agent: Agent, server: ServerName, failed: IssuedToken): void;
  /** Both at once: a new token for the same scopes. */
  reissue(agent: Agent, server: ServerName, failed: IssuedToken): Answer | Promise<Answer>;
  /** The agent is stopped: nothing that was obtained for it is shown any more. */
  forget(agentId: AgentId): void;
};

type Asked = ClientCredentials | TokenExchange;
type Place = { readonly issuer: string; readonly client: IssuerClient; readonly resource: string | null };
/** Where a token comes from, what for, and with which scopes. */
type Wanted = Place & { readonly scopes: readonly string[] };

/** A token is renewed this long before it ends, so that none expires on its way. */
const MARGIN_MS = 30_000;
/** No token counts longer than this, whatever its server says: a client that is revoked there ends here too. */
const LIFETIME_MAX_MS = 3_600_000;
const LIFETIME_UNSAID_MS = 600_000;

export function createExchange(options: ExchangeOptions): Exchange {
  const near = boundedFetch(options.fetch, options.timeoutMs);
  const far = boundedFetch(options.fetchFromOutside, options.timeoutMs);
  const named = { fetch: near, findServer: serverFinder(near, options.now) };
  const discovered = { fetch: far, findServer: serverFinder(far, options.now) };
  const findProtection = protectionFinder(far, options.now);
  const fixed = fixedTokens(options.servers);
  const kept = createKeptTokens(options.now);
  const origins = new WeakMap<IssuedToken, { readonly key: string; readonly scopes: readonly string[] }>();

  function exchange(agent: Agent, server: ServerName, toolName: string | null = null): Answer | Promise<Answer> {
    const constant = fixed.get(server);
    if (constant !== undefined) return constant;
    const credential = askedBy(server);
    return exchangeFor(agent, server, credential, scopesFor(credential, toolName));
  }

  function exchangeFor(agent: Agent, server: ServerName, credential: Asked, scopes: readonly string[]): Answer | Promise<Answer> {
    const issueAt = (place: Place): Answer | Promise<Answer> => {
      const wanted = { ...place, scopes };
      const key = keyOf(credential, agent, server, wanted);
      const owner = credential.kind === "tokenExchange" ? agent.profile.id : null;
      return kept.get(key, owner, () => obtain(credential, agent, wanted, key));
    };
    const place = placeOf(credential);
    return place instanceof Promise ? place.then(issueAt, refusalOf) : issueAt(place);
  }

  function invalidate(_agent: Agent, server: ServerName, refused: IssuedToken): void {
    const origin = origins.get(refused);
    if (origin === undefined || !kept.drop(origin.key, refused)) return;
    const { issuer } = askedBy(server);
    if (typeof issuer !== "string") findProtection.forget(issuer.discoveredFrom);
  }

  function reissue(agent: Agent, server: ServerName, refused: IssuedToken): Answer | Promise<Answer> {
    invalidate(agent, server, refused);
    const origin = origins.get(refused);
    return origin === undefined ? exchange(agent, server) : exchangeFor(agent, server, askedBy(server), origin.scopes);
  }

  function askedBy(server: ServerName): Asked {
    const credential = options.servers.get(server);
    if (credential?.kind === "clientCredentials" || credential?.kind === "privateKeyJwt" || credential?.kind === "tokenExchange") {
      return credential;
    }
    throw new Error("the server has no configured credential");
  }

  /** A client is looked up by the issuer that will see it, and by nothing else. */
  function placeOf({ issuer, clients, resource }: Asked): Place | Promise<Place> {
    const at = (found: Protection): Place => {
      const client = clients.get(found.issuer);
      if (client === undefined) throw new Error("the issuer has no client");
      return { issuer: found.issuer, client, resource: resource ?? found.resource };
    };
    if (typeof issuer === "string") return at({ issuer, resource });
    const found = findProtection(issuer.discoveredFrom, (each) => clients.has(each));
    return found instanceof Promise ? found.then(at) : at(found);
  }

  async function obtain(credential: Asked, agent: Agent, wanted: Wanted, key: string): Promise<Obtained | Refusal> {
    const granted = await request(credential, agent, wanted);
    if (isRefusal(granted)) return granted;
    const nowMs = options.now();
    const endsMs = nowMs + Math.min(granted.lifetimeMs ?? LIFETIME_UNSAID_MS, LIFETIME_MAX_MS);
    // What was obtained for a subject ends with the token that named it.
    const subjectEndsMs = credential.kind === "tokenExchange" ? agent.expiresAtMs : Number.POSITIVE_INFINITY;
    const issued: IssuedToken = {
      kind: credential.kind,
      headers: redacted({ authorization: `Bearer ${granted.accessToken}` }),
      expiresAtMs: Math.min(endsMs, subjectEndsMs),
      shareKey: credential.kind === "tokenExchange" ? `${credential.kind}:${personOf(agent)}` : credential.kind,
    };
    origins.set(issued, { key, scopes: wanted.scopes });
    return { issued, untilMs: Math.min(granted.lifetimeMs === null ? endsMs : endsMs - MARGIN_MS, subjectEndsMs) };
  }

  /** One attempt: another grant type is never tried instead. */
  async function request(credential: Asked, agent: Agent, wanted: Wanted): Promise<Granted | Refusal> {
    const way = typeof credential.issuer === "string" ? named : discovered;
    const delegation = credential.kind === "tokenExchange" ? await delegated(credential, agent, wanted.issuer) : null;
    if (delegation !== null && isRefusal(delegation)) return delegation;
    try {
      const server = await way.findServer(wanted.issuer);
      const asking = { ...wanted, server, fetch: way.fetch };
      if (credential.kind !== "tokenExchange" || delegation === null) return await requestClientCredentials(asking);
      if (credential.profile === "entra-obo") return await requestOnBehalfOf(asking, delegation);
      return await requestTokenExchange(asking, credential, delegation);
    } catch (thrown) {
      if (!spokeOAuth(thrown)) way.findServer.forget(wanted.issuer);
      return refusalOf(thrown);
    }
  }

  /** A signer that fails is a fault of ours. */
  async function delegated(credential: TokenExchange, agent: Agent, issuer: string): Promise<Delegation | Refusal> {
    try {
      return await delegate(credential, agent, issuer, options);
    } catch (thrown) {
      if (thrown instanceof ExchangeFailure) return refusalOf(thrown);
      throw thrown;
    }
  }

  return { exchange, invalidate, reissue, forget: kept.forget };
}

/** Says why in fixed words. */
function refusalOf(thrown: unknown): Refusal {
  return refuse("exchange_failed", {}, explain(thrown));
}

/** A call of a tool gets the scopes of the patterns that name it; lists and handshakes, and a tool that none names, get the general ones. */
function scopesFor({ scopes, toolScopes }: Asked, toolName: string | null): readonly string[] {
  if (toolScopes.length === 0 || (toolName === null && scopes.length > 0)) return scopes;
  const meant = toolName === null ? toolScopes : toolScopes.filter((each) => each.matches(toolName));
  return meant.length === 0 ? scopes : [...new Set(meant.flatMap((each) => each.scopes))].sort();
}

/** One token for each server, issuer, client, resource and set of scopes; and for each principal and set of rights, where it names one. */
function keyOf(credential: Asked, agent: Agent, server: ServerName, { issuer, client, resource, scopes }: Wanted): string {
  const place = `${server}\n${issuer}\n${client.clientId}\n${resource}\n${scopes.join(" ")}`;
  if (credential.kind !== "tokenExchange") return place;
  // Where the inbound token itself was shown: one for each of those.
  const shown = isShown(credential, agent, issuer) ? `${agent.expiresAtMs} ${agent.tokenId ?? ""}` : "";
  return `${place}\n${personOf(agent)}\n${shown}`;
}

// An agent object lives as long as its verified token, so this is computed once a token, not once a call.
const persons = new WeakMap<Agent, string>();

/** Everything that could make one exchanged token worth more than another. */
function personOf(agent: Agent): string {
  const known = persons.get(agent);
  if (known !== undefined) return known;
  const { principal, subject, profile, actors, roles, scopes } = agent;
  const rights = [principal, subject, profile.id, profile.customer, actors, roles, [...scopes].sort()];
  const person = hash("sha256", JSON.stringify(rights), "base64url");
  persons.set(agent, person);
  return person;
}
