/** Pure. The tables of what gateways count together, in the words of `schema.ts`. */

/** Gateways that may hold in a shared ledger, and the last epoch of it that each has told its share to. */
export const SHARING_GATEWAY = ["CREATE TABLE sharing_gateway (id TEXT PRIMARY KEY, epoch {int} NOT NULL, since TEXT NOT NULL){end}"];
/** Parts of budgets that are set aside for single tokens; version 5 knew none. */
const SUB_BUDGET = [
  `CREATE TABLE sub_budget (
  id              TEXT PRIMARY KEY,
  jti             TEXT NOT NULL,
  agent_id        TEXT NOT NULL,
  parent_agent_id TEXT NOT NULL,
  gateway         TEXT NOT NULL,
  meter           TEXT NOT NULL,
  amount          {int} NOT NULL,
  lines           TEXT NOT NULL,
  taken_from      TEXT NOT NULL,
  depth           {int} NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('taking', 'open', 'closed', 'returned')),
  expires_ms      {int} NOT NULL
){end}`,
  "CREATE INDEX sub_budget_by_state ON sub_budget (state)",
];

/** Keys that callers gave their calls, where several gateways may be asked to make them. A gateway alone has them in its journal. */
const CALL_KEY = [
  `CREATE TABLE call_key (
  key             TEXT PRIMARY KEY,
  fingerprint     TEXT NOT NULL,
  gateway         TEXT NOT NULL,
  call_id         TEXT NOT NULL,
  run_id          TEXT NOT NULL,
  agent_id        TEXT NOT NULL,
  subject         TEXT,
  state           TEXT NOT NULL CHECK (state IN ('open', 'waiting', 'settled')),
  expires_ms      {int} NOT NULL,
  replay_until_ms {int},
  ended           TEXT,
  result          TEXT,
  CHECK ((state = 'settled') = (ended IS NOT NULL))
){end}`,
  "CREATE INDEX call_key_by_gateway ON call_key (gateway, key) WHERE state = 'open'",
  "CREATE INDEX call_key_by_expiry ON call_key (expires_ms)",
  "CREATE INDEX call_key_by_replay ON call_key (replay_until_ms) WHERE result IS NOT NULL",
  "CREATE INDEX call_key_by_agent ON call_key (agent_id)",
  "CREATE INDEX call_key_by_subject ON call_key (subject) WHERE subject IS NOT NULL",
];

/** Made at run time. `definition` is what a policy file would say, as JSON; `customer` whose keys may change it, null: of no customer. */
const BUDGET = [
  `CREATE TABLE budget (
  name       TEXT PRIMARY KEY,
  customer   TEXT,
  definition TEXT NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
){end}`,
];
/**
 * What people were told of a window of a budget that several gateways count together, and which of them told it. percent 0: the first
 * refusal. told 0: nothing is to be said in this length of a rolling window, which the one before has gone on into.
 */
const BUDGET_TOLD = [
  `CREATE TABLE budget_told (
  budget       TEXT NOT NULL,
  scope        TEXT NOT NULL,
  window_start {int} NOT NULL,
  percent      {int} NOT NULL,
  gateway      TEXT NOT NULL,
  told         {int} NOT NULL CHECK (told IN (0, 1)),
  expires_ms   {int},
  PRIMARY KEY (budget, scope, window_start, percent)
){end}`,
  "CREATE INDEX budget_told_by_expiry ON budget_told (expires_ms)",
];

/** Version 5 knew none of them. */
export const BUDGETS = [...SUB_BUDGET, ...CALL_KEY, ...BUDGET, ...BUDGET_TOLD];
