import { describe, expect, test } from "vitest";
import type { AuditRecord, RecordKind } from "../../src/call/record/audit-record.ts";
import { blankRecord } from "../../src/call/record/compose.ts";
import { ocsfOf } from "../../src/call/record/ocsf.ts";
import { auditOf, LINES, newCallId } from "./entries.ts";

const stored = (record: AuditRecord) => ({ ...record, sequence: 7, source: "gw-1", usage_event: null });
const LEAF = "ab".repeat(32);
const timed = (kind: RecordKind, more: Partial<AuditRecord> = {}) =>
  stored({ ...blankRecord(kind), time_start: "2026-11-23T10:00:00.000Z", time_end: "2026-11-23T10:00:00.000Z", ...more });

/** What OCSF 1.9.0 requires of each class that is used. */
const REQUIRED: Readonly<Record<number, readonly string[]>> = {
  6003: ["activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time", "type_uid"],
  3004: ["activity_id", "category_uid", "class_uid", "entity", "metadata", "severity_id", "time", "type_uid"],
  6002: ["activity_id", "app", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"],
};

const EVENTS = [
  ["a settled call", stored(auditOf(newCallId(), LINES, "posted", 120)), 6003, 99, 1],
  [
    "a refusal before there was an agent",
    timed("call", { decision: "refuse", reason: "credential_invalid", outcome: "refused" }),
    6003,
    99,
    2,
  ],
  ["a tool error", stored({ ...auditOf(newCallId(), LINES, "posted", 120), outcome: "tool_error" }), 6003, 99, 2],
  ["a list", stored({ ...auditOf(newCallId(), [], null, 0), request: { ...blankCall(), method: "tools/list" } }), 6003, 2, 1],
  ["a suspension", timed("agent.suspended", { administrator: "ops", details: { agent_id: "agt_1", agent: "bot" } }), 3004, 12, 1],
  ["a purge", timed("records.purged", { administrator: "gateway", details: { records: 3 } }), 3004, 99, 1],
  ["a start", timed("gateway.started"), 6002, 3, 1],
] as const;

function blankCall() {
  return { http_method: "POST", method: "tools/call", era: "modern", revision: null, id: "1", user_agent: null, view: null };
}

describe.each(EVENTS)("%s", (_, record, classUid, activity, status) => {
  const event = ocsfOf(record, LEAF, "1.0.0") as Record<string, unknown>;

  test("is of its class and activity, with all that the class requires", () => {
    expect(event).toMatchObject({ class_uid: classUid, activity_id: activity, type_uid: classUid * 100 + activity, status_id: status });
    for (const name of REQUIRED[classUid] ?? []) expect(event[name], name).toBeDefined();
    expect(event.metadata).toMatchObject({ version: "1.9.0", product: { vendor_name: "Tollgate" }, sequence: 7, uid: "gw-1/7" });
  });

  test("carries its leaf, and the whole record beside what OCSF has names for", () => {
    expect(event.attestation_list).toEqual([{ chain_uid: "gw-1", fingerprint: { algorithm_id: 3, algorithm: "SHA-256", value: LEAF } }]);
    expect(event.unmapped).toEqual(record);
  });
});

test("a call names the agent, the service and the decision", () => {
  expect(ocsfOf(EVENTS[0][1], null, "1.0.0")).toMatchObject({
    ai_agent: { name: "support-bot", charter: "answers tickets" },
    actor: { app_name: "support-bot", authorizations: [{ decision: "permit" }] },
    api: { operation: expect.stringContaining("search_tickets"), request: { uid: expect.stringMatching(/^call_/) } },
    metadata: { tenant_uid: "acme" },
  });
});
