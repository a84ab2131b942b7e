/** Pure. One record of the evidence: every field is there from the first row, null where not yet filled. */

import type { ApprovalLine, InspectionLine, ShadowVerdict } from "../authorize/permit.ts";

/** Closed list of what is recorded: calls, and what is done besides. */
export const RECORD_KINDS = [
  "call",
  "stream.closed",
  "agent.created",
  "agent.declared",
  "agent.changed",
  "agent.suspended",
  "agent.reinstated",
  "agent.revoked",
  "agent.anomaly",
  "credential.issued",
  "credential.retired",
  "credential.revoked",
  "credential.overlap_used",
  "customer.created",
  "customer.changed",
  "customer.suspended",
  "customer.reinstated",
  "customer.ended",
  "token.issued",
  "token.revoked",
  "access_request.created",
  "access_request.decided",
  "approval.created",
  "approval.decided",
  "approval.expired",
  "limit.loop_detected",
  "tool.pinned",
  "tool.changed",
  "tool.approved",
  "records.purged",
  "hold.placed",
  "hold.lifted",
  "agent.erased",
  "subject.erased",
  "admin_key.created",
  "admin_key.revoked",
  "usage.reported",
  "usage.adjusted",
  "budget.threshold",
  "budget.exhausted",
  "budget.adjusted",
  "budget.delegated",
  "budget.returned",
  "budget.created",
  "budget.changed",
  "budget.ended",
  "shared_ledger.forced",
  "shared_ledger.forgotten",
  "shared_ledger.lapsed",
  "sync.decided",
  "sync.reconciled",
  "webhook.disabled",
  "webhook.enabled",
  "config.loaded",
  "policy.loaded",
  "gateway.started",
  "gateway.recovered",
  "log.restored",
] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

/** Of requests, which are by far the most: nobody is told of each. */
const UNTOLD: readonly string[] = ["call", "stream.closed"];
/** What webhooks may ask for. */
export const TOLD_KINDS: readonly string[] = RECORD_KINDS.filter((kind) => !UNTOLD.includes(kind));

/** `hmac-sha256:<hex>` under the key of the subject, or else of the customer; bytes is the size of what was hashed. */
export type Digest = { readonly hmac: string; readonly bytes: number };

export type BudgetLine = {
  readonly budget: string;
  readonly scope: string;
  readonly meter: string;
  /** RFC 3339, UTC; end null for period total. */
  readonly window_start: string;
  readonly window_end: string | null;
  readonly held: number;
  readonly posted: number;
  readonly debt: number;
};

/**
 * Wire names, snake_case, schema_version "1". The journal adds `sequence` (= index of the leaf), `source` (gateway id)
 * and `usage_event` (digest of what is billed, or null) and stores the JCS (RFC 8785) bytes; leaf = SHA-256(0x00 || bytes), RFC 6962.
 */
export type AuditRecord = {
  readonly schema_version: "1";
  readonly kind: RecordKind;
  readonly call_id: string | null;
  readonly logical_call_id: string | null;
  /** RFC 3339, UTC, milliseconds. */
  readonly time_start: string;
  readonly time_end: string;
  readonly duration_ms: number;
  readonly agent: {
    readonly id: string;
    readonly name: string;
    readonly kind: string;
    readonly instance: string | null;
    readonly client_id: string | null;
    readonly customer: string;
    readonly team: string | null;
    readonly workflow: string | null;
    readonly owner: string;
    readonly purpose: string;
    readonly risk_class: string;
  } | null;
  /** `hmac-sha256:<hex>` under the subject's own key. */
  readonly subject: string | null;
  readonly actor_chain: readonly string[];
  readonly token: { readonly issuer: string; readonly id: string | null } | null;
  /** Who administered, for records that are not calls: an admin key's name, `cli`, `config`, `gateway`. */
  readonly administrator: string | null;
  readonly request: {
    readonly http_method: string;
    readonly method: string | null;
    readonly era: string;
    readonly revision: string | null;
    readonly id: string | null;
    readonly user_agent: string | null;
    /** `/mcp` or `/mcp/{view}` where it came to several servers as one. */
    readonly view: string | null;
  } | null;
  readonly server: string | null;
  readonly server_version: string | null;
  readonly target: { readonly kind: string; readonly name: string } | null;
  /** `sha256:<hex>` over the JCS form of the tool's definition as the upstream lists it. */
  readonly definition: string | null;
  readonly arguments: Digest | null;
  readonly result: Digest | null;
  readonly decision: "permit" | "refuse" | null;
  readonly reason: string | null;
  readonly note: string | null;
  readonly rule: { readonly name: string; readonly file: string; readonly line: number } | null;
  readonly condition_faults: readonly string[];
  readonly policy_version: string | null;
  readonly config_version: string | null;
  readonly entitlement_result: string | null;
  readonly licence_result: string | null;
  readonly budget: readonly BudgetLine[];
  /** What policies that are only tried (`mode: observe`, `shadow: true`) would have decided; it had no effect. */
  readonly shadow: ShadowVerdict | null;
  readonly settlement: "posted" | "voided" | "unknown" | null;
  /** `cost_micros` only where there is a price. */
  readonly usage: { readonly calls: number; readonly tool_tokens: number; readonly cost_micros?: number } | null;
  readonly token_count: { readonly source: string; readonly encoding: string; readonly counter: string } | null;
  readonly prices_version: string | null;
  readonly outcome: string | null;
  readonly upstream: {
    readonly status: number | null;
    readonly credential: string;
    readonly bytes_in: number;
    readonly bytes_out: number;
    /** From the first byte sent to the last one received. */
    readonly duration_ms: number;
  } | null;
  readonly environment: "live" | "test";
  readonly region: string | null;
  /** Calls of the agent in the minute up to this one. */
  readonly rate: number | null;
  /** The person's yes that let it through, or the question that it waits for. */
  readonly approval: ApprovalLine | null;
  /** What external guards said of it. */
  readonly inspections: readonly InspectionLine[];
  readonly oversight: null;
  readonly incident: null;
  readonly posture: null;
  readonly remediation: null;
  readonly model: null;
  /** Kind-specific facts of records that are not calls; never a secret. */
  readonly details: Readonly<Record<string, string | number | boolean | null>> | null;
};
