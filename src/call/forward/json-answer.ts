/** An answer that is one JSON message: whole, strict and for this request, or invalid. */
import { refuse } from "../../refusal.ts";
import type { Deadline } from "./deadline.ts";
import type { UpstreamAnswer } from "./http-wire.ts";
import { filterList } from "./list-filter.ts";
import { readMessage, sameId, type UpstreamMessage } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import { answered, ended, unknownFate } from "./outcomes.ts";
import { withoutReceipt, withReceipt } from "./receipt.ts";
import { withoutFinal } from "./task-answer.ts";
import type { ForwardJob } from "./upstream.ts";

export async function readJsonAnswer(
  answer: UpstreamAnswer,
  job: ForwardJob,
  { maxResultBytes }: { readonly maxResultBytes: number },
  deadline: Deadline,
  session: string | null,
): Promise<Outcome> {
  let bytes: Buffer;
  try {
    bytes = await answer.body.whole(maxResultBytes);
  } catch (fault) {
    if (deadline.ending !== null) return ended(deadline.ending, 0);
    const tooLarge = fault instanceof Error && fault.message === "the answer is too large";
    return tooLarge
      ? oversized(job, maxResultBytes)
      : unknownFate(refuse("upstream_unreachable", {}, "the answer broke off"), 0, answer.status);
  }
  const judged = finalMessage(bytes, job);
  if ("why" in judged) return unknownFate(refuse("upstream_invalid", {}, judged.why), bytes.length, answer.status);
  return answered({
    status: answer.status,
    headers: { "content-type": "application/json", ...sessionHeader(session) },
    bytes,
    message: judged.message,
    last: judged.bytes,
    withReceipt: (receipt) => withReceipt(judged.bytes, receipt),
    request: job.request,
    bytesIn: bytes.length,
  });
}

/** `session`: sealed; null: the answer opens none. */
export function sessionHeader(session: string | null): Record<string, string> {
  return session === null ? {} : { "mcp-session-id": session };
}

/** The result was made and charged; what is too large to hold back for its settlement cannot be passed on. */
export function oversized(job: ForwardJob, limit: number): Outcome {
  const refusal = job.held?.metersResult
    ? refuse("result_over_budget", { limit })
    : refuse("upstream_invalid", { limit }, `a message over ${limit} bytes`);
  return unknownFate(refusal, limit);
}

/** `source` is what the message's nodes point into; `bytes` is what the client gets. */
type Judged =
  | { readonly message: Extract<UpstreamMessage, { kind: "response" }>; readonly source: Buffer; readonly bytes: Buffer }
  | { readonly why: string };

/** The response to this request, with only what the agent may see. */
export function finalMessage(bytes: Buffer, { request, visible, crossing }: ForwardJob): Judged {
  const message = readMessage(bytes);
  if (message.kind === "invalid") return { why: message.why };
  if (message.kind !== "response" || !sameId(message.idText, request.idText ?? "")) return { why: "not the answer to this request" };
  const clean = withoutReceipt(bytes, message);
  const own = withoutFinal(clean.bytes, clean.message, request.method);
  if (crossing !== undefined) return { message, source: bytes, bytes: crossing.forClient(own.bytes, own.message) };
  if (visible === null || message.outcome === "protocol_error") return { message, source: bytes, bytes: own.bytes };
  const filtered = filterList(own.bytes, own.message.body, request.method ?? "", request.era, visible);
  return filtered === null ? { why: "not the list that was asked for" } : { message, source: bytes, bytes: filtered };
}
