/** The grants: an agent by its own credential, a workload by its platform's token, and a user's token for one that names the agent too. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { VerifiedToken, VerifyToken } from "../../call/authenticate/verified-token.ts";
import { isRefusal, type Refusal } from "../../refusal.ts";
import { type BudgetDetail, carriedOn, detailsOf, type WantedBudget, wantedBudgets } from "./budget-details.ts";
import { delegate, type Given } from "./delegation.ts";
import { GrantRefused } from "./grant-refused.ts";
import { audienceOf, GRANTS, type GrantClient, marksOf, type Parameters, refuseDetails, wantedScopes } from "./grant-request.ts";
import { type ActorToken, entitledScopes, type IssueParts, issueToken, type Parent, type SetAside, type TokenResponse } from "./issue.ts";

export type GrantParts = IssueParts & {
  readonly accessTokenTtlMs: number;
  readonly verify: VerifyToken;
  /** What tokens that come here may be for: the routes of this gateway. */
  readonly audiences: () => readonly string[];
  readonly lend: Lend;
};

/** Sets a part of the budgets of the subject's calls aside for a token that is about to be made; refuses where they cannot carry it. */
export type Lend = {
  /** What may be asked for. */
  readonly meters: ReadonlySet<string>;
  take(wish: LendWish): Promise<SetAside>;
};

export type LendWish = {
  /** Whose calls' budgets: a token that names an agent. */
  readonly from: VerifiedToken & { readonly profile: AgentProfile };
  readonly wanted: readonly WantedBudget[];
  readonly agentId: string;
  readonly jti: string;
  readonly expiresAtMs: number;
};

/** RFC 6749 section 4.4. */
export async function clientCredentials(
  parts: GrantParts,
  { profile, credential }: GrantClient,
  asked: Parameters,
): Promise<TokenResponse> {
  refuseDetails(asked);
  const entitled = entitledScopes(parts, profile, credential);
  return await issueToken(parts, {
    ...{ profile, grant: "client_credentials", by: "agent", credentialId: credential?.id ?? null },
    ...{ audience: audienceOf(asked, parts.publicUrl), scopes: within(entitled, wantedScopes(asked)) },
    ...{ expiresAtMs: parts.now() + parts.accessTokenTtlMs, ...marksOf(asked) },
    ...{ subject: null, parent: null, actorToken: null },
  });
}

/** RFC 7523 section 2.1: the platform's token is all that a workload has, and all that it needs. */
export async function jwtBearer(parts: GrantParts, client: GrantClient | null, asked: Parameters): Promise<TokenResponse> {
  const { publicUrl, now } = parts;
  refuseDetails(asked);
  if (asked.assertion === undefined) throw new GrantRefused("invalid_request", "assertion is missing");
  const expected = { audiences: [publicUrl, `${publicUrl}/oauth/token`, ...parts.audiences()], use: "assertion" } as const;
  const workload = await verified(parts, asked.assertion, expected, "invalid_grant");
  // An assertion of ours would be a token that renews itself.
  if (workload.own) throw new GrantRefused("invalid_grant", "a token of this server is no assertion: exchange it");
  const profile = activeAgent(workload, "invalid_grant");
  if (client !== null && client.profile.id !== profile.id)
    throw new GrantRefused("invalid_grant", "the assertion is of another agent than the client");
  const entitled = entitledScopes(parts, profile, client?.credential ?? null);
  const held = statesScopes(workload) ? new Set([...entitled].filter((scope) => scope === "mcp" || workload.scopes.has(scope))) : entitled;
  const { instance, workflow } = marksOf(asked);
  return await issueToken(parts, {
    ...{ profile, grant: GRANTS.jwtBearer, by: "agent", credentialId: client?.credential?.id ?? null },
    ...{ audience: audienceOf(asked, publicUrl), scopes: within(held, wantedScopes(asked)) },
    expiresAtMs: endOf(parts, Math.min(workload.expiresAtMs, now() + parts.accessTokenTtlMs)),
    ...{ instance: workload.instance ?? instance, workflow: workflow ?? workload.workflow },
    ...{ subject: null, parent: parentOf(workload), actorToken: null },
  });
}

const TYPE = "urn:ietf:params:oauth:token-type:";
const ACCESS_TOKEN = `${TYPE}access_token`;

/** RFC 8693. The actor is the client, or whom the actor token names; where both are there they are the same agent. */
export async function tokenExchange(parts: GrantParts, client: GrantClient | null, asked: Parameters): Promise<TokenResponse> {
  const { publicUrl, now, lend } = parts;
  const { subject_token, actor_token, requested_token_type: type = ACCESS_TOKEN } = asked;
  if (type !== ACCESS_TOKEN && type !== `${TYPE}jwt`)
    throw new GrantRefused("invalid_request", "requested_token_type: only access tokens are issued");
  if (subject_token === undefined) throw new GrantRefused("invalid_request", "subject_token is missing");
  // An ID token is for its client, and says nothing of what may be done with it here.
  if (asked.subject_token_type !== ACCESS_TOKEN && asked.subject_token_type !== `${TYPE}jwt`)
    throw new GrantRefused("invalid_request", "subject_token_type must be that of an access token");
  if ((actor_token === undefined) !== (asked.actor_token_type === undefined))
    throw new GrantRefused("invalid_request", "actor_token and actor_token_type come together or not at all");
  const audience = audienceOf(asked, publicUrl);
  const subject = await verified(parts, subject_token, { audiences: parts.audiences(), use: "access" }, "invalid_request");
  if (subject.profile !== null) activeAgent(subject, "invalid_request");
  const actorToken = actor_token === undefined ? null : await actorOf(parts, actor_token, asked.actor_token_type ?? "");
  const profile = actorToken === null ? client?.profile : activeAgent(actorToken, "invalid_request");
  if (profile === undefined) throw new GrantRefused("invalid_client", "neither a client nor an actor token says who acts");
  if (client !== null && client.profile.id !== profile.id)
    throw new GrantRefused("invalid_request", "the actor token is of another agent than the client");
  if (client === null && actorToken !== null && !isGoodFor(parts, actorToken, audience))
    throw new GrantRefused("invalid_target", "without a client credential, only for what the actor token is for");
  const entitled = entitledScopes(parts, profile, client?.credential ?? null);
  const bounds = { entitled, wanted: wantedScopes(asked), nowMs: now(), ttlMs: parts.accessTokenTtlMs };
  const delegated = delegate(given(subject), profile, actorToken === null ? null : given(actorToken), bounds);
  const { instance, workflow } = marksOf(asked);
  const wanted = wantedBudgets(asked.authorization_details, lend.meters);
  const issued = await issueToken(parts, {
    ...{ profile, grant: GRANTS.tokenExchange, by: "agent", credentialId: client?.credential?.id ?? null, audience },
    ...{ scopes: delegated.scopes, expiresAtMs: delegated.expiresAtMs },
    ...{ instance: actorToken?.instance ?? instance, workflow: workflow ?? actorToken?.workflow ?? null },
    subject: delegated.actors.length === 0 ? null : { sub: delegated.sub, issuer: delegated.subjectIssuer, actors: delegated.actors },
    ...{ parent: parentOf(subject), actorToken: actorToken === null ? null : namedOf(actorToken) },
    details: carriedOn(ownDetails(subject), actorToken === null ? [] : ownDetails(actorToken), wanted),
    setAside: wanted.length === 0 ? null : (token) => lend.take({ from: ofAgent(subject), wanted, agentId: profile.id, ...token }),
  });
  return { ...issued, issued_token_type: ACCESS_TOKEN };
}

function ownDetails({ own, claims }: VerifiedToken): readonly BudgetDetail[] {
  return own ? detailsOf(claims) : [];
}

/** A user has no budget of its own: what agents spend for it is counted on theirs. */
function ofAgent(subject: VerifiedToken): LendWish["from"] {
  const { profile } = subject;
  if (profile === null)
    throw new GrantRefused("invalid_authorization_details", "the subject token names no agent of whose budgets a part could be set aside");
  return { ...subject, profile };
}

/** A platform's token says who somebody is and states no scopes; one that does is a bound. */
function statesScopes({ claims }: VerifiedToken): boolean {
  return "scope" in claims || "scp" in claims;
}

function given(token: VerifiedToken): Given {
  return { ...token, statesScopes: statesScopes(token) };
}

/** Whoever holds a token for one route must not make it one for another; an assertion to this server is for no route. */
function isGoodFor({ audiences }: GrantParts, { claims }: VerifiedToken, audience: string): boolean {
  const named = [claims.aud].flat();
  return named.includes(audience) || !named.some((each) => typeof each === "string" && audiences().includes(each));
}

async function actorOf(parts: GrantParts, text: string, type: string): Promise<VerifiedToken> {
  if (type !== ACCESS_TOKEN && type !== `${TYPE}jwt`)
    throw new GrantRefused("invalid_request", "actor_token_type must be that of an access token or a JWT");
  const { publicUrl } = parts;
  const audiences = [publicUrl, `${publicUrl}/oauth/token`, ...parts.audiences()];
  return await verified(parts, text, { audiences, use: type === ACCESS_TOKEN ? "access" : "assertion" }, "invalid_request");
}

/** What is wrong with a token is for our own record; whoever presents it learns that it is not good. */
async function verified(
  parts: GrantParts,
  text: string,
  expected: { readonly audiences: readonly string[]; readonly use: "access" | "assertion" },
  error: "invalid_grant" | "invalid_request",
): Promise<VerifiedToken> {
  const token: VerifiedToken | Refusal = await parts.verify(text, expected, parts.now());
  if (!isRefusal(token)) return token;
  if (token.refused === "store_unavailable")
    throw new GrantRefused("temporarily_unavailable", "the keys of the token's issuer cannot be read now");
  throw new GrantRefused(error, "a token that was presented is expired, revoked, of an issuer that is not trusted, or not for this server");
}

function activeAgent({ profile }: VerifiedToken, error: "invalid_grant" | "invalid_request") {
  if (profile === null) throw new GrantRefused(error, "the token names no agent that is registered here");
  if (profile.state !== "active") throw new GrantRefused(error, `the agent that the token names is ${profile.state}`);
  return profile;
}

function within(held: ReadonlySet<string>, wanted: ReadonlySet<string> | null): ReadonlySet<string> {
  for (const scope of wanted ?? [])
    if (!held.has(scope)) throw new GrantRefused("invalid_scope", "this scope may not be issued to this agent");
  return wanted ?? new Set(["mcp"]);
}

function endOf({ now }: GrantParts, endsMs: number): number {
  const whole = Math.floor(endsMs / 1000) * 1000;
  if (whole <= now()) throw new GrantRefused("invalid_grant", "what is left of the assertion is less than a second");
  return whole;
}

function parentOf({ issuer, tokenId, profile }: VerifiedToken): Parent {
  return { issuer, jti: tokenId, agentId: profile?.id ?? null };
}

/** A token without an id can be ended with its agent only. */
function namedOf({ issuer, tokenId, own }: VerifiedToken): ActorToken | null {
  return tokenId === null ? null : { issuer: own ? null : issuer, jti: tokenId };
}
