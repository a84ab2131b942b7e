/** Pure. What a call is billed becomes its usage event: one way for a live call and for one that recovery settles. */
import type { AuditRecord } from "./audit-record.ts";
import { digestOfType, SETTLED } from "./event-types.ts";
import { TOKEN_COUNTER, TOKEN_DEFINITION_VERSION, TOKEN_ENCODING } from "./token-count.ts";
import type { UsageEvent } from "./usage-event.ts";

/** What the call's record does not say. */
export type Billed = Pick<UsageEvent["data"], "target_kind" | "tool" | "outcome" | "provisional" | "token_source"> & {
  readonly time: string;
  readonly quantity: Omit<UsageEvent["data"]["quantity"], "duration_ms">;
};

/** The event of a call that was sent; all else is in its record. */
export function usageEventOf(record: AuditRecord, billed: Billed): UsageEvent {
  const { time, quantity, target_kind, tool, outcome, provisional, token_source } = billed;
  const { agent, call_id, logical_call_id, server } = record;
  if (agent === null || call_id === null || logical_call_id === null || server === null)
    throw new Error("a usage event needs a call of an agent to a server");
  return {
    id: `${call_id}.settled`,
    type: "io.tollgate.call.settled.v1",
    time,
    subject: agent.customer,
    data: {
      call_id,
      logical_call_id,
      agent_id: agent.id,
      agent: agent.name,
      instance: agent.instance,
      team: agent.team,
      workflow: agent.workflow,
      server,
      target_kind,
      tool,
      definition: record.definition,
      outcome,
      provisional,
      quantity: { ...quantity, duration_ms: record.duration_ms },
      token_source,
      token_encoding: TOKEN_ENCODING,
      token_counter: TOKEN_COUNTER,
      definition_version: TOKEN_DEFINITION_VERSION,
      definition_digest: SETTLED_DIGEST,
      environment: record.environment,
      region: record.region,
      use: USE,
    },
  };
}

const SETTLED_DIGEST = digestOfType(SETTLED);

const USE: UsageEvent["data"]["use"] = ["chargeback", "policy"];
