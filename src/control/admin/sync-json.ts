/** Pure. Sinks and webhooks as the admin API and the command line show them. */
import type { SinkStatus } from "../../call/sync/sink.ts";
import type { WebhookStatus } from "../../call/sync/webhook.ts";

export type SinkJson = {
  readonly name: string;
  readonly type: string;
  readonly streams: readonly {
    readonly stream: string;
    /** The last one that was acknowledged. */
    readonly sequence: number;
    readonly newest: number;
    readonly pending: number;
    /** Age of the oldest that waits; 0 where none does. */
    readonly lag_seconds: number;
  }[];
  /** To be tried again; refused; of unknown fate; too old. */
  readonly retrying: number;
  readonly refused: number;
  readonly unknown: number;
  readonly expired: number;
  readonly failures: number;
  readonly last_success_at: string | null;
  readonly last_error: string | null;
  readonly last_error_at: string | null;
};

export function sinkJson(
  { name, streams, aside, failures, lastSuccessMs, lastError, lastErrorMs }: SinkStatus,
  type: string,
  nowMs: number,
): SinkJson {
  return {
    name,
    type,
    streams: streams.map(({ stream, sequence, newest, pending, oldestMs }) => ({
      ...{ stream, sequence, newest, pending },
      lag_seconds: lagSeconds(oldestMs, nowMs),
    })),
    retrying: aside.retry,
    refused: aside.refused,
    unknown: aside.unknown,
    expired: aside.expired,
    failures,
    last_success_at: iso(lastSuccessMs),
    last_error: lastError,
    last_error_at: iso(lastErrorMs),
  };
}

export function lagSeconds(oldestMs: number | null, nowMs: number): number {
  return oldestMs === null ? 0 : Math.max(0, Math.round((nowMs - oldestMs) / 1_000));
}

export type WebhookJson = {
  readonly name: string;
  readonly waiting: number;
  readonly expired: number;
  readonly failing_since: string | null;
  readonly disabled_at: string | null;
  readonly reason: string | null;
  readonly failures: number;
  readonly last_success_at: string | null;
  readonly last_error: string | null;
  readonly last_error_at: string | null;
};

export function webhookJson(status: WebhookStatus): WebhookJson {
  const { name, waiting, expired, failures, reason, lastError } = status;
  return {
    ...{ name, waiting, expired, reason, failures },
    failing_since: iso(status.failingSinceMs),
    disabled_at: iso(status.disabledAtMs),
    last_success_at: iso(status.lastSuccessMs),
    last_error: lastError,
    last_error_at: iso(status.lastErrorMs),
  };
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
