/** Pure. The tables of the registry, alike on SQLite and PostgreSQL. */
import type { Generated } from "kysely";
import type { AgentKind, AgentState, RiskClass } from "../call/authenticate/agent.ts";
import type { AgentId, CallId } from "../ids.ts";

/** Times that are compared are milliseconds since the epoch (`_ms`); times that are shown are RFC 3339 in UTC (`_at`). */
export type Tables = {
  readonly customer: CustomerRow;
  readonly agent: AgentRow;
  readonly former_name: FormerNameRow;
  readonly credential: CredentialRow;
  readonly issued_token: IssuedTokenRow;
  readonly revoked_token: RevokedTokenRow;
  readonly oauth_item: OauthItemRow;
  readonly admin_key: AdminKeyRow;
  readonly idempotent_post: IdempotentPostRow;
  readonly access_request: AccessRequestRow;
  readonly approval: ApprovalRow;
  readonly tool_pin: ToolPinRow;
  readonly pinned_server: PinnedServerRow;
  readonly sharing_gateway: SharingGatewayRow;
  readonly sub_budget: SubBudgetRow;
  readonly call_key: CallKeyRow;
  readonly budget: BudgetTableRow;
  readonly budget_told: BudgetToldRow;
  readonly change: ChangeRow;
};

/** `taking`: it may be in the journal of its gateway or not. `returned`: what was left of it has gone back, and nothing is to be done. */
export type SubBudgetState = "taking" | "open" | "closed" | "returned";

/** A part of the budgets of one agent's calls, set aside for a token that was made from that agent's. */
export type SubBudgetRow = {
  readonly id: string;
  /** Of the token that it was made for: it ends with it. */
  readonly jti: string;
  readonly agent_id: string;
  readonly parent_agent_id: string;
  /** Whose journal has it, and which alone gives it back. */
  readonly gateway: string;
  readonly meter: string;
  readonly amount: number;
  /** JSON of the lines that it was taken by. */
  readonly lines: string;
  /** JSON list: counters that what it pays for does not count on again. */
  readonly taken_from: string;
  /** 1: of a budget; 2: of such a part; and so on. */
  readonly depth: number;
  readonly state: SubBudgetState;
  readonly expires_ms: number;
};

/** A gateway that may hold in the shared ledger. */
export type SharingGatewayRow = { readonly id: string; readonly epoch: number; readonly since: string };

/** A threshold, or that nothing is left (percent 0), of one window: told by one gateway (`told` 1), or known not to be new. */
export type BudgetToldRow = {
  readonly budget: string;
  readonly scope: string;
  readonly window_start: number;
  readonly percent: number;
  readonly gateway: string;
  readonly told: number;
  /** Null: its window has no end. */
  readonly expires_ms: number | null;
};

/** A budget made at run time: JSON of what a policy file would say of it. */
export type BudgetTableRow = {
  readonly name: string;
  readonly customer: string | null;
  readonly definition: string;
  readonly created_at: string;
  readonly created_by: string;
};

export type CustomerState = "active" | "suspended" | "ended";

export type CustomerRow = {
  readonly key: string;
  readonly state: CustomerState;
  /** JSON list of patterns, or null: its agents may use what policies permit. */
  readonly tools: string | null;
  /** JSON list, or null. */
  readonly scopes: string | null;
  readonly agents_max: number | null;
  readonly owner: string | null;
  readonly created_at: string;
  readonly created_by: string;
};

export type AgentRow = {
  readonly id: AgentId;
  readonly name: string;
  readonly kind: AgentKind;
  readonly state: AgentState;
  readonly state_cause: string | null;
  readonly customer: string;
  readonly team: string | null;
  readonly workflow: string | null;
  readonly owner: string;
  readonly purpose: string;
  readonly risk_class: RiskClass;
  /** 1: a policy file owns its attributes. */
  readonly declared: number;
  /** Of an agent that was registered at first sight: whose token named it, and how. */
  readonly issuer: string | null;
  readonly issuer_name: string | null;
  readonly created_at: string;
  readonly created_by: string;
};

/** A name that an agent has given up: policies, budgets and records may still mean that agent by it. */
export type FormerNameRow = { readonly name: string; readonly agent_id: string };

export type CredentialKind = "secret" | "jwks" | "jwks_uri" | "api_key";

export type CredentialRow = {
  readonly id: string;
  readonly agent_id: string;
  readonly kind: CredentialKind;
  /** SHA-256 of a secret of 256 random bits: there is nothing to guess, so nothing to slow down. */
  readonly hash: Buffer | null;
  readonly jwks: string | null;
  readonly jwks_uri: string | null;
  /** JSON lists; null: no bound of its own. */
  readonly scopes: string | null;
  readonly servers: string | null;
  readonly environment: "live" | "test";
  readonly expires_ms: number | null;
  /** Since when a newer one has taken its place: what uses it from then on is told. */
  readonly retired_ms: number | null;
  readonly revoked_ms: number | null;
  readonly created_at: string;
  readonly created_by: string;
};

/** A token of ours, by its `jti`, and what it was made from: what revokes one revokes what was made from it. */
export type IssuedTokenRow = {
  readonly jti: string;
  readonly agent_id: string;
  readonly credential_id: string | null;
  readonly parent_issuer: string | null;
  readonly parent_jti: string | null;
  /** Whose token the parent was, where that is an agent: of an external issuer's token there is no row of its own. */
  readonly parent_agent_id: string | null;
  /** Null: the actor's token is one of ours. */
  readonly actor_issuer: string | null;
  readonly actor_jti: string | null;
  readonly audience: string;
  readonly scope: string;
  readonly instance: string | null;
  readonly issued_ms: number;
  readonly expires_ms: number;
};

export type RevokedTokenRow = { readonly issuer: string; readonly jti: string; readonly expires_ms: number };

export type OauthItemRow = {
  readonly model: string;
  readonly id: string;
  readonly payload: string;
  readonly expires_ms: number | null;
  readonly consumed_ms: number | null;
};

export type Role = "viewer" | "auditor" | "operator" | "approver" | "admin";

export type AdminKeyRow = {
  readonly id: string;
  readonly name: string;
  readonly hash: Buffer;
  readonly role: Role;
  /** The only customer whose things it reaches; null: all. */
  readonly customer: string | null;
  readonly expires_ms: number | null;
  readonly revoked_ms: number | null;
  readonly created_at: string;
  readonly created_by: string;
};

/** What a POST with an Idempotency-Key made: its id, never its secret. */
export type IdempotentPostRow = {
  readonly principal: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly made: string;
  readonly expires_ms: number;
};

export type AccessRequestRow = {
  readonly id: string;
  readonly agent_id: string;
  readonly customer: string;
  /** JSON list of patterns. */
  readonly asked: string;
  readonly reason: string;
  readonly until_ms: number | null;
  readonly state: "pending" | "approved" | "denied";
  readonly created_at: string;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
  readonly decided_reason: string | null;
};

export type ApprovalRow = {
  readonly id: string;
  readonly agent_id: string;
  readonly customer: string;
  /** SHA-256 of who calls what with which arguments, and of the rule that asks whom, hex. */
  readonly fingerprint: string;
  /** Of the call that was refused until somebody decides. */
  readonly call_id: string;
  /** As policies write it. */
  readonly target: string;
  /** What the approver is shown; null once it is decided, or where it was too long. */
  readonly arguments: string | null;
  /** Of that text, also where it is not kept. */
  readonly arguments_bytes: number;
  readonly arguments_sha256: string;
  /** JSON of the rule that asks. */
  readonly rule: string;
  /** JSON list: `role:approver`, `key:NAME`. */
  readonly approvers: string;
  readonly state: "pending" | "approved" | "denied" | "expired";
  /** When a pending one becomes a no, and an approved one can no longer be used. */
  readonly expires_ms: number;
  readonly created_at: string;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
  readonly decided_reason: string | null;
  /** The call that it let through. */
  readonly used_by: string | null;
};

/** The definition of a tool that counts, and one that differs from it and waits for a yes. */
export type ToolPinRow = {
  readonly server: string;
  readonly tool: string;
  /** Hex SHA-256 of the JCS form, and that form; null: never approved. */
  readonly sha256: string | null;
  readonly definition: string | null;
  readonly pinned_at: string | null;
  readonly pinned_by: string | null;
  readonly seen_sha256: string | null;
  readonly seen_definition: string | null;
  readonly seen_at: string | null;
};

/** A server whose tools have been seen: what is new there from then on waits for a yes. */
export type PinnedServerRow = { readonly server: string; readonly version: string | null; readonly pinned_at: string };

/** A key that a caller gave a call. Key, fingerprint and subject are digests under the keys that the gateways share. */
export type CallKeyRow = {
  readonly key: string;
  readonly fingerprint: string;
  /** Where it runs, or ran last. */
  readonly gateway: string;
  /** The first request with this key, and the one that runs or ran last. */
  readonly call_id: CallId;
  readonly run_id: CallId;
  readonly agent_id: string;
  readonly subject: string | null;
  readonly state: "open" | "waiting" | "settled";
  readonly expires_ms: number;
  readonly replay_until_ms: number | null;
  /** JSON: what that gateway's journal says of how it ended; null until then. */
  readonly ended: string | null;
  /** Sealed; null: not kept. */
  readonly result: string | null;
};

/** What every gateway must look at again; written in the transaction that changed it. */
export type ChangeRow = { readonly seq: Generated<number>; readonly kind: ChangeKind; readonly id: string; readonly at_ms: number };
export type ChangeKind = "customer" | "agent" | "revoked_token" | "admin_key" | "approval" | "tool_pin" | "sub_budget" | "budget";
