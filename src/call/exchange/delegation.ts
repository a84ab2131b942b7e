/** For whom the gateway asks: the agent's own token where its issuer hears it, else the gateway's signed word about subject and actor. */
import type { Agent } from "../authenticate/agent.ts";
import { ExchangeFailure } from "./bounded-fetch.ts";
import type { Act, AssertionClaims, TokenExchange } from "./server-credential.ts";

/** RFC 8693 section 2.1. */
export type Delegation = { readonly subject: SubjectToken /** Names the agent beside a subject. */; readonly actor: SubjectToken | null };
export type SubjectToken = { readonly text: string; readonly type: "access_token" | "jwt" };

export type Assert = {
  readonly publicUrl: string;
  readonly now: () => number;
  readonly signAssertion: (claims: AssertionClaims) => Promise<string>;
  readonly uniqueId: () => string;
};

/** RFC 7523 section 3: used at once, once. */
const ASSERTION_SECONDS = 60;
/** A longer chain has no owner who could explain it. */
const ACTORS_MAX = 4;

/** Whether the authorization server is shown the inbound token: it issued it. */
export function isShown(credential: TokenExchange, agent: Agent, issuer: string): boolean {
  return credential.profile === "entra-obo" ? tenantOf(agent.issuer) === tenantOf(issuer) : agent.issuer === issuer;
}

/** The inbound token goes to the authorization server that issued it and to nobody else; any other hears the gateway's own word. */
export async function delegate(credential: TokenExchange, agent: Agent, issuer: string, by: Assert): Promise<Delegation> {
  const shown = isShown(credential, agent, issuer);
  if (credential.profile === "entra-obo" && !shown) throw new ExchangeFailure("the agent's token is not of the configured Entra tenant");
  const chain = chainOf(agent);
  if (chain.length > ACTORS_MAX) throw new ExchangeFailure(`the chain of actors is longer than ${ACTORS_MAX}`);
  const subject: SubjectToken = shown
    ? { text: agent.accessToken.reveal(), type: "access_token" }
    : await assertion({ sub: agent.subject ?? agent.profile.id, ...nested(agent.subject === null ? chain.slice(1) : chain) }, issuer, by);
  const namesActor = credential.profile === "rfc8693" && agent.subject !== null && (credential.actorToken ?? !shown);
  return { subject, actor: namesActor ? await assertion({ sub: agent.profile.id }, issuer, by) : null };
}

async function assertion(who: { readonly sub: string; readonly act?: Act }, aud: string, by: Assert): Promise<SubjectToken> {
  const iat = Math.floor(by.now() / 1000);
  const claims = { iss: by.publicUrl, aud, ...who, jti: by.uniqueId(), iat, exp: iat + ASSERTION_SECONDS };
  return { text: await by.signAssertion(claims), type: "jwt" };
}

/** The agent, then those who acted before it. Its own issuer's `act` may begin with the agent already, by id or by name. */
function chainOf({ profile, actors }: Agent): readonly string[] {
  const before = actors[0] === profile.id || actors[0] === profile.name ? actors.slice(1) : actors;
  return [profile.id, ...before];
}

function nested(chain: readonly string[]): { readonly act?: Act } {
  const [sub, ...before] = chain;
  return sub === undefined ? {} : { act: { sub, ...nested(before) } };
}

/** Entra has two issuers a tenant: of tokens of its version 1 and of version 2. */
const ENTRA = /^https:\/\/(?:login\.microsoftonline\.com\/([0-9a-f-]{36})\/v2\.0|sts\.windows\.net\/([0-9a-f-]{36})\/)$/;

function tenantOf(issuer: string): string {
  const match = ENTRA.exec(issuer);
  return match === null ? issuer : `tenant ${match[1] ?? match[2]}`;
}
