/** Who may call: registry, authenticator and authorization server, put together. */
import type { AgentProfile } from "./call/authenticate/agent.ts";
import { type Authenticator, createAuthenticator } from "./call/authenticate/authenticate.ts";
import type { PolicySet } from "./call/authorize/candidates.ts";
import { scopesFor } from "./call/authorize/visible.ts";
import type { createOutbound } from "./call/forward/outbound.ts";
import { metersOfCalls } from "./catalogue.ts";
import type { Config } from "./config.ts";
import { type Audit, openRegistry, type Registry } from "./control/agents/registry.ts";
import { type AuthorizationServer, createAuthorizationServer } from "./control/oauth/authorization-server.ts";
import type { Lend } from "./control/oauth/grants.ts";
import type { IssuedFacts } from "./control/oauth/issue.ts";
import type { SigningKey } from "./control/signing-key.ts";
import { type ControlStore, openControlStore } from "./control/store.ts";
import { issuersOf } from "./issuers.ts";
import type { Log } from "./observe.ts";
import { refuse } from "./refusal.ts";

export type Identity = Authenticator & {
  readonly store: ControlStore;
  readonly registry: Registry;
  /** Null: tokens come from the configured issuers alone. */
  readonly authorizationServer: AuthorizationServer | null;
};

export type IdentityOptions = {
  readonly config: Config;
  /** The one that counts now. */
  readonly policySet: () => PolicySet;
  readonly declared: Parameters<Registry["declare"]>[0];
  readonly signingKey: SigningKey;
  readonly outbound: ReturnType<typeof createOutbound>;
  readonly act: (...act: Parameters<Audit> | [kind: "token.issued", ...rest: Rest<Parameters<Audit>>]) => Promise<void>;
  /** Sets a part of a budget aside for a token. */
  readonly setAside: Lend["take"];
  readonly now: () => number;
  readonly log: Log;
  readonly fault: (thrown: unknown) => void;
};

type Rest<List extends readonly unknown[]> = List extends readonly [unknown, ...infer Others] ? Others : never;

export async function openIdentity(options: IdentityOptions): Promise<Identity> {
  const { config, policySet, signingKey, outbound, act, now, log, fault } = options;
  const { publicUrl } = config;
  const store = await openControlStore(config.data, config.shared.postgres?.reveal() ?? null);
  const registry = await openRegistry({ store, audit: act, now, issuer: publicUrl, staleAfterMs: config.shared.staleAfterMs });
  await registry.declare(options.declared);
  const authenticator = createAuthenticator({
    publicUrl,
    issuers: issuersOf(config, signingKey.publicKeys),
    directory: registry,
    fetch: outbound.fetch,
    register: async (issuer, name, attributes) => {
      const answer = await registry.sighted(issuer, name, attributes);
      return "fault" in answer ? refuse("agent_unknown", {}, answer.detail) : answer;
    },
    keysRefused: (issuer, why) => log.warn({ issuer, why: String(why) }, "the keys of an issuer were refused"),
  });
  const routes = ["", ...config.servers.keys(), ...config.views.keys()];
  const audiences = routes.map((name) => `${publicUrl}/mcp${name === "" ? "" : `/${name}`}`);
  const issued = ({ agentId, customer, tokenId, grant, audience, scope, by, actors, parent }: IssuedFacts) =>
    act("token.issued", by, { agent_id: agentId, customer, token_id: tokenId, grant, audience, scope, actors, parent_token_id: parent });
  const authorizationServer = config.authorizationServer.enabled
    ? createAuthorizationServer({
        ...{ publicUrl, accessTokenTtlMs: config.authorizationServer.accessTokenTtlMs },
        ...{ store, registry, signingKey, issued, now, fault },
        scopesFor: (profile: AgentProfile) => scopesFor(policySet(), profile, now()),
        verify: authenticator.verify,
        lend: { meters: metersOfCalls(config), take: options.setAside },
        audiences: () => audiences,
        fetchFromOutside: outbound.fetchFromOutside,
      })
    : null;
  return {
    store,
    registry,
    authorizationServer,
    verify: authenticator.verify,
    // What other gateways have stopped since is not known: nobody is let in on a guess.
    authenticate: (...asked) => (registry.isStale() ? refuse("store_unavailable") : authenticator.authenticate(...asked)),
  };
}
