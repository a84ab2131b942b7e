/** Pure. The tables of the journal: what is written once and for ever, and what is only kept at hand. */

export const SCHEMA_VERSION = 1;

/** A record is about 2.2 kB: seven fill such a page to 98 %, while one left half of a page of 4 kB empty. */
export const PAGE_BYTES = 16_384;

const NEVER_CHANGED = ["audit_record", "merkle_node", "usage_attributes", "usage_event", "posted_line"] as const;

export const SCHEMA = `
-- A call between its permit and its settlement: what recovery needs, and nothing that the audit record will not repeat.
CREATE TABLE open_call (
  call_id TEXT PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  moves   TEXT NOT NULL,
  audit   TEXT NOT NULL,
  usage   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Leaves of the Merkle log. body is RFC 8785 JSON, leaf is SHA-256(0x00 || body). The columns repeat the body for look-ups.
CREATE TABLE audit_record (
  sequence INTEGER PRIMARY KEY,
  kind     TEXT NOT NULL,
  call_id  TEXT,
  leaf     BLOB NOT NULL CHECK (length(leaf) = 32),
  body     TEXT NOT NULL
) STRICT;
-- A call settles once: a second settlement of the same call cannot be written.
CREATE UNIQUE INDEX audit_record_of_call ON audit_record (call_id) WHERE kind = 'call';
CREATE INDEX audit_record_beside_call ON audit_record (call_id) WHERE kind <> 'call' AND call_id IS NOT NULL;

-- Roots of complete subtrees of 256^level leaves: a proof never reads more than 256 rows a level.
CREATE TABLE merkle_node (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash   BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

-- What usage events have in common (agent, tool, outcome ...), stored once. data is RFC 8785 JSON.
CREATE TABLE usage_attributes (id INTEGER PRIMARY KEY, data TEXT NOT NULL UNIQUE) STRICT;

-- One a metered call, bound to its record, whose call_id it bears. logical_call_id null: the same.
CREATE TABLE usage_event (
  sequence        INTEGER PRIMARY KEY,
  record          INTEGER NOT NULL UNIQUE REFERENCES audit_record (sequence),
  at_ms           INTEGER NOT NULL,
  attributes      INTEGER NOT NULL REFERENCES usage_attributes (id),
  logical_call_id TEXT,
  calls           INTEGER NOT NULL,
  tool_tokens     INTEGER NOT NULL,
  input_tokens    INTEGER NOT NULL,
  output_tokens   INTEGER NOT NULL,
  bytes_in        INTEGER NOT NULL,
  bytes_out       INTEGER NOT NULL,
  duration_ms     INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_event_by_time ON usage_event (at_ms);

-- Balances are kept at hand, changed in the same transactions; posted lines and open calls are the truth.
CREATE TABLE balance (
  id           INTEGER PRIMARY KEY,
  budget       TEXT NOT NULL,
  scope        TEXT NOT NULL,
  window_start INTEGER NOT NULL,
  window_end   INTEGER,
  committed    INTEGER NOT NULL DEFAULT 0 CHECK (committed BETWEEN 0 AND 9007199254740991),
  held         INTEGER NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND 9007199254740991),
  debt         INTEGER NOT NULL DEFAULT 0 CHECK (debt BETWEEN 0 AND 9007199254740991),
  UNIQUE (budget, scope, window_start)
) STRICT;

-- What each settlement committed on each balance.
CREATE TABLE posted_line (
  balance INTEGER NOT NULL REFERENCES balance (id),
  record  INTEGER NOT NULL REFERENCES audit_record (sequence),
  posted  INTEGER NOT NULL,
  debt    INTEGER NOT NULL,
  PRIMARY KEY (balance, record)
) STRICT, WITHOUT ROWID;

-- How far each sink has acknowledged, and the events that it refused for good.
CREATE TABLE sink_cursor (sink TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sink_refusal (
  sink     TEXT NOT NULL,
  sequence INTEGER NOT NULL REFERENCES usage_event (sequence),
  status   INTEGER NOT NULL,
  PRIMARY KEY (sink, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
${NEVER_CHANGED.map(
  (table) => `
CREATE TRIGGER ${table}_is_never_changed BEFORE UPDATE ON ${table} BEGIN SELECT RAISE(ABORT, 'rows of ${table} are never changed'); END;
CREATE TRIGGER ${table}_is_never_deleted BEFORE DELETE ON ${table} BEGIN SELECT RAISE(ABORT, 'rows of ${table} are never deleted'); END;`,
).join("")}
`;
