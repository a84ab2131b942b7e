/** Pure. An agent as somebody vouches for it who was let in to do so: its profile, and what a token of its own would say. */
import { AccessToken, type Agent, type AgentProfile } from "../../call/authenticate/agent.ts";
import { scopesWithin } from "../../call/authenticate/scopes-within.ts";
import { type Refusal, refuse } from "../../refusal.ts";

export type Vouched = { readonly scopes: readonly string[]; readonly subject: string | null; readonly instance: string | null };

/** There is no token: nothing can be exchanged in its name. */
export function actingAs(profile: AgentProfile, { scopes, subject, instance }: Vouched, publicUrl: string): Agent | Refusal {
  if (profile.state === "suspended") return refuse("agent_suspended");
  if (profile.state === "revoked") return refuse("agent_revoked");
  return {
    profile,
    instance,
    subject,
    person: subject,
    actors: subject === null ? [] : [profile.id],
    roles: [],
    scopes: scopesWithin(new Set(["mcp", ...scopes]), profile.account.scopes),
    issuer: publicUrl,
    clientId: profile.id,
    tokenId: null,
    expiresAtMs: Number.POSITIVE_INFINITY,
    claims: {},
    environment: "live",
    principal: JSON.stringify(["vouched", profile.name, subject, instance]),
    accessToken: new AccessToken(""),
  };
}
