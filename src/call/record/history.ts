/** What calls were made of the permits: read from the journal from a moment on, without what is older. */
import type { Store } from "./store.ts";

/** `atMs`: when the agent last made a call that the rule let through. */
export type PermitUse = { readonly rule: string; readonly agent: string; readonly atMs: number };

export type UseQuestion = {
  /** Names of the rules. */
  readonly rules: readonly string[];
  /** RFC 3339, UTC, as records have it. */
  readonly since: string;
  /** Methods of the protocol that are open to whoever may use anything: to use them is to use no permit. */
  readonly free: readonly string[];
};

/** A record is written when its call ends; clocks that were set back may put a later one before an earlier one, by no more than this. */
const CLOCK_BACK_MS = 3_600_000;

/** The sequence number before which every record ended earlier than `sinceMs`, found in as many steps as the journal's size has bits. */
export function sequenceReader(store: Store): (sinceMs: number) => number {
  const size = store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck();
  const endOf = store.prepare("SELECT body ->> '$.time_end' FROM audit_record WHERE sequence = ?").pluck();
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
export const IS_SENT = `(body ->> '$.settlement' IN ('posted', 'unknown') OR body ->> '$.settlement' IS NULL AND body ->> '$.upstream.bytes_out' > 0)`;
const IS_OF_A_PERMIT = `body ->> '$.entitlement_result' = 'permitted' AND body ->> '$.target' IS NOT NULL AND (
  body ->> '$.target.kind' <> 'method' OR
  body ->> '$.target.name' NOT IN (SELECT value FROM json_each(@free)) AND body ->> '$.target.name' NOT LIKE 'notifications/%')`;

export function lastUsesReader(store: Store): (question: UseQuestion) => PermitUse[] {
  const first = sequenceReader(store);
  const uses = store.prepare(
    `SELECT body ->> '$.rule.name' AS rule, body ->> '$.agent.id' AS agent, max(body ->> '$.time_start') AS at FROM audit_record
     WHERE sequence >= @first AND kind = 'call' AND body ->> '$.time_start' >= @since
       AND body ->> '$.rule.name' IN (SELECT value FROM json_each(@rules)) AND ${IS_OF_A_PERMIT} AND ${IS_SENT} GROUP BY 1, 2`,
  );
  return ({ rules, since, free }) => {
    const bounds = { first: first(Date.parse(since)), since, rules: JSON.stringify(rules), free: JSON.stringify(free) };
    const rows = uses.all(bounds) as { rule: string; agent: string; at: string }[];
    return rows.map(({ rule, agent, at }) => ({ rule, agent, atMs: Date.parse(at) }));
  };
}
