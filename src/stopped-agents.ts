/** What must end with an agent's right to call: its open streams, and the tokens that upstreams were shown for it. */
import type { Exchange } from "./call/exchange/exchange.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { AgentId } from "./ids.ts";
import type { OpenStreams } from "./open-streams.ts";

/** An opaque key stands in a caller as its credential's id. */
const CREDENTIAL = /^cred_/;

export function followStops(registry: Registry, streams: OpenStreams, exchange: Pick<Exchange, "forget">): void {
  const isActive = (id: string) => registry.byId(id)?.state === "active";
  registry.onChange((kind, id) => {
    if (kind === "agent" && !isActive(id)) exchange.forget(id as AgentId);
    streams.end(({ profile, issuer, tokenId }) => {
      if (!isActive(profile.id)) return true;
      if (tokenId === null) return false;
      if (CREDENTIAL.test(tokenId)) return !registry.credentialsOf(profile.id).some((credential) => credential.id === tokenId);
      return registry.isRevoked(issuer, tokenId);
    });
  });
}
