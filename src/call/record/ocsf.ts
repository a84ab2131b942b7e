/** Pure. An audit record as an OCSF 1.9.0 event: calls are API Activity (6003), acts Entity Management (3004), the gateway itself Application Lifecycle (6002). */
import type { RecordKind } from "./audit-record.ts";
import type { StoredRecord } from "./books.ts";

/** Of the schema of August 2026. */
const VERSION = "1.9.0";
const OTHER = 99;
const API_ACTIVITY = { category_uid: 6, category_name: "Application Activity", class_uid: 6003, class_name: "API Activity" };
const ENTITY = { category_uid: 3, category_name: "Identity & Access Management", class_uid: 3004, class_name: "Entity Management" };
const LIFECYCLE = { category_uid: 6, category_name: "Application Activity", class_uid: 6002, class_name: "Application Lifecycle" };

/** Reading, where the method says so; what a tool does to the world its name does not tell. */
const READS = /^(?:initialize$|ping$|server\/discover$|resources\/|prompts\/|tools\/list$|completion\/|tasks\/(?:get|list|result)$)/;

const FAILURES: ReadonlySet<string> = new Set(
  "refused fault tool_error protocol_error http_error cancelled timeout unknown not_sent".split(" "),
);

/** Of Entity Management: create, update, delete, enable, disable, suspend, resume. */
const ENTITY_ACTIVITIES: Readonly<Partial<Record<RecordKind, readonly [number, string]>>> = {
  "agent.created": [1, "Create"],
  "agent.declared": [1, "Create"],
  "agent.changed": [3, "Update"],
  "agent.suspended": [12, "Suspend"],
  "agent.reinstated": [13, "Resume"],
  "agent.revoked": [9, "Disable"],
  "agent.erased": [4, "Delete"],
  "credential.issued": [1, "Create"],
  "credential.retired": [3, "Update"],
  "credential.revoked": [4, "Delete"],
  "customer.created": [1, "Create"],
  "customer.changed": [3, "Update"],
  "customer.suspended": [12, "Suspend"],
  "customer.reinstated": [13, "Resume"],
  "customer.ended": [4, "Delete"],
  "token.issued": [1, "Create"],
  "token.revoked": [4, "Delete"],
  "access_request.created": [1, "Create"],
  "approval.created": [1, "Create"],
  "tool.pinned": [1, "Create"],
  "tool.changed": [3, "Update"],
  "tool.approved": [8, "Enable"],
  "admin_key.created": [1, "Create"],
  "admin_key.revoked": [4, "Delete"],
  "policy.loaded": [3, "Update"],
  "config.loaded": [3, "Update"],
};

/** `leaf`: hex SHA-256 of the record's leaf in the Merkle log; null where it is not at hand. */
export function ocsfOf(record: StoredRecord, leaf: string | null, productVersion: string): object {
  const isCall = record.kind === "call" || record.kind === "stream.closed";
  const own = isCall ? callEvent(record) : record.kind.startsWith("gateway.") ? lifecycleEvent(record) : actEvent(record);
  const refused = record.decision === "refuse" || FAILURES.has(record.outcome ?? "");
  return {
    ...own,
    type_uid: own.class_uid * 100 + own.activity_id,
    time: Date.parse(record.time_end),
    start_time: Date.parse(record.time_start),
    end_time: Date.parse(record.time_end),
    duration: record.duration_ms,
    severity_id: refused ? 2 : 1,
    severity: refused ? "Low" : "Informational",
    status_id: refused ? 2 : 1,
    status: refused ? "Failure" : "Success",
    ...(record.reason === null ? {} : { status_code: record.reason }),
    metadata: {
      version: VERSION,
      product: { name: "Tollgate", vendor_name: "Tollgate", version: productVersion },
      uid: `${record.source}/${record.sequence}`,
      sequence: record.sequence,
      log_name: record.source,
      original_time: record.time_start,
      profiles: ["ai_operation", "record_integrity"],
      ...(record.logical_call_id === null ? {} : { correlation_uid: record.logical_call_id }),
      ...(record.agent === null ? {} : { tenant_uid: record.agent.customer }),
    },
    ...(leaf === null
      ? {}
      : { attestation_list: [{ chain_uid: record.source, fingerprint: { algorithm_id: 3, algorithm: "SHA-256", value: leaf } }] }),
    unmapped: record,
  };
}

type Own = { readonly class_uid: number; readonly activity_id: number; readonly [name: string]: unknown };

function callEvent(record: StoredRecord): Own {
  const { agent, call_id, definition, outcome, reason, request, rule, server, server_version, target, token, upstream } = record;
  const method = request?.method ?? request?.http_method ?? "unknown";
  const [activity_id, activity_name] = READS.test(method) ? [2, "Read"] : [OTHER, method];
  return {
    ...API_ACTIVITY,
    activity_id,
    activity_name,
    actor: {
      app_name: agent?.name ?? "unauthenticated",
      ...(agent === null ? {} : { app_uid: agent.id }),
      ...(record.subject === null ? {} : { user: { uid: record.subject, type_id: 1 } }),
      ...(token === null ? {} : { session: { issuer: token.issuer, ...(token.id === null ? {} : { uid: token.id }) } }),
      authorizations: [
        {
          decision: record.decision ?? "unknown",
          ...(rule === null ? {} : { policy: { name: rule.name, version: record.policy_version } }),
        },
      ],
    },
    api: {
      operation: target === null ? method : `${method} ${target.name}`,
      service: { name: server ?? "tollgate", ...(server_version === null ? {} : { version: server_version }) },
      request: { uid: call_id ?? `${record.source}/${record.sequence}` },
      response: {
        ...(upstream?.status == null ? {} : { code: upstream.status }),
        ...(reason === null ? {} : { error: reason }),
        message: outcome ?? "unknown",
      },
      ...(request?.revision == null ? {} : { version: request.revision }),
    },
    ...(agent === null
      ? {}
      : {
          ai_agent: {
            uid: agent.id,
            name: agent.name,
            type_id: OTHER,
            type: agent.kind,
            charter: agent.purpose,
            ...(agent.instance === null ? {} : { instance_uid: agent.instance }),
          },
        }),
    src_endpoint: { name: agent?.name ?? "unauthenticated", ...(agent?.instance == null ? {} : { instance_uid: agent.instance }) },
    dst_endpoint: { svc_name: server ?? "tollgate" },
    ...(definition === null ? {} : { resources: [{ name: target?.name, type: target?.kind, uid: definition }] }),
  };
}

function actEvent({ administrator, details, kind }: StoredRecord): Own {
  const [activity_id, activity_name] = ENTITY_ACTIVITIES[kind] ?? [OTHER, kind];
  const [type = kind] = kind.split(".");
  const uid = details?.agent_id ?? details?.customer ?? details?.id ?? details?.server ?? kind;
  const name = details?.agent ?? details?.name ?? details?.tool;
  return {
    ...ENTITY,
    activity_id,
    activity_name,
    actor: { app_name: administrator ?? "gateway" },
    comment: kind,
    entity: { uid: String(uid), type, ...(name == null ? {} : { name: String(name) }) },
  };
}

function lifecycleEvent({ kind, source }: StoredRecord): Own {
  const [activity_id, activity_name] = kind === "gateway.started" ? [3, "Start"] : [OTHER, kind];
  return { ...LIFECYCLE, activity_id, activity_name, app: { name: "Tollgate", vendor_name: "Tollgate", uid: source } };
}
