/** Pure. What came back from the upstream, and the last piece of the answer, which waits for its settlement. */
import type { Refusal } from "../../refusal.ts";
import type { TaskHandle } from "./task-answer.ts";

export type OutcomeKind =
  | "result"
  | "input_required"
  | "task"
  | "tool_error"
  | "protocol_error"
  | "replayed"
  | "http_error"
  | "accepted"
  | "stream"
  | "cancelled"
  | "timeout"
  | "unknown"
  | "not_sent";

export type Outcome = {
  readonly kind: OutcomeKind;
  /** True once the first byte of the request may have reached the upstream: its fate then counts. */
  readonly sent: boolean;
  /** The upstream's HTTP status, null for stdio and where none came. */
  readonly status: number | null;
  /** Headers of the answer that are still to be sent when nothing has been (a JSON answer), lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** The piece that ends the answer, already filtered and framed (JSON body or SSE event); null where all is out. */
  readonly last: Buffer | null;
  /** `last` with the gateway's receipt (JSON without a line break) in its result; null where no result is in it. */
  readonly withReceipt: ((receipt: string) => Buffer) | null;
  /** Received bytes of `result` (or `error`) of the final message, for its HMAC and size; null where there is none. */
  readonly result: Buffer | null;
  /** Text to count (domain.md 6.2): text blocks, embedded resource text, structuredContent unless a text block repeats it. */
  readonly resultTexts: readonly string[];
  /** The tool's own result within it; null where the answer does not bring one. */
  readonly toolResult: Buffer | null;
  /** Bytes that arrived from the upstream's body. */
  readonly bytesIn: number;
  /** From handing the request over until all had come. */
  readonly upstreamMs: number;
  /** Why there is nothing (usable) to deliver: the answer is this refusal, by the one table. */
  readonly refusal: Refusal | null;
  readonly serverVersion: string | null;
  /** The server's own state of an `input_required`, which the client brings back; null elsewhere, or where it has none. */
  readonly requestState: string | null;
  /** What it brings of what a task came to, however it is wrapped: equal where that is the same. Null: nothing of a task. */
  readonly cameTo: Buffer | null;
  /** The task that a metered call is answered with; null elsewhere. */
  readonly task: TaskHandle | null;
};
