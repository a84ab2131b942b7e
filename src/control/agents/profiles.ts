/** Pure. Rows of the registry as the nouns that the rest of the gateway knows. */
import type { Account, AgentProfile, OpaqueKey } from "../../call/authenticate/agent.ts";
import type { AgentRow, CredentialRow, CustomerRow } from "../tables.ts";

export type Customer = {
  readonly key: string;
  readonly state: CustomerRow["state"];
  /** What its agents may use at most: patterns, scopes, and how many of them there may be; null: no bound. */
  readonly tools: readonly string[] | null;
  readonly scopes: readonly string[] | null;
  readonly agentsMax: number | null;
  readonly owner: string | null;
  readonly createdAt: string;
  readonly createdBy: string;
};

export function customerOf(row: CustomerRow): Customer {
  return {
    key: row.key,
    state: row.state,
    tools: listOf(row.tools),
    scopes: listOf(row.scopes),
    agentsMax: row.agents_max,
    owner: row.owner,
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}

/** As a call sees it: an agent of a customer that is stopped is stopped as well. */
export function profileOf(row: AgentRow, customer: Customer | undefined): AgentProfile {
  const { id, name, kind, team, workflow, owner, purpose, risk_class, issuer } = row;
  const state = row.state === "active" && customer?.state !== "active" ? "suspended" : row.state;
  const account: Account = { tools: customer?.tools ?? null, scopes: customer?.scopes ?? null };
  return { id, name, kind, state, customer: row.customer, team, workflow, owner, purpose, riskClass: risk_class, issuer, account };
}

/** Null: no opaque key, or one that has ended for good. */
export function opaqueKeyOf(row: CredentialRow, profile: AgentProfile): OpaqueKey | null {
  if (row.kind !== "api_key" || row.revoked_ms !== null) return null;
  const servers = listOf(row.servers);
  return {
    id: row.id,
    profile,
    scopes: new Set(listOf(row.scopes) ?? []),
    servers: servers === null ? null : new Set(servers),
    expiresAtMs: row.expires_ms ?? Number.POSITIVE_INFINITY,
    environment: row.environment,
  };
}

export function listOf(json: string | null): readonly string[] | null {
  return json === null ? null : (JSON.parse(json) as string[]);
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
