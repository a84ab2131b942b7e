/** Which agents called which tools, hour by hour, in the order of the books; and up to where somebody has judged that. */
import type { AuditRecord } from "./audit-record.ts";
import type { Desk } from "./journal-tasks.ts";
import { recordRow } from "./rows.ts";
import type { Store } from "./store.ts";
import { HOUR_MS } from "./usage-hours.ts";

export type ActivityRow = {
  readonly agentId: string;
  readonly agent: string;
  readonly customer: string;
  readonly server: string;
  readonly tool: string;
  readonly region: string | null;
  /** Whole hours since the epoch, UTC. */
  readonly hour: number;
  readonly calls: number;
};

/** `reached`: the last usage event that was looked at. */
export type ActivityPage = { readonly rows: readonly ActivityRow[]; readonly reached: number };

/** Numbers of usage events. `judged` null: nobody ever has. `first`: the last one before the time asked for. */
export type ActivitySpan = { readonly judged: number | null; readonly first: number; readonly newest: number };

const JUDGED = "activity_judged";

export function activityReader(store: Store) {
  // Read once a set of attributes, and not once an event. Reported usage and corrections are nobody's calls, and have a type.
  const page = store.prepare(
    `SELECT a.data ->> '$.agent_id' AS agentId, a.data ->> '$.agent' AS agent, a.data ->> '$.customer' AS customer,
       a.data ->> '$.server' AS server, a.data ->> '$.tool' AS tool, a.data ->> '$.region' AS region, e.hour, e.calls
     FROM (SELECT attributes, at_ms / ${HOUR_MS} AS hour, sum(calls) AS calls, min(sequence) AS first FROM usage_event
           WHERE sequence > @after AND sequence <= @until GROUP BY 1, 2) AS e JOIN usage_attributes AS a ON a.id = e.attributes
     WHERE e.calls > 0 AND a.data ->> '$.target_kind' = 'tool' AND a.data ->> '$.type' IS NULL ORDER BY e.first`,
  );
  const until = store.prepare("SELECT max(sequence) FROM (SELECT sequence FROM usage_event WHERE sequence > ? ORDER BY sequence LIMIT ?)");
  const first = store.prepare("SELECT sequence FROM usage_event WHERE at_ms >= ? ORDER BY at_ms LIMIT 1").pluck();
  const newest = store.prepare("SELECT coalesce(max(sequence), 0) FROM usage_event").pluck();
  const judged = store.prepare("SELECT value FROM meta WHERE name = ?").pluck();
  return {
    page(after: number, limit: number): ActivityPage {
      const reached = (until.pluck().get(after, limit) as number | null) ?? after;
      return { rows: reached === after ? [] : (page.all({ after, until: reached }) as ActivityRow[]), reached };
    },
    span(sinceMs: number): ActivitySpan {
      const [value, from, last] = [judged.get(JUDGED), first.get(sinceMs), Number(newest.get())];
      return { judged: value === undefined ? null : Number(value), first: from === undefined ? last : Number(from) - 1, newest: last };
    },
  };
}

/** What was found among the usage events up to `reached`, and that it was looked for. */
export function judgeActivity({ store, writer, source }: Desk, reached: number, found: readonly AuditRecord[]): void {
  writer.transact((pen) => {
    for (const record of found) pen.append(recordRow(record, source));
    store
      .prepare("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
      .run(JUDGED, String(reached));
  });
}
