/** Pure. The tables of the registry, alike on SQLite and PostgreSQL, and how each version of them is made. */
import type { Generated } from "kysely";
import type { AgentKind, AgentState, RiskClass } from "../call/authenticate/agent.ts";
import type { AgentId } from "../ids.ts";

/** Times that are compared are milliseconds since the epoch (`_ms`); times that are shown are RFC 3339 in UTC (`_at`). */
export type Tables = {
  readonly customer: CustomerRow;
  readonly agent: AgentRow;
  readonly credential: CredentialRow;
  readonly issued_token: IssuedTokenRow;
  readonly revoked_token: RevokedTokenRow;
  readonly oauth_item: OauthItemRow;
  readonly admin_key: AdminKeyRow;
  readonly idempotent_post: IdempotentPostRow;
  readonly access_request: AccessRequestRow;
  readonly change: ChangeRow;
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

/** What every gateway must look at again; written in the transaction that changed it. */
export type ChangeRow = { readonly seq: Generated<number>; readonly kind: ChangeKind; readonly id: string; readonly at_ms: number };
export type ChangeKind = "customer" | "agent" | "revoked_token" | "admin_key";

export const SCHEMA_VERSION = 2;

type Dialect = "sqlite" | "postgres";

/** `{int}`, `{bytes}`, `{serial}` and `{end}` differ between the two. */
export function schemaFor(dialect: Dialect): readonly string[] {
  const words: Record<string, string> =
    dialect === "sqlite"
      ? { int: "INTEGER", bytes: "BLOB", serial: "INTEGER PRIMARY KEY AUTOINCREMENT", end: " STRICT" }
      : { int: "BIGINT", bytes: "BYTEA", serial: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", end: "" };
  return SCHEMA.map((statement) => statement.replace(/\{(\w+)\}/g, (_, word: string) => words[word] ?? ""));
}

const SCHEMA = [
  `CREATE TABLE customer (
  key        TEXT PRIMARY KEY,
  state      TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'ended')),
  tools      TEXT,
  scopes     TEXT,
  agents_max {int},
  owner      TEXT,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
){end}`,
  `CREATE TABLE agent (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  kind        TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
  state_cause TEXT,
  customer    TEXT NOT NULL REFERENCES customer (key),
  team        TEXT,
  workflow    TEXT,
  owner       TEXT NOT NULL CHECK (owner <> ''),
  purpose     TEXT NOT NULL CHECK (purpose <> ''),
  risk_class  TEXT NOT NULL,
  declared    {int} NOT NULL CHECK (declared IN (0, 1)),
  issuer      TEXT,
  issuer_name TEXT,
  created_at  TEXT NOT NULL,
  created_by  TEXT NOT NULL,
  UNIQUE (issuer, issuer_name)
){end}`,
  "CREATE INDEX agent_by_customer ON agent (customer)",
  `CREATE TABLE credential (
  id          TEXT PRIMARY KEY,
  agent_id    TEXT NOT NULL REFERENCES agent (id),
  kind        TEXT NOT NULL CHECK (kind IN ('secret', 'jwks', 'jwks_uri', 'api_key')),
  hash        {bytes} UNIQUE,
  jwks        TEXT,
  jwks_uri    TEXT,
  scopes      TEXT,
  servers     TEXT,
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  expires_ms  {int},
  retired_ms  {int},
  revoked_ms  {int},
  created_at  TEXT NOT NULL,
  created_by  TEXT NOT NULL,
  CHECK ((kind IN ('secret', 'api_key')) = (hash IS NOT NULL)),
  CHECK ((kind = 'jwks') = (jwks IS NOT NULL)),
  CHECK ((kind = 'jwks_uri') = (jwks_uri IS NOT NULL))
){end}`,
  "CREATE INDEX credential_by_agent ON credential (agent_id)",
  `CREATE TABLE issued_token (
  jti           TEXT PRIMARY KEY,
  agent_id      TEXT NOT NULL,
  credential_id TEXT,
  parent_issuer TEXT,
  parent_jti    TEXT,
  actor_jti     TEXT,
  audience      TEXT NOT NULL,
  scope         TEXT NOT NULL,
  instance      TEXT,
  issued_ms     {int} NOT NULL,
  expires_ms    {int} NOT NULL
){end}`,
  "CREATE INDEX issued_token_by_parent ON issued_token (parent_issuer, parent_jti)",
  "CREATE INDEX issued_token_by_actor ON issued_token (actor_jti)",
  "CREATE INDEX issued_token_by_agent ON issued_token (agent_id)",
  "CREATE INDEX issued_token_by_expiry ON issued_token (expires_ms)",
  `CREATE TABLE revoked_token (
  issuer     TEXT NOT NULL,
  jti        TEXT NOT NULL,
  expires_ms {int} NOT NULL,
  PRIMARY KEY (issuer, jti)
){end}`,
  `CREATE TABLE oauth_item (
  model       TEXT NOT NULL,
  id          TEXT NOT NULL,
  payload     TEXT NOT NULL,
  expires_ms  {int},
  consumed_ms {int},
  PRIMARY KEY (model, id)
){end}`,
  "CREATE INDEX oauth_item_by_expiry ON oauth_item (expires_ms)",
  `CREATE TABLE admin_key (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  hash       {bytes} NOT NULL UNIQUE,
  role       TEXT NOT NULL CHECK (role IN ('viewer', 'auditor', 'operator', 'approver', 'admin')),
  customer   TEXT,
  expires_ms {int},
  revoked_ms {int},
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
){end}`,
  `CREATE TABLE idempotent_post (
  principal   TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  made        TEXT NOT NULL,
  expires_ms  {int} NOT NULL,
  PRIMARY KEY (principal, key)
){end}`,
  `CREATE TABLE access_request (
  id             TEXT PRIMARY KEY,
  agent_id       TEXT NOT NULL REFERENCES agent (id),
  customer       TEXT NOT NULL,
  asked          TEXT NOT NULL,
  reason         TEXT NOT NULL,
  until_ms       {int},
  state          TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied')),
  created_at     TEXT NOT NULL,
  decided_at     TEXT,
  decided_by     TEXT,
  decided_reason TEXT
){end}`,
  "CREATE INDEX access_request_by_agent ON access_request (agent_id)",
  `CREATE TABLE change (
  seq   {serial},
  kind  TEXT NOT NULL,
  id    TEXT NOT NULL,
  at_ms {int} NOT NULL
){end}`,
];

/** SQLite only: version 1 knew no customers, one kind of admin key, and no end of a credential. Its tables stand under `old_` when this runs. */
export const FROM_VERSION_1 = [
  `INSERT INTO customer (key, state, created_at, created_by)
   SELECT customer, 'active', min(created_at), 'gateway' FROM old_agent GROUP BY customer`,
  `INSERT INTO agent (id, name, kind, state, customer, team, workflow, owner, purpose, risk_class, declared, created_at, created_by)
   SELECT id, name, kind, state, customer, team, workflow, owner, purpose, risk_class, declared, created_at, created_by FROM old_agent`,
  `INSERT INTO credential (id, agent_id, kind, hash, jwks, environment, created_at, created_by)
   SELECT id, agent_id, CASE WHEN jwks IS NULL THEN 'secret' ELSE 'jwks' END, secret_hash, jwks, 'live', created_at, 'gateway' FROM old_credential`,
  "INSERT INTO oauth_item SELECT model, id, payload, expires_at, consumed_at FROM old_oauth_item",
  "INSERT INTO admin_key (id, name, hash, role, created_at, created_by) SELECT id, name, hash, role, created_at, 'gateway' FROM old_admin_key",
];
export const TABLES_OF_VERSION_1 = ["agent", "credential", "oauth_item", "admin_key", "idempotent_post"];
