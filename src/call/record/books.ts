/** The books that anyone may read: usage, records with their proofs, the root, events for a sink. */
import type { Balance } from "../budget/reservation.ts";
import { type ActPage, type ActRow, actReader } from "./acts.ts";
import type { AuditRecord } from "./audit-record.ts";
import { eventReader, type StoredEvent } from "./event-query.ts";
import { type CallPage, type CallQuestion, callsReader, lastUsesReader, type PermitUse, type UseQuestion } from "./history.ts";
import { type Item, outboxReader, type Stream } from "./outbox.ts";
import { type UsageAnswer, type UsageQuestion, usageBy } from "./queries.ts";
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
  /** `root` in hex. */
  root(): { size: number; root: string };
  /** Events beyond `after`, in order. */
  eventsAfter(after: number, limit: number): StoredEvent[];
  /** Of one stream, beyond `after`, in order: what a sink has not acknowledged. */
  outboxAfter(stream: Stream, after: number, limit: number): Item[];
  /** Of one stream, exactly those that are there. */
  outboxAt(stream: Stream, sequences: readonly number[]): Item[];
  sinkState(sink: string, streams?: readonly Stream[]): SinkState;
  /** Of what was set aside: those that are to be tried again by now. */
  sinkDue(sink: string, nowMs: number, limit: number): Aside[];
  sinkAsides(question: AsideQuestion): ListedAside[];
  /** Records of acts (never of calls) whose kind matches a pattern. */
  actsAfter(after: number, patterns: readonly string[], limit: number): ActPage;
  actsAt(sequences: readonly number[]): ActRow[];
  /** The last record that a webhook has been told of, or that was none for it. */
  actPosition(sink: string): number;
  webhookState(webhook: string): WebhookState;
  /** Sums of the usage events by the hour, and of those that a sink has acknowledged. */
  usageHours(sink: string, sinceMs: number, untilMs: number): UsageHour[];
  /** Numbers of the usage events of a span of time, beyond `after`. */
  usageWithin(sinceMs: number, untilMs: number, after: number, limit: number): number[];
  balances(): Balance[];
  /** By rule and agent: the last call that the rule let through, of those since then. */
  lastUses(question: UseQuestion): PermitUse[];
  /** Calls that policies have decided, equal ones as one: a page of the journal at a time. */
  calls(question: CallQuestion): CallPage;
};

/** Ids of the tokens; and, where tokens of a client secret are no longer known by their ids, the agent with every token of that issuer. */
export type Leaked = {
  readonly tokens: readonly string[];
  readonly agent: string | null;
  readonly issuer: string;
  /** The name of an admin key. */
  readonly administrator: string | null;
};

/** One customer's records: of calls of its agents, and of what was done to them. */
export type OnlyOf = { readonly customer: string; readonly agents: readonly string[] };

/** What may be asked over a thread's border, by name. */
export type Question = { [Name in keyof Books]: { readonly name: Name; readonly args: Parameters<Books[Name]> } }[keyof Books];

export function openBooks(store: Store): Books {
  const tree = treeReader(store);
  const events = eventReader(store);
  const outbox = outboxReader(store);
  const sinks = sinkReader(store);
  const hours = usageHoursReader(store);
  const acts = actReader(store);
  const list = (where: string) => ({
    newest: store
      .prepare(
        `SELECT body FROM (SELECT sequence, body FROM audit_record WHERE ${where} ORDER BY sequence DESC LIMIT @limit) ORDER BY sequence`,
      )
      .pluck(),
    beyond: store.prepare(`SELECT body FROM audit_record WHERE sequence > @after AND ${where} ORDER BY sequence LIMIT @limit`).pluck(),
  });
  const every = list("1");
  const theirs = list(
    `(body ->> '$.agent.customer' = @customer OR (body ->> '$.agent') IS NULL AND
      (body ->> '$.details.customer' = @customer OR
       (body ->> '$.details.customer') IS NULL AND body ->> '$.details.agent_id' IN (SELECT value FROM json_each(@agents))))
     AND coalesce(body ->> '$.details.was' ->> '$.customer', @customer) = @customer`,
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
  const bySequence = store.prepare("SELECT body FROM audit_record WHERE sequence = ?").pluck();
  const byCall = store.prepare("SELECT body FROM audit_record WHERE call_id = ? AND kind = 'call'").pluck();
  const balances = store.prepare(
    "SELECT budget, scope, window_start AS windowStartMs, window_end AS windowEndMs, committed, held, debt FROM balance ORDER BY budget, scope, window_start",
  );
  return {
    usage: (question) => usageBy(store, question),
    tail(limit, after, only = null) {
      const bounds = { limit: Math.min(limit, RECORDS_MAX), ...(after === null ? {} : { after }) };
      const of = only === null ? {} : { customer: only.customer, agents: JSON.stringify(only.agents) };
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
    root: () => ({ size: tree.size(), root: tree.root().toString("hex") }),
    eventsAfter: events.after,
    outboxAfter: outbox.after,
    outboxAt: outbox.at,
    sinkState: sinks.state,
    sinkDue: sinks.due,
    sinkAsides: sinks.list,
    actsAfter: acts.after,
    actsAt: acts.at,
    actPosition: acts.position,
    webhookState: acts.webhookState,
    usageHours: hours.hours,
    usageWithin: hours.within,
    balances: () => balances.all() as Balance[],
    lastUses: lastUsesReader(store),
    calls: callsReader(store),
  };
}

function parsed(bodies: readonly unknown[]): StoredRecord[] {
  return (bodies as string[]).map((body) => JSON.parse(body) as StoredRecord);
}
