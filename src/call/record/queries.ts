/** Read-only questions to the journal: usage, records with their proofs, the root, events for a sink. */
import type { AuditRecord } from "./audit-record.ts";
import type { Store } from "./store.ts";
import { type Proof, treeReader } from "./tree.ts";

export const USAGE_DIMENSIONS = ["agent", "tool", "server", "team", "workflow", "customer", "outcome", "day"] as const;
export type UsageDimension = (typeof USAGE_DIMENSIONS)[number];

/** Times are RFC 3339, UTC, half-open; null is open-ended. */
export type UsageQuestion = { readonly by: readonly UsageDimension[]; readonly since: string | null; readonly until: string | null };

export type UsageAnswer = {
  readonly rows: readonly Readonly<Record<string, string | number | null>>[];
  readonly since: string | null;
  readonly until: string | null;
};

export type StoredRecord = AuditRecord & { readonly sequence: number; readonly source: string };

export type StoredEvent = {
  readonly sequence: number;
  readonly call_id: string;
  readonly time: string;
  readonly subject: string;
  /** JSON of the event's `data`. */
  readonly data: string;
};

export type Books = {
  usage(question: UsageQuestion): UsageAnswer;
  /** The newest `limit` records, oldest first; with `after`, the first `limit` beyond that sequence. */
  tail(limit: number, after: number | null): StoredRecord[];
  record(callId: string): { record: StoredRecord; proof: Proof } | null;
  root(): { size: number; root: string };
  /** Events beyond `after`, in order: what a sink has not acknowledged. */
  eventsAfter(after: number, limit: number): StoredEvent[];
  cursor(sink: string): { sequence: number; rejected: number };
  pending(sink: string): number;
  balances(): StoredBalance[];
};

export type StoredBalance = {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  readonly windowEndMs: number | null;
  readonly committed: number;
  readonly held: number;
  readonly debt: number;
};

/** What may be asked over a thread's border, by name. */
export type Question = { [Name in keyof Books]: { readonly name: Name; readonly args: Parameters<Books[Name]> } }[keyof Books];

// A closed list: no text of a question ever becomes SQL.
const COLUMNS: Readonly<Record<UsageDimension, string>> = {
  agent: "data ->> '$.agent'",
  tool: "data ->> '$.tool'",
  server: "data ->> '$.server'",
  team: "data ->> '$.team'",
  workflow: "data ->> '$.workflow'",
  customer: "subject",
  outcome: "data ->> '$.outcome'",
  day: "substr(time, 1, 10)",
};

export function openBooks(store: Store): Books {
  const tree = treeReader(store);
  const newest = store
    .prepare("SELECT body FROM (SELECT sequence, body FROM audit_record ORDER BY sequence DESC LIMIT ?) ORDER BY sequence")
    .pluck();
  const beyond = store.prepare("SELECT body FROM audit_record WHERE sequence > ? ORDER BY sequence LIMIT ?").pluck();
  const byCall = store
    .prepare("SELECT body FROM audit_record WHERE call_id = ? ORDER BY kind = 'call' DESC, sequence DESC LIMIT 1")
    .pluck();
  const events = store.prepare(
    "SELECT sequence, call_id, time, subject, data FROM usage_event WHERE sequence > ? ORDER BY sequence LIMIT ?",
  );
  const cursorOf = store.prepare("SELECT sequence, rejected FROM sink_cursor WHERE sink = ?");
  const pendingOf = store
    .prepare("SELECT count(*) FROM usage_event WHERE sequence > coalesce((SELECT sequence FROM sink_cursor WHERE sink = ?), 0)")
    .pluck();
  const balances = store.prepare(
    "SELECT budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt FROM balance ORDER BY budget, scope, window_start",
  );
  return {
    usage: (question) => usage(store, question),
    tail: (limit, after) =>
      ((after === null ? newest.all(limit) : beyond.all(after, limit)) as string[]).map((body) => JSON.parse(body) as StoredRecord),
    record(callId) {
      const body = byCall.get(callId) as string | undefined;
      if (body === undefined) return null;
      const record = JSON.parse(body) as StoredRecord;
      return { record, proof: tree.proof(record.sequence) };
    },
    root: () => ({ size: tree.size(), root: tree.root().toString("hex") }),
    eventsAfter: (after, limit) => events.all(after, limit) as StoredEvent[],
    cursor: (sink) => (cursorOf.get(sink) as { sequence: number; rejected: number } | undefined) ?? { sequence: 0, rejected: 0 },
    pending: (sink) => Number(pendingOf.get(sink)),
    balances: () => balances.all() as StoredBalance[],
  };
}

function usage(store: Store, { by, since, until }: UsageQuestion): UsageAnswer {
  const names = by.filter((name) => name in COLUMNS);
  const columns = names.map((name) => `${COLUMNS[name]} AS "${name}"`);
  const sums = ["calls", "tool_tokens"].map((meter) => `coalesce(sum(data ->> '$.quantity.${meter}'), 0) AS ${meter}`);
  const order =
    names.length === 0 ? "" : `GROUP BY ${names.map((_, i) => i + 1).join(", ")} ORDER BY ${names.map((_, i) => i + 1).join(", ")}`;
  const statement = store.prepare(
    `SELECT ${[...columns, ...sums, "count(*) AS events", "coalesce(sum(data ->> '$.provisional'), 0) AS provisional"].join(", ")}
     FROM usage_event WHERE (@since IS NULL OR time >= @since) AND (@until IS NULL OR time < @until) ${order}`,
  );
  return { rows: statement.all({ since, until }) as UsageAnswer["rows"], since, until };
}
