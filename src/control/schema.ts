/** Pure. How the tables of the registry are made, and how each older version of them becomes this one. */
import { BUDGETS, SHARING_GATEWAY } from "./budget-schema.ts";

export const SCHEMA_VERSION = 6;

type Dialect = "sqlite" | "postgres";
/** 0: nothing is there, or what has to be made anew. */
export type OlderVersion = 0 | 2 | 3 | 4 | 5;

export const olderVersion = (found: number): OlderVersion => (found === 2 || found === 3 || found === 4 || found === 5 ? found : 0);

/** How an empty database (0) is made, or one of an older version brought to this one. `{int}`, `{bytes}`, `{serial}` and `{end}` differ between the two. */
export function schemaFor(dialect: Dialect, from: OlderVersion = 0): readonly string[] {
  const words: Record<string, string> =
    dialect === "sqlite"
      ? { int: "INTEGER", bytes: "BLOB", serial: "INTEGER PRIMARY KEY AUTOINCREMENT", end: " STRICT" }
      : { int: "BIGINT", bytes: "BYTEA", serial: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", end: "" };
  const statements = {
    0: SCHEMA,
    2: [...FROM_VERSION_2, ...FROM_VERSION_3, ...FROM_VERSION_4, ...FROM_VERSION_5],
    3: [...FROM_VERSION_3, ...FROM_VERSION_4, ...FROM_VERSION_5],
    4: [...FROM_VERSION_4, ...FROM_VERSION_5],
    5: FROM_VERSION_5,
  }[from];
  return statements.map((statement) => statement.replace(/\{(\w+)\}/g, (_, word: string) => words[word] ?? ""));
}

const ACCESS_REQUEST = [
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
];
/** A person's decision that a call waits for. `arguments` is what the person is shown: gone once it is decided, and never there where it was too long. */
const APPROVAL = [
  `CREATE TABLE approval (
  id             TEXT PRIMARY KEY,
  agent_id       TEXT NOT NULL REFERENCES agent (id),
  customer       TEXT NOT NULL,
  fingerprint    TEXT NOT NULL,
  call_id        TEXT NOT NULL,
  target         TEXT NOT NULL,
  arguments        TEXT,
  arguments_bytes  {int} NOT NULL,
  arguments_sha256 TEXT NOT NULL,
  rule           TEXT NOT NULL,
  approvers      TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired')),
  expires_ms     {int} NOT NULL,
  created_at     TEXT NOT NULL,
  decided_at     TEXT,
  decided_by     TEXT,
  decided_reason TEXT,
  used_by        TEXT
){end}`,
  "CREATE INDEX approval_by_fingerprint ON approval (fingerprint)",
  "CREATE INDEX approval_by_expiry ON approval (expires_ms)",
  "CREATE INDEX approval_by_agent ON approval (agent_id)",
];
/** The definitions of tools that count; `seen_*` is one that differs and waits for a yes. A tool that was never approved has a `seen_*` alone. */
const TOOL_PIN = [
  `CREATE TABLE tool_pin (
  server          TEXT NOT NULL,
  tool            TEXT NOT NULL,
  sha256          TEXT,
  definition      TEXT,
  pinned_at       TEXT,
  pinned_by       TEXT,
  seen_sha256     TEXT,
  seen_definition TEXT,
  seen_at         TEXT,
  PRIMARY KEY (server, tool),
  CHECK ((sha256 IS NULL) = (definition IS NULL)),
  CHECK ((seen_sha256 IS NULL) = (seen_definition IS NULL))
){end}`,
  "CREATE TABLE pinned_server (server TEXT PRIMARY KEY, version TEXT, pinned_at TEXT NOT NULL){end}",
];
const FORMER_NAME = "CREATE TABLE former_name (name TEXT PRIMARY KEY, agent_id TEXT NOT NULL REFERENCES agent (id)){end}";
const TOKEN_BY_PARENT_AGENT = "CREATE INDEX issued_token_by_parent_agent ON issued_token (parent_agent_id)";

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
  FORMER_NAME,
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
  parent_agent_id TEXT,
  actor_issuer  TEXT,
  actor_jti     TEXT,
  audience      TEXT NOT NULL,
  scope         TEXT NOT NULL,
  instance      TEXT,
  issued_ms     {int} NOT NULL,
  expires_ms    {int} NOT NULL
){end}`,
  "CREATE INDEX issued_token_by_parent ON issued_token (parent_issuer, parent_jti)",
  TOKEN_BY_PARENT_AGENT,
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
  ...ACCESS_REQUEST,
  ...APPROVAL,
  ...TOOL_PIN,
  ...SHARING_GATEWAY,
  ...BUDGETS,
  `CREATE TABLE change (
  seq   {serial},
  kind  TEXT NOT NULL,
  id    TEXT NOT NULL,
  at_ms {int} NOT NULL
){end}`,
];

/** Version 2 did not say whose an external parent was, which names were given up, nor (at first) that a request may be approved. */
const FROM_VERSION_2 = [
  "ALTER TABLE issued_token ADD COLUMN parent_agent_id TEXT",
  "ALTER TABLE issued_token ADD COLUMN actor_issuer TEXT",
  TOKEN_BY_PARENT_AGENT,
  FORMER_NAME,
  "ALTER TABLE access_request RENAME TO old_access_request",
  "DROP INDEX access_request_by_agent",
  ...ACCESS_REQUEST,
  "INSERT INTO access_request SELECT * FROM old_access_request",
  "DROP TABLE old_access_request",
];

/** Version 3 knew no approvals and no pins. */
const FROM_VERSION_3 = [...APPROVAL, ...TOOL_PIN];

/** Version 4 knew no shared ledger. */
const FROM_VERSION_4 = SHARING_GATEWAY;

/** Version 5 left the keys of calls to each gateway, and knew the budgets of policy files alone. */
const FROM_VERSION_5 = BUDGETS;

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
