/** Pure. Audit records as rows of a CSV file (RFC 4180) for people: what happened, to whom, and how it was decided. */
import type { StoredRecord } from "./books.ts";

type Cell = string | number | null | undefined;

const COLUMNS: Readonly<Record<string, (record: StoredRecord) => Cell>> = {
  sequence: (r) => r.sequence,
  gateway: (r) => r.source,
  time_start: (r) => r.time_start,
  time_end: (r) => r.time_end,
  kind: (r) => r.kind,
  call_id: (r) => r.call_id,
  logical_call_id: (r) => r.logical_call_id,
  customer: (r) => r.agent?.customer ?? text(r.details?.customer),
  team: (r) => r.agent?.team,
  workflow: (r) => r.agent?.workflow,
  agent_id: (r) => r.agent?.id ?? text(r.details?.agent_id),
  agent: (r) => r.agent?.name ?? text(r.details?.agent),
  instance: (r) => r.agent?.instance,
  subject: (r) => r.subject,
  administrator: (r) => r.administrator,
  method: (r) => r.request?.method,
  server: (r) => r.server,
  target_kind: (r) => r.target?.kind,
  target: (r) => r.target?.name,
  decision: (r) => r.decision,
  reason: (r) => r.reason,
  rule: (r) => r.rule?.name,
  policy_version: (r) => r.policy_version,
  outcome: (r) => r.outcome,
  settlement: (r) => r.settlement,
  calls: (r) => r.usage?.calls,
  tool_tokens: (r) => r.usage?.tool_tokens,
  duration_ms: (r) => r.duration_ms,
  usage_event: (r) => r.usage_event,
  details: (r) => (r.details === null ? null : JSON.stringify(r.details)),
};

export const CSV_HEAD = `${Object.keys(COLUMNS).join(",")}\r\n`;

export function csvLine(record: StoredRecord): string {
  return `${Object.values(COLUMNS)
    .map((of) => cell(of(record)))
    .join(",")}\r\n`;
}

/** A spreadsheet takes a cell that begins with one of these for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

function cell(value: Cell): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
