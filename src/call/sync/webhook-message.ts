/** Pure. A record as a message of Standard Webhooks: its id, its body, and the signature over both. */
import { createHmac } from "node:crypto";
import type { AuditRecord } from "../record/audit-record.ts";

export type WebhookMessage = { readonly id: string; readonly body: string };

/** The id depends on the record alone, so that one that is sent again is known again. */
export function messageOf(recordText: string): WebhookMessage {
  const record = JSON.parse(recordText) as AuditRecord & { readonly sequence: number; readonly source: string };
  const { kind, time_end, sequence, source, administrator, agent, call_id, details } = record;
  const about = agent === null ? null : { id: agent.id, name: agent.name, customer: agent.customer, team: agent.team };
  const data = { gateway: source, sequence, administrator, agent: about, call_id, details };
  return { id: `evt_${source}_${sequence}`, body: JSON.stringify({ type: kind, timestamp: time_end, data }) };
}

/** `v1,` and the HMAC-SHA-256, in base64, of id, time in seconds and body, with dots between. */
export function signatureOf({ id, body }: WebhookMessage, atSeconds: number, key: Uint8Array): string {
  return `v1,${createHmac("sha256", key).update(`${id}.${atSeconds}.${body}`).digest("base64")}`;
}
