/** Pure. What is billed: one event a metered call, never edited; a correction is a new event with a signed delta. */
import type { AuditRecord } from "./audit-record.ts";
import { TOKEN_COUNTER, TOKEN_DEFINITION_VERSION, TOKEN_ENCODING } from "./token-count.ts";

export type UsageEvent = {
  /** Deterministic: `<call_id>.settled`; a replay after a crash makes the same id. */
  readonly id: string;
  readonly type: "io.tollgate.call.settled.v1";
  /** RFC 3339, UTC. */
  readonly time: string;
  /** The customer's key; `default` where there is none. */
  readonly subject: string;
  readonly data: {
    readonly call_id: string;
    readonly logical_call_id: string;
    readonly agent_id: string;
    readonly agent: string;
    readonly instance: string | null;
    readonly team: string | null;
    readonly workflow: string | null;
    readonly server: string;
    /** `tool`, `prompt`, `resource`, `method`. */
    readonly target_kind: string;
    readonly tool: string;
    readonly definition: string | null;
    readonly outcome: string;
    /** True where the fate after sending is not known: the held amount, until reconciled. */
    readonly provisional: boolean;
    readonly quantity: {
      readonly calls: number;
      readonly tool_tokens: number;
      readonly input_tokens: number;
      readonly output_tokens: number;
      readonly bytes_in: number;
      readonly bytes_out: number;
      readonly duration_ms: number;
    };
    readonly token_source: "estimated" | "estimated:sampled" | "estimated:bytes" | "held";
    readonly token_encoding: string;
    readonly token_counter: string;
    readonly definition_version: string;
    readonly environment: "live" | "test";
    readonly region: string | null;
    readonly use: readonly ("chargeback" | "policy")[];
  };
};

/** What the call's record does not say. */
export type Billed = Pick<UsageEvent["data"], "target_kind" | "tool" | "outcome" | "provisional" | "token_source"> & {
  readonly time: string;
  readonly quantity: Omit<UsageEvent["data"]["quantity"], "duration_ms">;
};

/** The event of a call that was sent, from its record: live and in recovery alike. */
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
      environment: record.environment,
      region: record.region,
      use: USE,
    },
  };
}

const USE: UsageEvent["data"]["use"] = ["chargeback", "policy"];
