/** What must end with an agent's right to call: its open streams, the calls that wait, and the tokens that upstreams were shown for it. */
import type { Agent } from "./call/authenticate/agent.ts";
import type { Exchange } from "./call/exchange/exchange.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { AgentId } from "./ids.ts";
import type { OpenStreams } from "./open-streams.ts";
import { type Refusal, refuse } from "./refusal.ts";

/** An opaque key stands in a caller as its credential's id. */
const CREDENTIAL = /^cred_/;

/** Null: what its token said when the call came still holds. Asked anew where a call has waited meanwhile. */
export function refusalOfStopped(registry: Pick<Registry, "byId" | "isRevoked" | "credentialsOf">, agent: Agent): Refusal | null {
  const state = registry.byId(agent.profile.id)?.state;
  if (state === "suspended") return refuse("agent_suspended");
  if (state !== "active") return refuse("agent_revoked");
  return isEnded(registry, agent) ? refuse("credential_invalid", {}, "the credential ended while the call waited for its turn") : null;
}

function isEnded(registry: Pick<Registry, "isRevoked" | "credentialsOf">, { profile, issuer, tokenId }: Agent): boolean {
  if (tokenId === null) return false;
  if (CREDENTIAL.test(tokenId)) return !registry.credentialsOf(profile.id).some((credential) => credential.id === tokenId);
  return registry.isRevoked(issuer, tokenId);
}

export function followStops(registry: Registry, streams: OpenStreams, exchange: Pick<Exchange, "forget">): void {
  const isActive = (id: string) => registry.byId(id)?.state === "active";
  registry.onChange((kind, id) => {
    if (kind === "agent" && !isActive(id)) exchange.forget(id as AgentId);
    streams.end((agent) => !isActive(agent.profile.id) || isEnded(registry, agent));
  });
}
