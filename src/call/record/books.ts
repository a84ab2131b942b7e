/** The books that anyone may read: usage, records with their proofs, the root, events for a sink. */
import type { Balance } from "../budget/reservation.ts";
import { type ActivityPage, type ActivitySpan, activityReader } from "./activity.ts";
import { type ActPage, type ActRow, actReader } from "./acts.ts";
import type { AuditRecord } from "./audit-record.ts";
import { checkpointReader, type StoredCheckpoint } from "./checkpoint-query.ts";
import { consistencyPath } from "./consistency.ts";
import { eventSpans } from "./epoch-query.ts";
import { eventReader, type FoundEvent, type StoredEvent } from "./event-query.ts";
import { type CallPage, type CallQuestion, callsReader, lastUsesReader, type PermitUse, type UseQuestion } from "./history.ts";
import { keyReader } from "./key-query.ts";
import { overKeys } from "./key-writer.ts";
import { type Item, outboxReader, type Stream } from "./outbox.ts";
import { type Pace, paceReader } from "./pace.ts";
import { type ProofAnswer, proofReader } from "./proof-query.ts";
import { type UsageAnswer, type UsageQuestion, usageBy } from "./queries.ts";
import { type Fate, knownReports } from "./report-writer.ts";
import type { ReportedAs } from "./reported.ts";
import { type PurgePage, type PurgeQuestion, purgeableReader, type RetentionState, retentionIn } from "./retention.ts";
import type { KeyRun, KnownKey } from "./retry-key.ts";
import { PURGED_BODY } from "./schema.ts";
import type { WebhookState } from "./sink-ledger.ts";
import { type Aside, type AsideQuestion, type ListedAside, type SinkState, sinkReader } from "./sink-state.ts";
import type { Store } from "./store.ts";
import { type Proof, treeReader } from "./tree.ts";
import { type UsageHour, usageHoursReader } from "./usage-hours.ts";

/** `usage_event`: the digest of the usage event that was written with the record, or null. */
export type StoredRecord = AuditRecord & { readonly sequence: number; readonly source: string; readonly usage_event: string | null };

/** Records in one answer: about 25 MB. */
export const RECORDS_MAX = 10_000;

export type Books = {
  usage(question: UsageQuestion): UsageAnswer;
  /** The newest `limit` records, oldest first; with `after`, the first `limit` beyond that sequence. At most RECORDS_MAX. */
  tail(limit: number, after: number | null, only?: OnlyOf | null): StoredRecord[];
  /** What a leaked credential, token or admin key was used for, newest first; with `customer` only in that account. */
  usesOf(leaked: Leaked, since: string, limit: number, customer?: string | null): StoredRecord[];
  /** The record of a call, by its id, or any record by its sequence number; null where there is none. */
  record(callIdOrSequence: string): { record: StoredRecord; proof: Proof } | null;
  /** Where `record` finds nothing: whether there was one, whose words are gone. */
  isPurged(callIdOrSequence: string): boolean;
  /** A key that a caller gave a call; null: it is free. */
  retryKey(key: string, nowMs: number): KnownKey | null;
  /** Keys whose time is over; some hundreds. */
  overKeys(expiredMs: number): KeyRun[];
  /** `root` in hex. */
  root(): { size: number; root: string };
  /** The newest ones of fewer than `size` records, newest first; null: of any. */
  checkpoints(limit: number, size: number | null): StoredCheckpoint[];
  /** Up to which size the witness of that key has signed; 0: nothing yet. */
  witnessed(witness: string): number;
  /** RFC 6962 2.1.2, base64; null where the log has no such sizes. */
  consistency(from: number, to: number): string[] | null;
  /** A C2SP tlog-proof, or why there is none. */
  proof(callIdOrSequenceOrEvent: string): ProofAnswer;
  /** Of one stream, beyond `after`, in order: what a sink has not acknowledged. */
  outboxAfter(stream: Stream, after: number, limit: number): Item[];
  /** Of one stream, exactly those that are there. */
  outboxAt(stream: Stream, sequences: readonly number[]): Item[];
  sinkState(sink: string, streams?: readonly Stream[]): SinkState;
  /** Of what was set aside: those that are to be tried again by now. */
  sinkDue(sink: string, nowMs: number, limit: number): Aside[];
  sinkAsides(question: AsideQuestion): ListedAside[];
  /** Events beyond `after`, in order, of one customer or of all. */
  eventsAfter(after: number, limit: number, customer?: string | null): StoredEvent[];
  /** With what leads from it to its record; null where there is none. */
  event(id: string): FoundEvent | null;
  /** Of those, what is in the books already, in their order; null: nobody has used that pair, as far as `bound` may know. */
  knownReports(reports: readonly KnownReport[], bound: string | null): (Fate | null)[];
  /** Records of acts (never of calls) whose kind matches a pattern. */
  actsAfter(after: number, patterns: readonly string[], limit: number): ActPage;
  actsAt(sequences: readonly number[]): ActRow[];
  /** The last record that a webhook has been told of, or that was none for it. */
  actPosition(sink: string): number;
  webhookState(webhook: string): WebhookState;
  /** Calls beyond that usage event, summed by agent, tool and hour: of the first `limit`. */
  activity(after: number, limit: number): ActivityPage;
  activitySpan(sinceMs: number): ActivitySpan;
  /** Sums of the usage events by the hour, and of those that a sink has acknowledged. */
  usageHours(sink: string, sinceMs: number, untilMs: number): UsageHour[];
  /** Numbers of the usage events of a span of time, beyond `after`. */
  usageWithin(sinceMs: number, untilMs: number, after: number, limit: number): number[];
  eventSpans(): ReturnType<typeof eventSpans>;
  /** Those of these records whose bodies are gone. */
  purgedAmong(records: readonly number[]): number[];
  balances(): Balance[];
  /** The first window of a budget's shared counter; null: nothing was ever written on it. */
  balanceOf(budget: string): Balance | null;
  /** What each counter in use was drawn on since then. */
  pace(sinceMs: number): Pace[];
  /** By rule and agent: the last call that the rule let through, of those since then. */
  lastUses(question: UseQuestion): PermitUse[];
  /** Calls that policies have decided, equal ones as one: a page of the journal at a time. */
  calls(question: CallQuestion): CallPage;
  /** Records that may be purged: a page of the journal at a time. */
  purgeable(question: PurgeQuestion): PurgePage;
  retention(): RetentionState;
};

export type KnownReport = { readonly as: ReportedAs; readonly fingerprint: string };

/** Ids of the tokens; and, where tokens of a client secret are no longer known by their ids, the agent with every token of that issuer. */
export type Leaked = {
  readonly tokens: readonly string[];
  readonly agent: string | null;
  readonly issuer: string;
  /** The name of an admin key. */
  readonly administrator: string | null;
};

/** One customer's records: of calls of its agents (by their ids), and of what was done to them. Or one agent's; null: of every one. */
export type OnlyOf = {
  readonly customer: string | null;
  readonly agents: readonly string[];
  readonly agent: string | null;
  readonly kind: string | null;
};

/** What may be asked over a thread's border, by name. */
export type Question = { [Name in keyof Books]: { readonly name: Name; readonly args: Parameters<Books[Name]> } }[keyof Books];

export function openBooks(store: Store): Books {
  const tree = treeReader(store);
  const events = eventReader(store);
  const checkpoints = checkpointReader(store);
  const outbox = outboxReader(store);
  const sinks = sinkReader(store);
  const known = knownReports(store);
  const hours = usageHoursReader(store);
  const acts = actReader(store);
  const activity = activityReader(store);
  const list = (where: string) => ({
    newest: store
      .prepare(
        `SELECT body FROM (SELECT sequence, body FROM audit_record WHERE ${where} ORDER BY sequence DESC LIMIT @limit) ORDER BY sequence`,
      )
      .pluck(),
    beyond: store.prepare(`SELECT body FROM audit_record WHERE sequence > @after AND ${where} ORDER BY sequence LIMIT @limit`).pluck(),
  });
  const every = list(`body <> '${PURGED_BODY}'`);
  const theirs = list(
    `(@kind IS NULL OR kind GLOB @kind) AND (@agent IS NULL OR body ->> '$.agent.id' = @agent OR body ->> '$.details.agent_id' = @agent) AND (@customer IS NULL OR
     (body ->> '$.agent.customer' = @customer OR (body ->> '$.agent') IS NULL AND
      (body ->> '$.details.customer' = @customer OR
       (body ->> '$.details.customer') IS NULL AND body ->> '$.details.agent_id' IN (SELECT value FROM json_each(@agents))))
     AND coalesce(iif(json_valid(body ->> '$.details.was'), body ->> '$.details.was' ->> '$.customer', NULL), @customer) = @customer)`,
  );
  const uses = store
    .prepare(
      `SELECT body FROM audit_record WHERE body ->> '$.time_start' >= @since
         AND (@customer IS NULL OR coalesce(body ->> '$.agent.customer', body ->> '$.details.customer', @customer) = @customer) AND (
         body ->> '$.token.id' IN (SELECT value FROM json_each(@tokens)) OR body ->> '$.administrator' = @administrator OR
         body ->> '$.agent.id' = @agent AND body ->> '$.token.issuer' = @issuer AND body ->> '$.token.id' NOT LIKE 'cred\\_%' ESCAPE '\\')
       ORDER BY sequence DESC LIMIT @limit`,
    )
    .pluck();
  const bySequence = store.prepare(`SELECT body FROM audit_record WHERE sequence = ? AND body <> '${PURGED_BODY}'`).pluck();
  const byCall = store.prepare(`SELECT body FROM audit_record WHERE call_id = ? AND kind = 'call' AND body <> '${PURGED_BODY}'`).pluck();
  const purged = store
    .prepare(`SELECT sequence FROM audit_record WHERE sequence IN (SELECT value FROM json_each(?)) AND body = '${PURGED_BODY}'`)
    .pluck();
  const purgedRow = `SELECT 1 FROM audit_record WHERE body = '${PURGED_BODY}'`;
  const purgedSequence = store.prepare(`${purgedRow} AND sequence = ?`).pluck();
  const purgedCall = store.prepare(`${purgedRow} AND call_id = ? AND kind = 'call'`).pluck();
  const balanceColumns = "budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt";
  const balances = store.prepare(`SELECT ${balanceColumns} FROM balance ORDER BY budget, scope, window_start`);
  const oneBalance = store.prepare(`SELECT ${balanceColumns} FROM balance WHERE budget = ? AND scope = '' ORDER BY window_start LIMIT 1`);
  return {
    usage: (question) => usageBy(store, question),
    tail(limit, after, only = null) {
      const bounds = { limit: Math.min(limit, RECORDS_MAX), ...(after === null ? {} : { after }) };
      const of = only === null ? {} : { ...only, agents: JSON.stringify(only.agents) };
      const { newest, beyond } = only === null ? every : theirs;
      return parsed((after === null ? newest : beyond).all({ ...bounds, ...of }));
    },
    usesOf({ tokens, agent, issuer, administrator }, since, limit, customer = null) {
      const of = { tokens: JSON.stringify(tokens), agent, issuer, administrator, customer };
      return parsed(uses.all({ ...of, since, limit: Math.min(limit, RECORDS_MAX) }));
    },
    record(wanted) {
      const body = (/^\d{1,15}$/.test(wanted) ? bySequence.get(Number(wanted)) : byCall.get(wanted)) as string | undefined;
      if (body === undefined) return null;
      const record = JSON.parse(body) as StoredRecord;
      return { record, proof: tree.proof(record.sequence) };
    },
    isPurged: (wanted) => (/^\d{1,15}$/.test(wanted) ? purgedSequence.get(Number(wanted)) : purgedCall.get(wanted)) !== undefined,
    retryKey: keyReader(store),
    overKeys: overKeys(store),
    root: () => ({ size: tree.size(), root: tree.root().toString("hex") }),
    checkpoints: checkpoints.newest,
    witnessed: checkpoints.witnessed,
    consistency(from, to) {
      if (from < 0 || from > to || to > tree.size()) return null;
      return consistencyPath(from, to, tree.hashOf).map((hash) => hash.toString("base64"));
    },
    proof: proofReader(store, tree, checkpoints.covering),
    eventsAfter: events.after,
    outboxAfter: outbox.after,
    outboxAt: outbox.at,
    sinkState: sinks.state,
    sinkDue: sinks.due,
    sinkAsides: sinks.list,
    event: events.byId,
    knownReports: (reports, bound) => reports.map(({ as, fingerprint }) => known(as, fingerprint, bound)),
    actsAfter: acts.after,
    actsAt: acts.at,
    actPosition: acts.position,
    webhookState: acts.webhookState,
    activity: activity.page,
    activitySpan: activity.span,
    usageHours: hours.hours,
    usageWithin: hours.within,
    eventSpans: () => eventSpans(store),
    purgedAmong: (records) => purged.all(JSON.stringify(records)) as number[],
    balances: () => balances.all() as Balance[],
    balanceOf: (budget) => (oneBalance.get(budget) as Balance | undefined) ?? null,
    pace: paceReader(store),
    lastUses: lastUsesReader(store),
    calls: callsReader(store),
    purgeable: purgeableReader(store),
    retention: () => retentionIn(store),
  };
}

function parsed(bodies: readonly unknown[]): StoredRecord[] {
  return (bodies as string[]).map((body) => JSON.parse(body) as StoredRecord);
}
