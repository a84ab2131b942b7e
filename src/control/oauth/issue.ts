/** A token of ours: recorded in the books and in the registry before it leaves, so that it can be found and ended. */
import { randomUUID } from "node:crypto";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { scopesWithin } from "../../call/authenticate/scopes-within.ts";
import { listOf } from "../agents/profiles.ts";
import type { Registry } from "../agents/registry.ts";
import type { SigningKey } from "../signing-key.ts";
import type { CredentialRow } from "../tables.ts";
import type { BudgetDetail } from "./budget-details.ts";
import { actClaim } from "./delegation.ts";
import { GrantRefused } from "./grant-refused.ts";

export type IssuedFacts = {
  readonly agentId: string;
  readonly customer: string;
  readonly tokenId: string;
  readonly grant: string;
  readonly audience: string;
  readonly scope: string;
  readonly by: string;
  /** Of a delegated token: how many act, and from which token it was made. */
  readonly actors: number;
  readonly parent: string | null;
};

/** RFC 6749 section 5.1, with the member that RFC 8693 section 2.2.1 adds for an exchange. */
export type TokenResponse = {
  readonly access_token: string;
  readonly issued_token_type?: string;
  readonly token_type: "Bearer";
  readonly expires_in: number;
  readonly scope: string;
  /** RFC 9396 section 7: what was set aside for it. */
  readonly authorization_details?: readonly BudgetDetail[];
};

/** `issuer` of an actor's token is null where it is ours; `agentId` of a subject's is null where a person is meant. */
export type Parent = { readonly issuer: string; readonly jti: string | null; readonly agentId: string | null };
export type ActorToken = { readonly issuer: string | null; readonly jti: string };

export type Draft = {
  readonly profile: AgentProfile;
  readonly grant: string;
  readonly by: string;
  readonly audience: string;
  readonly scopes: ReadonlySet<string>;
  readonly credentialId: string | null;
  readonly expiresAtMs: number;
  readonly instance: string | null;
  readonly workflow: string | null;
  /** Null: the agent acts for itself. */
  readonly subject: { readonly sub: string; readonly issuer: string | null; readonly actors: readonly string[] } | null;
  readonly parent: Parent | null;
  readonly actorToken: ActorToken | null;
  /** Of budgets: absent where none is. */
  readonly details?: readonly BudgetDetail[];
  /** Sets more aside, before anything of the token is written; null: nothing was asked for. */
  readonly setAside?: ((token: { readonly jti: string; readonly expiresAtMs: number }) => Promise<SetAside>) | null;
};

export type SetAside = {
  readonly details: readonly BudgetDetail[];
  /** The token was not made after all. */
  giveBack(): Promise<void>;
};

const NOTHING_ASIDE: SetAside = { details: [], giveBack: async () => {} };

export type IssueParts = {
  readonly publicUrl: string;
  readonly registry: Registry;
  readonly signingKey: SigningKey;
  /** Scopes that some permit for the agent requires. */
  readonly scopesFor: (profile: AgentProfile) => readonly string[];
  readonly issued: (facts: IssuedFacts) => Promise<void>;
  readonly now: () => number;
};

/** Never more than policies demand, the account allows and the credential is good for. */
export function entitledScopes({ scopesFor }: IssueParts, profile: AgentProfile, credential: CredentialRow | null): ReadonlySet<string> {
  const required = scopesWithin(new Set(["mcp", ...scopesFor(profile)]), profile.account.scopes);
  return scopesWithin(required, credential === null ? null : listOf(credential.scopes));
}

export async function issueToken(parts: IssueParts, draft: Draft): Promise<TokenResponse> {
  const jti = randomUUID();
  const expiresAtMs = Math.floor(draft.expiresAtMs / 1000) * 1000;
  const aside = (await draft.setAside?.({ jti, expiresAtMs })) ?? NOTHING_ASIDE;
  try {
    return await issueWith(parts, draft, jti, [...(draft.details ?? []), ...aside.details]);
  } catch (thrown) {
    await aside.giveBack();
    throw thrown;
  }
}

async function issueWith(parts: IssueParts, draft: Draft, jti: string, details: readonly BudgetDetail[]): Promise<TokenResponse> {
  const { publicUrl, registry, signingKey, issued, now } = parts;
  const { profile, audience, subject, parent, instance, workflow } = draft;
  const nowMs = now();
  const scope = [...draft.scopes].join(" ");
  const [iat, exp] = [Math.floor(nowMs / 1000), Math.floor(draft.expiresAtMs / 1000)];
  await issued({
    ...{ agentId: profile.id, customer: profile.customer, tokenId: jti, grant: draft.grant, audience, scope, by: draft.by },
    ...{ actors: subject?.actors.length ?? 0, parent: parent?.jti ?? null },
  });
  const counts = await registry.issuedToken({
    ...{ jti, agent_id: profile.id, credential_id: draft.credentialId, audience, scope, instance },
    ...{ parent_issuer: parent?.issuer ?? null, parent_jti: parent?.jti ?? null, parent_agent_id: parent?.agentId ?? null },
    ...{ actor_issuer: draft.actorToken?.issuer ?? null, actor_jti: draft.actorToken?.jti ?? null },
    ...{ issued_ms: nowMs, expires_ms: exp * 1000 },
  });
  if (!counts) throw new GrantRefused("invalid_grant", "what the token would be made from has ended");
  const given = details.length === 0 ? {} : { authorization_details: details };
  const claims = {
    ...{ iss: publicUrl, sub: subject?.sub ?? profile.id, client_id: profile.id, aud: audience, iat, exp, jti, scope },
    ...(subject === null ? {} : { act: actClaim(subject.actors), subject_issuer: subject.issuer ?? undefined }),
    ...{ instance: instance ?? undefined, workflow: workflow ?? undefined, ...given },
  };
  return { access_token: await signingKey.sign(claims, "at+jwt"), token_type: "Bearer", expires_in: exp - iat, scope, ...given };
}
