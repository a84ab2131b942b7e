/** Pure. The outcomes that every transport can have. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Ending } from "./deadline.ts";
import type { UpstreamMessage } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import { textsOf } from "./result-texts.ts";
import { messageEvent } from "./sse.ts";
import { finalIn, handleIn, inlineIn } from "./task-answer.ts";

const NOTHING: Outcome = {
  kind: "not_sent",
  sent: false,
  status: null,
  headers: {},
  last: null,
  withReceipt: null,
  result: null,
  resultTexts: [],
  toolResult: null,
  bytesIn: 0,
  upstreamMs: 0,
  refusal: null,
  serverVersion: null,
  requestState: null,
  cameTo: null,
  task: null,
};

export function notSent(refusal: Refusal): Outcome {
  return { ...NOTHING, refusal };
}

/** After sending: the call may have run. */
export function unknownFate(refusal: Refusal | null, bytesIn: number, status: number | null = null): Outcome {
  return { ...NOTHING, kind: "unknown", sent: true, status, bytesIn, refusal };
}

export function ended(ending: Ending, bytesIn: number): Outcome {
  if (ending === "timeout") return { ...NOTHING, kind: "timeout", sent: true, bytesIn, refusal: refuse("upstream_timeout") };
  // Nobody is there to be told; a stopped job's client is.
  return { ...NOTHING, kind: "cancelled", sent: true, bytesIn, refusal: ending === "stopped" ? refuse("overloaded", {}, "stopped") : null };
}

/** Its time was over while it waited for a connection: nothing ran. */
export function endedUnsent(ending: Ending): Outcome {
  return { ...ended(ending, 0), sent: false };
}

export function accepted(status: number): Outcome {
  return { ...NOTHING, kind: "accepted", sent: true, status };
}

/** An upstream's own HTTP error that the client may see; `body` only where it is JSON-RPC. */
export function httpError(status: number, headers: Outcome["headers"], body: Buffer | null): Outcome {
  return { ...NOTHING, kind: "http_error", sent: true, status, headers, last: body, bytesIn: body?.length ?? 0 };
}

/** The upstream refused the gateway's own credential: it ran nothing, and what it said stays here. */
export function credentialRefused(status: number): Outcome {
  return {
    ...NOTHING,
    kind: "http_error",
    sent: false,
    status,
    refusal: refuse("exchange_failed", {}, `the upstream answered ${status} to the gateway's credential`),
  };
}

export function streamClosed(bytesIn: number): Outcome {
  return { ...NOTHING, kind: "stream", sent: true, bytesIn };
}

/** The gateway ends a subscription as its server would in peace: with a result, so that the client does not take it for a broken one. */
export function subscriptionEnded(idText: string, bytesIn: number): Outcome {
  const result = `{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":${idText}}}`;
  return { ...streamClosed(bytesIn), last: messageEvent(Buffer.from(`{"jsonrpc":"2.0","id":${idText},"result":${result}}`)) };
}

export type Answered = {
  readonly status: number;
  readonly headers: Outcome["headers"];
  /** The whole message as received. */
  readonly bytes: Buffer;
  readonly message: Extract<UpstreamMessage, { kind: "response" }>;
  /** What goes to the client: the message or its event, filtered and framed. */
  readonly last: Buffer;
  readonly withReceipt: (receipt: string) => Buffer;
  readonly request: McpRequest;
  readonly bytesIn: number;
};

export function answered(answer: Answered): Outcome {
  const { message, bytes, request } = answer;
  const result = bytes.subarray(message.body.start, message.body.end);
  const task = request.course === "metered" ? handleIn(bytes, message) : null;
  const final = request.course === "task" ? finalIn(bytes, request.method, message) : task === null ? null : inlineIn(bytes, message);
  const texts = final === null ? result : bytes.subarray(final.node.start, final.node.end);
  const brings = request.course === "metered" || final !== null;
  return {
    ...NOTHING,
    kind: final?.kind ?? (task === null ? message.outcome : "task"),
    sent: true,
    status: answer.status,
    headers: answer.headers,
    last: answer.last,
    withReceipt: message.outcome === "protocol_error" ? null : answer.withReceipt,
    result,
    resultTexts:
      final === null ? (brings ? textsOf(texts) : []) : final.told.flatMap(({ start, end }) => textsOf(bytes.subarray(start, end))),
    toolResult: brings ? texts : null,
    bytesIn: answer.bytesIn,
    requestState: message.requestState,
    cameTo: final?.bare ?? null,
    task,
  };
}
