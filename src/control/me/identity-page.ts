/** Pure. What an agent is told of itself: who it is here, with which token, and what it may do. */
import type { Agent } from "../../call/authenticate/agent.ts";
import type { LimitRow } from "./paces.ts";
import type { PermittedServer } from "./permitted.ts";
import type { LentRow, Share } from "./shares.ts";

export type Limits = Readonly<Record<string, number>>;

export function identityPage(
  agent: Agent,
  servers: readonly PermittedServer[],
  budgets: readonly Share[],
  lent: readonly LentRow[],
  rateLimits: readonly LimitRow[],
  limits: Limits,
): object {
  const { profile, instance, subject, actors, roles, scopes } = agent;
  const { id, name, kind, customer, team, workflow, owner, purpose, state, account } = profile;
  return {
    identity: { id, name, kind, customer, team, workflow, owner, purpose, state, instance, subject, actors, roles },
    token: {
      id: agent.tokenId,
      issuer: agent.issuer,
      client_id: agent.clientId,
      scopes: [...scopes],
      expires_at: Number.isFinite(agent.expiresAtMs) ? new Date(agent.expiresAtMs).toISOString() : null,
    },
    environment: agent.environment,
    servers,
    // What the customer's account allows at most, whatever the patterns above permit; null: no bound.
    within: account,
    budgets,
    // Parts of them that it has handed on to other tokens, and that are not over.
    delegated: lent,
    rate_limits: rateLimits,
    limits,
  };
}
