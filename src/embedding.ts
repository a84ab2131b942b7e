/** What is asked of the gateway beside MCP: by agents about themselves, and by those who build on its decisions and meters. */
import type { Agent } from "./call/authenticate/agent.ts";
import { type PolicySet, policySetOf } from "./call/authorize/candidates.ts";
import type { Ledger } from "./call/budget/reservation.ts";
import type { Exchange } from "./call/exchange/exchange.ts";
import type { Scribe } from "./call/record/compose.ts";
import type { Journal } from "./call/record/journal.ts";
import type { Reader } from "./call/record/reader.ts";
import type { Story } from "./call/record/story.ts";
import type { Config } from "./config.ts";
import { accessRequestRoutes } from "./control/admin/access-request-routes.ts";
import { authorizeRoutes } from "./control/admin/authorize-routes.ts";
import { reservationRoutes } from "./control/admin/reservation-routes.ts";
import type { Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import { type AccessRequestsOptions, openAccessRequests } from "./control/me/access-requests.ts";
import { createMe, type Me, type MeParts } from "./control/me/me.ts";
import type { RehearseParts } from "./control/me/rehearse.ts";
import { FEATURES } from "./control/me/reservation-story.ts";
import { createReservations, type ReservationsParts } from "./control/me/reservations.ts";
import type { ControlStore } from "./control/store.ts";
import type { ServerName } from "./ids.ts";
import type { Limiting } from "./limiting.ts";
import { isRefusal } from "./refusal.ts";
import type { Reserve } from "./reserving.ts";
import type { Upstreams } from "./upstreams.ts";

export type Embedding = {
  readonly me: Me;
  /** Of the admin API. */
  readonly routes: readonly Route[];
  close(): void;
};

export type EmbeddingParts = {
  readonly config: Config;
  /** Asked at each use: the one that counts now. */
  readonly policies: { readonly policySet: PolicySet };
  readonly ledger: Ledger;
  readonly reserve: Reserve;
  readonly costOf: ReservationsParts["costOf"];
  /** All that amounts may stand on. */
  readonly meters: ReadonlySet<string>;
  readonly limiting: Pick<Limiting, "leftOf">;
  readonly exchange: Exchange["exchange"];
  readonly upstreams: Upstreams;
  readonly journal: Journal;
  readonly scribe: Scribe;
  readonly registry: Pick<Registry, "find" | "isStale">;
  readonly reader: Reader;
  readonly store: ControlStore;
  readonly audit: AccessRequestsOptions["audit"];
  readonly authenticate: MeParts["authenticate"];
  readonly lentBy: MeParts["lentBy"];
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
  readonly used: (story: Story) => void;
};

export function createEmbedding(parts: EmbeddingParts): Embedding {
  const { config, policies, ledger, exchange, upstreams, journal, reader, scribe, registry, store, authenticate, now, fault } = parts;
  const { publicUrl } = config;
  const accessRequests = openAccessRequests({ store, audit: parts.audit, now });
  const rehearsing: RehearseParts = {
    policies,
    ledger,
    reserve: parts.reserve,
    async define(agent: Agent, server: ServerName, toolName: string) {
      const shown = await exchange(agent, server);
      return isRefusal(shown) ? shown : upstreams.get(server).definition(toolName, agent, shown);
    },
    available: () => journal.available,
    now,
  };
  // Nothing is forwarded to features, so that only those who reserve for them know them as a server.
  const withFeatures = featuresBeside(policies);
  const reservations = createReservations({
    ...{ policies: withFeatures, ledger, journal, reader, scribe, fault, used: parts.used },
    costOf: parts.costOf,
  });
  const vouching = { find: registry.find, publicUrl, isStale: registry.isStale };
  const mayDefine = (server: string) => upstreams.credentials.get(server)?.kind !== "tokenExchange";
  return {
    me: createMe({ ...rehearsing, leftOf: parts.limiting.leftOf, lentBy: parts.lentBy, authenticate, reader, accessRequests, fault }),
    routes: [
      ...authorizeRoutes({ ...vouching, rehearsing: { ...rehearsing, policies: withFeatures }, mayDefine }),
      ...reservationRoutes({ ...vouching, reservations, meters: parts.meters }),
      ...accessRequestRoutes({ accessRequests }),
    ],
    close: () => reservations.close(),
  };
}

function featuresBeside(policies: EmbeddingParts["policies"]): EmbeddingParts["policies"] {
  const known = new WeakMap<PolicySet, PolicySet>();
  return {
    get policySet() {
      const { policySet } = policies;
      const before = known.get(policySet);
      if (before !== undefined) return before;
      const made = policySetOf({ ...policySet, servers: new Set([...policySet.servers, FEATURES]) }, policySet.mode, policySet.offered);
      known.set(policySet, made);
      return made;
    },
  };
}
