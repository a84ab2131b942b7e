/** Pure. Whose a record is: a key that is bound to a customer reads that customer's alone. */
import type { AuditRecord } from "./audit-record.ts";

/** Of a call: whose agent it was then. Of an act: the customer that it names, or else whose agent it is about. Of the gateway's own: nobody's. */
export function isRecordOf(
  { agent, details }: Pick<AuditRecord, "agent" | "details">,
  customer: string,
  customerOf: (agentId: string) => string | undefined,
): boolean {
  if (agent !== null) return agent.customer === customer;
  const { customer: named, agent_id, was } = details ?? {};
  // An agent that moved from one customer to another was the business of both: neither reads of the other.
  if (typeof was === "string" && was.startsWith("{") && JSON.parse(was).customer !== customer) return false;
  if (typeof named === "string") return named === customer;
  return typeof agent_id === "string" && customerOf(agent_id) === customer;
}
