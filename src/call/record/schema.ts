/** Pure. The tables of the journal: what is written once and for ever, and what is only kept at hand. */

export const SCHEMA_VERSION = 2;

/** A record is about 2.2 kB: seven fill such a page to 98 %, while one left half of a page of 4 kB empty. */
export const PAGE_BYTES = 16_384;

const BASE = `
-- A call between its permit and its settlement: what recovery needs, and nothing that the audit record will not repeat.
CREATE TABLE open_call (
  call_id TEXT PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  moves   TEXT NOT NULL,
  audit   TEXT NOT NULL,
  usage   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Leaves of the Merkle log. body is RFC 8785 JSON, leaf is SHA-256(0x00 || body). The columns repeat the body for look-ups.
-- A purged record has the body {}; its leaf stays as it was, and a later record tells of the purge.
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

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

const usageEvent = (name: string) => `
-- What is billed, numbered from 1 without a gap; bound to the record that tells of it. logical_call_id null: the record's call_id.
-- position: among the events of its record; a settled call has one, a batch that was reported has many. A correction's amounts are negative.
CREATE TABLE ${name} (
  sequence        INTEGER PRIMARY KEY,
  record          INTEGER NOT NULL REFERENCES audit_record (sequence),
  position        INTEGER NOT NULL DEFAULT 0,
  at_ms           INTEGER NOT NULL,
  attributes      INTEGER NOT NULL REFERENCES usage_attributes (id),
  logical_call_id TEXT,
  calls           INTEGER NOT NULL,
  tool_tokens     INTEGER NOT NULL,
  input_tokens    INTEGER NOT NULL,
  output_tokens   INTEGER NOT NULL,
  bytes_in        INTEGER NOT NULL,
  bytes_out       INTEGER NOT NULL,
  duration_ms     INTEGER NOT NULL,
  UNIQUE (record, position)
) STRICT;
`;

/** Of both: an empty file, and one of version 1. */
const ADDED_IN_2 = `
CREATE INDEX usage_event_by_time ON usage_event (at_ms);

-- What an event counts beyond the columns: outputs, outcomes, what others reported (llm_tokens), by the name of its meter.
CREATE TABLE usage_amount (
  event  INTEGER NOT NULL REFERENCES usage_event (sequence),
  meter  TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (event, meter)
) STRICT, WITHOUT ROWID;

-- What only events have that somebody reported, and corrections. source and source_id are the reporter's own: the same pair is the same
-- event for ever. fingerprint is over what was sent, data is RFC 8785 JSON of what the event shares with no other.
CREATE TABLE reported_event (
  event       INTEGER PRIMARY KEY REFERENCES usage_event (sequence),
  id          TEXT NOT NULL UNIQUE,
  source      TEXT NOT NULL,
  source_id   TEXT NOT NULL,
  customer    TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  data        TEXT NOT NULL,
  -- The event that this one corrects.
  adjusts     INTEGER REFERENCES usage_event (sequence),
  UNIQUE (source, source_id, customer)
) STRICT;
CREATE INDEX reported_event_that_adjusts ON reported_event (adjusts) WHERE adjusts IS NOT NULL;

-- One row an event, with every dimension: for whoever reads the file with sqlite3. Further meters are in usage_amount.
CREATE VIEW usage AS SELECT
  e.sequence, coalesce(p.id, r.call_id || '.settled') AS id, coalesce(a.data ->> '$.type', 'io.tollgate.call.settled.v1') AS type,
  strftime('%Y-%m-%dT%H:%M:%fZ', e.at_ms / 1000.0, 'unixepoch') AS time, e.at_ms, e.record, r.call_id,
  coalesce(e.logical_call_id, r.call_id) AS logical_call_id, a.data ->> '$.customer' AS customer, a.data ->> '$.agent_id' AS agent_id,
  a.data ->> '$.agent' AS agent, a.data ->> '$.instance' AS instance, a.data ->> '$.team' AS team, a.data ->> '$.workflow' AS workflow,
  a.data ->> '$.server' AS server, a.data ->> '$.target_kind' AS target_kind, a.data ->> '$.tool' AS tool, a.data ->> '$.model' AS model,
  a.data ->> '$.outcome' AS outcome, a.data ->> '$.provisional' AS provisional, a.data ->> '$.environment' AS environment,
  a.data ->> '$.region' AS region, a.data ->> '$.token_source' AS token_source, a.data ->> '$.definition_version' AS definition_version,
  a.data -> '$.use' AS use, e.calls, e.tool_tokens, e.input_tokens, e.output_tokens, e.bytes_in, e.bytes_out, e.duration_ms,
  (SELECT json_group_object(meter, amount) FROM usage_amount WHERE event = e.sequence) AS amounts, p.source, p.source_id, p.adjusts
FROM usage_event AS e JOIN audit_record AS r ON r.sequence = e.record JOIN usage_attributes AS a ON a.id = e.attributes
  LEFT JOIN reported_event AS p ON p.event = e.sequence;

-- What people were told of a window of a budget, once each, whatever crosses it again. percent 0: the first call that it refused.
CREATE TABLE budget_notice (
  budget       TEXT NOT NULL,
  scope        TEXT NOT NULL,
  window_start INTEGER NOT NULL,
  percent      INTEGER NOT NULL,
  PRIMARY KEY (budget, scope, window_start, percent)
) STRICT, WITHOUT ROWID;

-- Signed tree heads: note is a C2SP checkpoint, key the verifier key of its signature.
CREATE TABLE checkpoint (
  size  INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  root  BLOB NOT NULL CHECK (length(root) = 32),
  key   TEXT NOT NULL,
  note  TEXT NOT NULL
) STRICT;

-- What witnesses have signed below them: a signature line each.
CREATE TABLE cosignature (
  size    INTEGER NOT NULL REFERENCES checkpoint (size),
  witness TEXT NOT NULL,
  line    TEXT NOT NULL,
  PRIMARY KEY (size, witness)
) STRICT, WITHOUT ROWID;
CREATE INDEX cosignature_by_witness ON cosignature (witness, size);

-- Where a backup was restored, the books went on under a new id: from which record and which usage event on each id stands. Empty: one id.
CREATE TABLE epoch (
  first_record INTEGER PRIMARY KEY,
  first_event  INTEGER NOT NULL,
  source       TEXT NOT NULL UNIQUE
) STRICT;

-- Keys that callers gave their calls, as digests: a key is taken in the transaction of its call's permit, and ends in that of its settlement.
-- call_id: the first request with it; run_id: the last one. open: permitted and not settled. waiting: its client has been asked something.
-- result: what it was answered with, sealed, where a policy has it replayed.
CREATE TABLE retry_key (
  key             TEXT PRIMARY KEY,
  fingerprint     TEXT NOT NULL,
  call_id         TEXT NOT NULL,
  run_id          TEXT NOT NULL,
  agent           TEXT NOT NULL,
  subject         TEXT,
  state           TEXT NOT NULL CHECK (state IN ('open', 'waiting', 'settled')),
  expires_ms      INTEGER NOT NULL,
  replay_until_ms INTEGER,
  result          TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX retry_key_by_state ON retry_key (state, expires_ms);
CREATE INDEX retry_key_by_agent ON retry_key (agent);
CREATE INDEX retry_key_by_subject ON retry_key (subject) WHERE subject IS NOT NULL;
CREATE INDEX retry_key_by_replay ON retry_key (replay_until_ms) WHERE result IS NOT NULL;
`;

/** What can only be asked of the journal itself while it decides what may go. */
const RETENTION = `
-- Legal holds: what they name is not purged. Null: of every customer, agent, time.
CREATE TABLE legal_hold (
  name      TEXT PRIMARY KEY,
  customer  TEXT,
  agent     TEXT,
  since_ms  INTEGER,
  until_ms  INTEGER,
  reason    TEXT NOT NULL,
  placed_ms INTEGER NOT NULL,
  placed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Agents whose records are to go: those below until_sequence, as soon as they have been kept for as long as they must be.
CREATE TABLE erasure (
  agent          TEXT PRIMARY KEY,
  until_sequence INTEGER NOT NULL,
  asked_ms       INTEGER NOT NULL,
  asked_by       TEXT NOT NULL,
  reason         TEXT NOT NULL,
  done_ms        INTEGER
) STRICT, WITHOUT ROWID;
`;

/** Where each sink stands, and what did not go the usual way. */
const SINKS = `
-- How far each sink has each stream (usage, records, checkpoints). What lies beyond is its outbox: nothing is copied.
CREATE TABLE sink_position (
  sink     TEXT NOT NULL,
  stream   TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  PRIMARY KEY (sink, stream)
) STRICT, WITHOUT ROWID;

-- A batch that a sink may have although it has not said so: since when. Written before its first byte leaves.
CREATE TABLE sink_attempt (
  sink   TEXT NOT NULL,
  stream TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  at_ms  INTEGER NOT NULL,
  PRIMARY KEY (sink, stream)
) STRICT, WITHOUT ROWID;

-- What did not go the usual way and holds nobody up: to be tried again, refused for good, of unknown fate, too old.
CREATE TABLE sink_aside (
  sink       TEXT NOT NULL,
  stream     TEXT NOT NULL,
  sequence   INTEGER NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('retry', 'refused', 'unknown', 'expired')),
  status     INTEGER,
  reason     TEXT NOT NULL,
  at_ms      INTEGER NOT NULL,
  tries      INTEGER NOT NULL,
  next_ms    INTEGER,
  attempt_ms INTEGER,
  PRIMARY KEY (sink, stream, sequence)
) STRICT, WITHOUT ROWID;

-- Whom a webhook's receiver has told to stop, or who has failed for too long: since when, and why.
CREATE TABLE webhook_state (
  webhook          TEXT PRIMARY KEY,
  failing_since_ms INTEGER,
  disabled_at_ms   INTEGER,
  reason           TEXT
) STRICT, WITHOUT ROWID;
`;

/** Sinks of version 1 had one stream, and were known by their URL. */
const SINKS_FROM_1 = `
INSERT INTO sink_position SELECT sink, 'usage', sequence FROM sink_cursor;
INSERT INTO sink_aside SELECT sink, 'usage', sequence, 'refused', status, 'the sink answered ' || status, 0, 1, NULL, NULL FROM sink_refusal;
DROP TABLE sink_cursor;
DROP TABLE sink_refusal;
`;

const GUARDED_IN_1 = ["audit_record", "merkle_node", "usage_attributes", "usage_event", "posted_line"] as const;

/** Events of version 1 were of calls alone, one a record. A table that others refer to is replaced by its name, with foreign keys off. */
const FROM_1 = `
${GUARDED_IN_1.map((table) => `DROP TRIGGER ${table}_is_never_changed;\nDROP TRIGGER ${table}_is_never_deleted;`).join("\n")}
${usageEvent("usage_event_2")}
INSERT INTO usage_event_2 SELECT sequence, record, 0, at_ms, attributes, logical_call_id, calls, tool_tokens, input_tokens, output_tokens,
  bytes_in, bytes_out, duration_ms FROM usage_event;
DROP TABLE usage_event;
ALTER TABLE usage_event_2 RENAME TO usage_event;
`;

/** What stands in place of a purged record's body: its leaf stays, so that every proof of every other record does. */
export const PURGED_BODY = "{}";

/** A guard against bugs of ours; whoever has the file can drop it, and the Merkle log tells. A purge says so in its own transaction. */
const PURGED = ["audit_record", "usage_event", "usage_attributes", "reported_event"];
const GUARDS = [...GUARDED_IN_1, "usage_amount", "reported_event", "checkpoint", "cosignature", "epoch"]
  .map((table) => {
    const unless = PURGED.includes(table) ? "WHEN NOT EXISTS (SELECT 1 FROM meta WHERE name = 'purging') " : "";
    return `
CREATE TRIGGER ${table}_is_never_changed BEFORE UPDATE ON ${table} ${unless}BEGIN SELECT RAISE(ABORT, 'rows of ${table} are never changed'); END;
CREATE TRIGGER ${table}_is_never_deleted BEFORE DELETE ON ${table} ${unless}BEGIN SELECT RAISE(ABORT, 'rows of ${table} are never deleted'); END;`;
  })
  .join("");

/** What makes an empty file (0), or one of an older version, one of this version. Within one transaction, with foreign keys off. */
export function schemaFrom(version: 0 | 1): string {
  const before = version === 0 ? BASE + usageEvent("usage_event") : FROM_1;
  return before + ADDED_IN_2 + RETENTION + SINKS + (version === 1 ? SINKS_FROM_1 : "") + GUARDS;
}
