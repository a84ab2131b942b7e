/** Pure. Whom verified claims name: the agent, the subject it acts for, the chain of actors, and what the issuer says of them. */
import { isRefusal, type Refusal } from "../../refusal.ts";
import { isCleanText, optionalText } from "./claims.ts";
import { isObject, type JsonObject } from "./compact.ts";
import { claimAt, firstClaim, type IssuerProfile, PROFILES } from "./profiles.ts";
import { invalid, type TrustedIssuer } from "./trusted-issuer.ts";

export type Identity = {
  /** Id or name of the agent in the directory; of our own tokens always the id; null where the issuer's claim is absent. */
  readonly agent: string | null;
  readonly sub: string;
  readonly subject: string | null;
  /** The subject with its issuer, where that is not our own. */
  readonly person: string | null;
  readonly actors: readonly string[];
  readonly instance: string | null;
  readonly workflow: string | null;
  readonly roles: readonly string[];
  readonly scopes: ReadonlySet<string>;
};

/** A chain of delegation longer than this has no owner who could explain it. */
const ACTORS_MAX = 4;
const ROLES_MAX = 100;
const SCOPES_MAX = 100;

export function readIdentity(claims: JsonObject, issuer: TrustedIssuer): Identity | Refusal {
  if (!isCleanText(claims.sub)) return invalid("sub is not a clean string");
  const profile = PROFILES[issuer.profile ?? "generic"];
  const actors = readActors(claims.act, issuer);
  if (actors === null) return invalid("act is not a chain of at most 4 actors");
  const named = issuer.kind === "own" ? nameOwn(claims, claims.sub, actors) : nameExternal(claims, claims.sub, issuer.agentClaim, profile);
  if (isRefusal(named)) return named;
  const instance = optionalText(claimAt(claims, profile.instance));
  const workflow = optionalText(claims.workflow);
  if (instance === undefined || workflow === undefined) return invalid("instance or workflow is not a clean string");
  const subjectIssuer = named.subject === null ? null : issuer.kind === "own" ? optionalText(claims.subject_issuer) : issuer.issuer;
  if (subjectIssuer === undefined) return invalid("subject_issuer is not a clean string");
  const person = subjectIssuer === null ? named.subject : JSON.stringify([subjectIssuer, named.subject]);
  const roles = readRoles(firstClaim(claims, profile.roles));
  if (roles === null) return invalid("roles is not a list of clean strings");
  const scopes = readScopes(claims, profile);
  if (isRefusal(scopes)) return scopes;
  return { agent: named.agent, sub: claims.sub, subject: named.subject, person, actors, instance, workflow, roles, scopes };
}

type Named = { readonly agent: string | null; readonly subject: string | null };

/** Our own tokens: the client is the agent. With `act` (RFC 8693 section 4.1) `sub` is whom it acts for, and the outermost actor is the agent. */
function nameOwn(claims: JsonObject, sub: string, actors: readonly string[]): Named | Refusal {
  const agent = actors[0] ?? sub;
  if (claims.client_id !== agent) return invalid("client_id is not the agent");
  return { agent, subject: actors.length > 0 ? sub : null };
}

function nameExternal(claims: JsonObject, sub: string, path: readonly string[] | null, profile: IssuerProfile): Named | Refusal {
  const value = path === null ? firstClaim(claims, profile.agent) : claimAt(claims, path);
  if (value !== undefined && !isCleanText(value)) return invalid("the claim that names the agent is not a clean string");
  return { agent: value ?? null, subject: value === sub || profile.isMachine(claims) ? null : sub };
}

/** Outermost first. In a token of ours an actor of another issuer would be a stranger who happens to share an id. */
function readActors(act: unknown, issuer: TrustedIssuer): readonly string[] | null {
  const actors: string[] = [];
  for (let rest = act; rest !== undefined; ) {
    if (!isObject(rest) || !isCleanText(rest.sub) || actors.length === ACTORS_MAX) return null;
    if (issuer.kind === "own" && rest.iss !== undefined && rest.iss !== issuer.issuer) return null;
    actors.push(rest.sub);
    rest = rest.act;
  }
  return actors;
}

function readRoles(roles: unknown): readonly string[] | null {
  if (roles === undefined) return [];
  return Array.isArray(roles) && roles.length <= ROLES_MAX && roles.every(isCleanText) ? roles : null;
}

/** RFC 6749 section 3.3: visible ASCII without quote and backslash, single spaces between. */
const SCOPE_LIST = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/;

/** `scp` is some issuers' other name for scopes: where it is not, it grants nothing, and beside `scope` it is a second answer to one question. */
function readScopes(claims: JsonObject, profile: IssuerProfile): ReadonlySet<string> | Refusal {
  if (claims.scope !== undefined && claims.scp !== undefined) return invalid("both scope and scp are present");
  const written = profile.scopes.map((name) => claims[name]).find((value) => value !== undefined);
  // Okta's is a list where others write a string.
  const scope =
    Array.isArray(written) && profile.scopes.includes("scp") && written.every((each) => typeof each === "string")
      ? written.join(" ")
      : written;
  if (scope === undefined || scope === "") return new Set();
  if (typeof scope !== "string" || !SCOPE_LIST.test(scope)) return invalid("scope is not a list of scopes");
  const scopes = scope.split(" ", SCOPES_MAX + 1);
  return scopes.length <= SCOPES_MAX ? new Set(scopes) : invalid("scope has too many scopes");
}
