/** Pure. The central ledger in PostgreSQL: what many gateways have written, each under its own numbers. */
import { QUANTITIES } from "./call-meters.ts";
import { PURGED_MEMBERS } from "./purged-names.ts";

/** What a sink needs; `tollgate sync schema` prints the whole of `CENTRAL_SCHEMA` for whoever may make tables. */
export const CENTRAL_TABLES = ["tollgate_event", "tollgate_record", "tollgate_checkpoint"] as const;

const TABLES = `
-- Usage events. (gateway, sequence) is what makes a second arrival no second event; sequences of a gateway begin at 1 and have no gap.
CREATE TABLE IF NOT EXISTS tollgate_event (
  gateway     text NOT NULL,
  sequence    bigint NOT NULL,
  id          text NOT NULL,
  type        text NOT NULL,
  time        timestamptz NOT NULL,
  subject     text NOT NULL,
  record      bigint NOT NULL,
  data        jsonb NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (gateway, sequence)
);
CREATE UNIQUE INDEX IF NOT EXISTS tollgate_event_by_id ON tollgate_event (gateway, id);
CREATE INDEX IF NOT EXISTS tollgate_event_by_time ON tollgate_event (time);
CREATE INDEX IF NOT EXISTS tollgate_event_by_subject ON tollgate_event (subject, time);

-- Audit records, byte for byte; leaf = SHA-256(0x00 || body). Sequences begin at 0 and have no gap.
CREATE TABLE IF NOT EXISTS tollgate_record (
  gateway     text NOT NULL,
  sequence    bigint NOT NULL,
  kind        text NOT NULL,
  call_id     text,
  leaf        bytea NOT NULL CHECK (length(leaf) = 32),
  body        text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (gateway, sequence)
);
CREATE INDEX IF NOT EXISTS tollgate_record_by_call ON tollgate_record (call_id) WHERE call_id IS NOT NULL;

-- Signed heads of each gateway's log, as C2SP notes.
CREATE TABLE IF NOT EXISTS tollgate_checkpoint (
  gateway     text NOT NULL,
  size        bigint NOT NULL,
  time        timestamptz NOT NULL,
  root        bytea NOT NULL CHECK (length(root) = 32),
  note        text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (gateway, size)
);
`;

/** Nothing is overwritten in a ledger: a correction is another row. */
const GUARDS = `
CREATE OR REPLACE FUNCTION tollgate_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are never changed: a correction is another row', TG_TABLE_NAME;
END $$;
${CENTRAL_TABLES.map(
  (table) => `CREATE OR REPLACE TRIGGER ${table}_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON ${table}
  FOR EACH STATEMENT EXECUTE FUNCTION tollgate_is_never_changed();`,
).join("\n")}
`;

const COLUMNS = QUANTITIES.map((name) => `sum(coalesce((data -> 'quantity' ->> '${name}')::bigint, 0)) AS ${name}`).join(",\n  ");
const PICKED = QUANTITIES.map((name) => `max(${name}) AS ${name}`).join(", ");
/** The body of a purged record, as journals send it. */
const PURGED_BODY = "{}";
const DAY = "(time AT TIME ZONE 'UTC')::date";

/** Table of (meter, amount), one row a meter, of a `quantity`: numbers by their names; those of a call's outcomes and outputs stand in objects within. */
export function amountsIn(of: string): string {
  const within = (name: string) => `jsonb_each(CASE jsonb_typeof(${of} -> '${name}') WHEN 'object' THEN ${of} -> '${name}' END)`;
  return `(SELECT key AS meter, (value #>> '{}')::bigint AS amount FROM jsonb_each(${of}) WHERE jsonb_typeof(value) = 'number'
    UNION ALL SELECT 'outcome:' || key, (value #>> '{}')::bigint FROM ${within("outcomes")}
    UNION ALL SELECT key, (value #>> '{}')::bigint FROM ${within("outputs")})`;
}

/** The whole of a group's events, and the sum of every meter in it. Both are grouped apart: an event has as many amounts as it counts meters. */
function grouped(keys: Readonly<Record<string, string>>, further: Readonly<Record<string, string>> = {}): string {
  const names = Object.keys(keys).join(", ");
  const groups = Object.keys(keys)
    .map((_, i) => i + 1)
    .join(", ");
  const told = { events: "count(*)", provisional: "count(*) FILTER (WHERE (data ->> 'provisional')::boolean)", ...further };
  const as = (columns: Readonly<Record<string, string>>) =>
    Object.entries(columns)
      .map(([name, value]) => `${value} AS ${name}`)
      .join(", ");
  const picked = Object.keys(told)
    .map((name) => `max(${name}) AS ${name}`)
    .join(", ");
  const empty = [...QUANTITIES, ...Object.keys(told)].map(() => "NULL").join(", ");
  return `SELECT ${names}, ${PICKED}, ${picked}, coalesce(jsonb_object_agg(meter, amount) FILTER (WHERE meter IS NOT NULL), '{}') AS amounts
FROM (
  SELECT ${as(keys)}, ${COLUMNS}, ${as(told)}, NULL::text AS meter, NULL::numeric AS amount FROM tollgate_event GROUP BY ${groups}
  UNION ALL
  SELECT ${as(keys)}, ${empty}, meter, sum(amount) FROM tollgate_amount GROUP BY ${groups}, meter HAVING sum(amount) <> 0
) AS part GROUP BY ${groups}`;
}

const customer = "subject";
const by = (name: string, keys: Readonly<Record<string, string>>) =>
  `CREATE OR REPLACE VIEW tollgate_usage_by_${name} AS ${grouped({ customer, ...keys })};`;

/** A view may be replaced by one with more columns at its end, and by no other. */
const VIEWS = `
-- One row for each meter that an event counts, also beyond a call's seven: outcome:NAME, outputs, what was reported, and corrections, which may be negative.
CREATE OR REPLACE VIEW tollgate_amount AS SELECT e.gateway, e.sequence, e.id, e.type, e.time, e.subject, e.record, e.data, m.meter, m.amount
FROM tollgate_event AS e CROSS JOIN LATERAL ${amountsIn("e.data -> 'quantity'")} AS m;

-- amounts: the sum of every meter by its name; the columns before repeat those of calls.
${by("customer", {})}
${by("team", { team: "data ->> 'team'" })}
${by("agent", { agent_id: "data ->> 'agent_id'", agent: "data ->> 'agent'" })}
${by("day", { day: DAY })}

-- One line a day for what a customer's agent did with a tool, or was reported for; event_ids name every event in it, in order.
CREATE OR REPLACE VIEW tollgate_invoice_line AS ${grouped(
  {
    ...{ customer, day: DAY, gateway: "gateway", agent: "data ->> 'agent'" },
    ...{ server: "data ->> 'server'", tool: "data ->> 'tool'", type: "type" },
  },
  { event_ids: "array_agg(id ORDER BY sequence)" },
)};

-- Numbers that have not arrived although later ones have: empty, or something is missing.
CREATE OR REPLACE VIEW tollgate_gap AS
SELECT gateway, 'event' AS what, previous + 1 AS first, sequence - 1 AS last
FROM (SELECT gateway, sequence, lag(sequence, 1, 0::bigint) OVER (PARTITION BY gateway ORDER BY sequence) AS previous FROM tollgate_event) AS e
WHERE sequence > previous + 1
UNION ALL
SELECT gateway, 'record', previous + 1, sequence - 1
FROM (SELECT gateway, sequence, lag(sequence, 1, -1::bigint) OVER (PARTITION BY gateway ORDER BY sequence) AS previous FROM tollgate_record) AS r
WHERE sequence > previous + 1;
`;

/** Can be run again. */
export const CENTRAL_SCHEMA = `${TABLES}${GUARDS}${VIEWS}`;

/** Rows of one statement, as `$2`; those that were written come back. */
export const INSERTS = {
  usage: `INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data)
    SELECT $1, sequence, id, type, time, subject, record, data
    FROM json_to_recordset($2::json) AS given (sequence bigint, id text, type text, time timestamptz, subject text, record bigint, data jsonb)
    ORDER BY sequence ON CONFLICT DO NOTHING`,
  records: `INSERT INTO tollgate_record (gateway, sequence, kind, call_id, leaf, body)
    SELECT $1, sequence, kind, call_id, decode(leaf, 'hex'), body
    FROM json_to_recordset($2::json) AS given (sequence bigint, kind text, call_id text, leaf text, body text)
    ORDER BY sequence ON CONFLICT DO NOTHING`,
  checkpoints: `INSERT INTO tollgate_checkpoint (gateway, size, time, root, note)
    SELECT $1, sequence, time, decode(root, 'hex'), note
    FROM json_to_recordset($2::json) AS given (sequence bigint, time timestamptz, root text, note text)
    ORDER BY sequence ON CONFLICT DO NOTHING`,
} as const;

/** Of events of which one side is from after a purge, and has no agent any more: what the purge has left. */
const NAMELESS = (side: "held" | "given") =>
  `CASE WHEN '' IN (held.data ->> 'agent_id', given.data ->> 'agent_id') THEN ${side}.data - ARRAY[${PURGED_MEMBERS.map((name) => `'${name}'`).join(", ")}]
        ELSE ${side}.data END`;

/** Of the same rows: the numbers under which the ledger does not hold exactly this. */
export const CONFLICTS = {
  usage: `SELECT given.sequence
    FROM json_to_recordset($2::json) AS given (sequence bigint, id text, type text, time timestamptz, subject text, record bigint, data jsonb)
    LEFT JOIN tollgate_event AS held ON held.gateway = $1 AND held.sequence = given.sequence
    WHERE (held.id, held.type, held.time, held.subject, held.record, held.data)
      IS DISTINCT FROM (given.id, given.type, given.time, given.subject, given.record, given.data)
    AND (held.id, held.type, held.time, held.subject, held.record, ${NAMELESS("held")})
      IS DISTINCT FROM (given.id, given.type, given.time, given.subject, given.record, ${NAMELESS("given")})`,
  records: `SELECT given.sequence
    FROM json_to_recordset($2::json) AS given (sequence bigint, kind text, call_id text, leaf text, body text)
    LEFT JOIN tollgate_record AS held ON held.gateway = $1 AND held.sequence = given.sequence
    WHERE (held.kind, held.call_id, held.leaf, held.body)
      IS DISTINCT FROM (given.kind, given.call_id, decode(given.leaf, 'hex'), given.body)
    AND ((held.kind, held.call_id, held.leaf) IS DISTINCT FROM (given.kind, given.call_id, decode(given.leaf, 'hex'))
      OR '${PURGED_BODY}' NOT IN (held.body, given.body))`,
  checkpoints: `SELECT given.sequence
    FROM json_to_recordset($2::json) AS given (sequence bigint, time timestamptz, root text, note text)
    LEFT JOIN tollgate_checkpoint AS held ON held.gateway = $1 AND held.size = given.sequence
    WHERE (held.root, held.note) IS DISTINCT FROM (decode(given.root, 'hex'), given.note)`,
} as const;
