/** Pure. RFC 8693: what a delegated token may be, from the subject's token, the actor's and the request; each bound only takes away. */
import { GrantRefused } from "./grant-refused.ts";

/** What an exchange looks at of a token that was verified. */
export type Given = {
  readonly issuer: string;
  readonly own: boolean;
  readonly sub: string;
  /** Whom it acts for already, where it is a delegated token of ours: the subject of the new one. */
  readonly subject: string | null;
  readonly actors: readonly string[];
  readonly scopes: ReadonlySet<string>;
  /** False: a platform's token, which says who somebody is and nothing of scopes. */
  readonly statesScopes: boolean;
  readonly expiresAtMs: number;
  readonly claims: Readonly<Record<string, unknown>>;
};

export type Actor = { readonly id: string; readonly name: string };

export type Bounds = {
  /** What the agent's entitlements, account and credential allow. */
  readonly entitled: ReadonlySet<string>;
  /** Null: not asked for. */
  readonly wanted: ReadonlySet<string> | null;
  readonly nowMs: number;
  readonly ttlMs: number;
};

export type Delegated = {
  readonly sub: string;
  /** Of an external subject: equal names of two issuers are two people. */
  readonly subjectIssuer: string | null;
  /** Outermost first; empty where the agent only narrows a token of its own. */
  readonly actors: readonly string[];
  readonly scopes: ReadonlySet<string>;
  readonly expiresAtMs: number;
};

/** A chain of delegation longer than this has no owner who could explain it. */
const ACTORS_MAX = 4;

export function delegate(subject: Given, actor: Actor, actorToken: Given | null, bounds: Bounds): Delegated {
  if (!mayAct(subject.claims.may_act, actor, actorToken))
    throw new GrantRefused("invalid_request", "the subject token names others who may act (may_act)");
  const chain = subject.own ? subject.actors : [];
  // Our own plain token is an agent's: the agent itself asks for less, or another one acts for it.
  const isOwnToken = subject.own && chain.length === 0 && subject.sub === actor.id;
  const actors = isOwnToken ? [] : chain[0] === actor.id ? chain : [actor.id, ...chain];
  if (actors.length > ACTORS_MAX) throw new GrantRefused("invalid_request", `a chain of more than ${ACTORS_MAX} actors is not issued`);
  const endsMs = Math.min(subject.expiresAtMs, actorToken?.expiresAtMs ?? Number.POSITIVE_INFINITY, bounds.nowMs + bounds.ttlMs);
  // Whole seconds: rounding up would outlive what it was made from.
  const expiresAtMs = Math.floor(endsMs / 1000) * 1000;
  if (expiresAtMs <= bounds.nowMs) throw new GrantRefused("invalid_request", "what is left of the tokens is less than a second");
  return {
    sub: subject.subject !== null && subject.own ? subject.subject : subject.sub,
    subjectIssuer: subject.own ? textOrNull(subject.claims.subject_issuer) : subject.issuer,
    actors,
    scopes: scopesOf(subject, actorToken, bounds),
    expiresAtMs,
  };
}

/** `mcp` says only that a token is for this protocol: everybody's. */
function scopesOf(subject: Given, actorToken: Given | null, { entitled, wanted }: Bounds): ReadonlySet<string> {
  const isHeld = (scope: string) =>
    scope === "mcp" ||
    (entitled.has(scope) && subject.scopes.has(scope) && (actorToken?.statesScopes !== true || actorToken.scopes.has(scope)));
  for (const scope of wanted ?? []) {
    if (!isHeld(scope)) throw new GrantRefused("invalid_scope", "a scope is beyond what subject, actor and entitlements have in common");
  }
  return wanted ?? new Set(["mcp", ...[...entitled].filter(isHeld)]);
}

/** RFC 8693 section 4.4. Absent: whoever presents both tokens may act. What cannot be read allows nobody. */
function mayAct(claim: unknown, actor: Actor, actorToken: Given | null): boolean {
  if (claim === undefined) return true;
  if (typeof claim !== "object" || claim === null || Array.isArray(claim)) return false;
  const { sub, iss, ...rest } = claim as Record<string, unknown>;
  // Members that would narrow it further and that nobody here understands.
  if (typeof sub !== "string" || Object.keys(rest).length > 0) return false;
  if (iss === undefined) return sub === actor.id || sub === actor.name;
  return actorToken !== null && actorToken.issuer === iss && actorToken.sub === sub;
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** RFC 8693 section 4.1, nested as it says: the outermost is who acts now. */
export function actClaim(actors: readonly string[]): object | undefined {
  return actors.toReversed().reduce<object | undefined>((inner, sub) => (inner === undefined ? { sub } : { sub, act: inner }), undefined);
}
