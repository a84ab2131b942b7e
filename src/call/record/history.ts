/** What calls were made of the permits: read from the journal from a moment on, without what is older. */
import type { AuditRecord } from "./audit-record.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";

/** Calls that differ in nothing that policies look at, as far as a record tells. */
export type CallGroup = {
  readonly agent: Omit<NonNullable<AuditRecord["agent"]>, "client_id">;
  /** Whether it acted on behalf of a user. */
  readonly has_subject: boolean;
  /** Whether its arguments may have held anything; what they were is not recorded. */
  readonly has_arguments: boolean;
  readonly method: string | null;
  readonly server: string;
  readonly target: AuditRecord["target"];
  readonly policy_version: string;
  readonly entitlement_result: string;
  readonly reason: string | null;
  readonly rule: AuditRecord["rule"];
  /** A person was asked. */
  readonly approval: boolean;
  /** What policies that were only tried would have said; without its note. */
  readonly shadow: Omit<NonNullable<AuditRecord["shadow"]>, "note"> | null;
  /** It went to the server. */
  readonly sent: boolean;
  /** Milliseconds since the epoch: the first of them began, and the last. */
  readonly first_ms: number;
  readonly last_ms: number;
  readonly calls: number;
};

export type CallQuestion = {
  /** Milliseconds since the epoch: from `sinceMs` on, and before `untilMs`; null: to the end. */
  readonly sinceMs: number;
  readonly untilMs: number | null;
  /** The first record of the page; null: the first of the time. */
  readonly from: number | null;
  /** An id or a name; null: every agent. */
  readonly agent: string | null;
  readonly customer: string | null;
  /** Calls on the two sides of one of these moments are not equal; null: only those of the same millisecond are. */
  readonly borders: readonly number[] | null;
};

export type CallPage = {
  readonly groups: readonly CallGroup[];
  /** Records that were read, and where the next page begins; null: this was the last. */
  readonly read: number;
  readonly next: number | null;
  /** Records in the journal. */
  readonly size: number;
};

/** `atMs`: when the agent last made a call that the rule let through. */
export type PermitUse = { readonly rule: string; readonly agent: string; readonly name: string; readonly atMs: number };

export type UseQuestion = {
  /** Names of the rules. */
  readonly rules: readonly string[];
  /** RFC 3339, UTC, as records have it. */
  readonly since: string;
};

/** Open to whoever may use anything on a server, or following from a call: to use them is to use no permit. */
export const UNCOUNTED_METHODS: readonly string[] = [
  ...["initialize", "server/discover", "ping", "logging/setLevel", "subscriptions/listen"],
  ...["tools/list", "prompts/list", "resources/list", "resources/templates/list", "tasks/list"],
  ...["tasks/get", "tasks/result", "tasks/update", "tasks/cancel"],
];

/** A record is written when its call ends; clocks that were set back may put a later one before an earlier one, by no more than this. */
export const CLOCK_BACK_MS = 3_600_000;

/** The sequence number before which every record ended earlier than `sinceMs`, found in as many steps as the journal's size has bits. */
export function sequenceReader(store: Store): (sinceMs: number) => number {
  const size = store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck();
  // A purged record has no time any more: the next one that has speaks for it.
  const endOf = store
    .prepare(`SELECT body ->> '$.time_end' FROM audit_record WHERE sequence >= ? AND body <> '${PURGED_BODY}' ORDER BY sequence LIMIT 1`)
    .pluck();
  return (sinceMs) => {
    let [from, to] = [0, Number(size.get())];
    while (from < to) {
      const middle = Math.floor((from + to) / 2);
      const isEarlier = Date.parse(String(endOf.get(middle))) < sinceMs - CLOCK_BACK_MS;
      if (isEarlier) from = middle + 1;
      else to = middle;
    }
    return from;
  };
}

/** A use is a call that was let through and sent. What was only looked up, listed or refused for want of budget is none. */
const IS_SENT = `(body ->> '$.settlement' IN ('posted', 'unknown') OR body ->> '$.settlement' IS NULL AND body ->> '$.upstream.bytes_out' > 0)`;
const IS_OF_A_PERMIT = `body ->> '$.entitlement_result' = 'permitted' AND body ->> '$.target' IS NOT NULL AND (
  body ->> '$.target.kind' <> 'method' OR
  body ->> '$.target.name' NOT IN (SELECT value FROM json_each('${JSON.stringify(UNCOUNTED_METHODS)}')) AND body ->> '$.target.name' NOT LIKE 'notifications/%')`;

export function lastUsesReader(store: Store): (question: UseQuestion) => PermitUse[] {
  const first = sequenceReader(store);
  const uses = store.prepare(
    `SELECT body ->> '$.rule.name' AS rule, body ->> '$.agent.id' AS agent, body ->> '$.agent.name' AS name, max(body ->> '$.time_start') AS at FROM audit_record
     WHERE sequence >= @first AND kind = 'call' AND body ->> '$.time_start' >= @since
       AND body ->> '$.rule.name' IN (SELECT value FROM json_each(@rules)) AND ${IS_OF_A_PERMIT} AND ${IS_SENT} GROUP BY 1, 2`,
  );
  return ({ rules, since }) => {
    const bounds = { first: first(Date.parse(since)), since, rules: JSON.stringify(rules) };
    const rows = uses.all(bounds) as { rule: string; agent: string; name: string; at: string }[];
    return rows.map(({ rule, agent, name, at }) => ({ rule, agent, name, atMs: Date.parse(at) }));
  };
}

/** Records read for one page: about 5 MB and 50 ms. */
export const PAGE_RECORDS = 2_000;

export function callsReader(store: Store): (question: CallQuestion) => CallPage {
  const first = sequenceReader(store);
  const size = store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck();
  const records = store
    .prepare("SELECT body FROM audit_record WHERE sequence >= ? AND sequence < ? AND kind = 'call' AND body <> ?")
    .pluck();
  return (question) => {
    const [from, end] = [question.from ?? first(question.sinceMs), Number(size.get())];
    const to = Math.min(from + PAGE_RECORDS, end);
    const groups = new Map<string, CallGroup>();
    for (const body of records.iterate(from, to, PURGED_BODY)) addTo(groups, JSON.parse(body as string) as AuditRecord, question);
    return { groups: [...groups.values()], read: Math.max(0, to - from), next: to < end ? to : null, size: end };
  };
}

function addTo(groups: Map<string, CallGroup>, record: AuditRecord, question: CallQuestion): void {
  const atMs = Date.parse(record.time_start);
  const { sinceMs, untilMs, agent, customer, borders } = question;
  if (atMs < sinceMs || (untilMs !== null && atMs >= untilMs) || record.agent === null) return;
  if (agent !== null && record.agent.id !== agent && record.agent.name !== agent) return;
  if (customer !== null && record.agent.customer !== customer) return;
  const group = groupOf(record, record.agent, atMs);
  if (group === null) return;
  const when = borders === null ? atMs : borders.filter((border) => border <= atMs).length;
  const key = JSON.stringify([when, { ...group, first_ms: 0, last_ms: 0 }]);
  const known = groups.get(key);
  const times = [atMs, known?.first_ms ?? atMs, known?.last_ms ?? atMs];
  groups.set(key, { ...group, first_ms: Math.min(...times), last_ms: Math.max(...times), calls: (known?.calls ?? 0) + 1 });
}

/** Null: policies have not decided it. */
function groupOf(record: AuditRecord, { client_id: _, ...agent }: NonNullable<AuditRecord["agent"]>, atMs: number): CallGroup | null {
  const { request, server, target, policy_version, entitlement_result, shadow } = record;
  if (request === null || server === null || policy_version === null || entitlement_result === null) return null;
  // What a view answers as a whole is of no one server.
  if (request.view === `/mcp/${server}`) return null;
  return {
    agent,
    has_subject: record.subject !== null,
    has_arguments: (request.method === "tools/call" || request.method === "prompts/get") && record.arguments?.bytes !== EMPTY_BYTES,
    method: request.method,
    server,
    target,
    policy_version,
    entitlement_result,
    reason: record.reason,
    rule: record.rule,
    approval: record.approval !== null,
    shadow: shadow === null ? null : { mode: shadow.mode, decision: shadow.decision, reason: shadow.reason, rule: shadow.rule },
    sent: record.settlement === null ? (record.upstream?.bytes_out ?? 0) > 0 : record.settlement !== "voided",
    first_ms: atMs,
    last_ms: atMs,
    calls: 1,
  };
}

/** Of `{}`, the only object of two bytes. */
const EMPTY_BYTES = 2;
