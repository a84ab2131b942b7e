/** Pure. What is billed: one event a metered call, never edited; a correction is a new event with a signed delta. */

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
      /** Micro-units of the currency of the price table; only where there is a price. */
      readonly cost_micros?: number;
      readonly tool_tokens: number;
      readonly input_tokens: number;
      readonly output_tokens: number;
      readonly bytes_in: number;
      readonly bytes_out: number;
      readonly duration_ms: number;
      /** What its result brought about, by name; only of a call that succeeded, and only where a rule found some. */
      readonly outcomes?: Readonly<Record<string, number>>;
      /** By meter of the configuration. */
      readonly outputs?: Readonly<Record<string, number>>;
    };
    readonly token_source: "estimated" | "estimated:sampled" | "estimated:bytes" | "reported" | "held";
    readonly token_encoding: string;
    readonly token_counter: string;
    readonly definition_version: string;
    /** `sha256:<hex>` over the definition of this type in the catalogue. */
    readonly definition_digest: string;
    readonly environment: "live" | "test";
    readonly region: string | null;
    readonly use: readonly ("chargeback" | "policy")[];
  };
};
