/** A GET stream, up to 2025-11-25: what a server says beside its answers, or where a client goes on with one that is under way. */
import { isRefusal } from "../../refusal.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { letGo, type UpstreamAnswer } from "./http-wire.ts";
import { filterList, listMethodOf } from "./list-filter.ts";
import { readMessage, type UpstreamMessage } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import { streamClosed } from "./outcomes.ts";
import type { Reading } from "./readings.ts";
import { withoutReceipt } from "./receipt.ts";
import { carriesMessage, createEventCutter, type SseEvent, withData } from "./sse.ts";
import { type AnswerContext, isPush, LIST_CHANGED, ofItsSession, STREAM_HEADERS } from "./sse-answer.ts";
import { withoutFinal } from "./task-answer.ts";
import type { Settled, UnderWayCall } from "./under-way.ts";
import type { ForwardJob } from "./upstream.ts";

/** An event on a stream without a request; MCP's own messages are far smaller. */
const EVENT_BYTES_MAX = 4_194_304;

type Heard = { readonly received: SseEvent; readonly event: SseEvent; readonly message: UpstreamMessage | null };

/** What is said on it passes until one side ends it. `resumed`: the call under way whose answer it goes on with. */
export async function passStream(
  answer: UpstreamAnswer,
  job: ForwardJob,
  context: AnswerContext,
  deadline: Deadline,
  resumed: UnderWayCall | null,
): Promise<Outcome> {
  job.answer.head(200, STREAM_HEADERS);
  const reading = resumed?.reading ?? null;
  const read = { bytes: 0 };
  let settled: Settled | undefined;
  void resumed?.settled.then((came) => {
    settled = came;
    // It came where the call itself reads, or never will. What is unheard its client may still be answered here.
    if (came !== "unheard") letGo(answer);
  });
  let brought: Heard | null = null;
  try {
    for await (const heard of events(answer, job, context, read)) {
      const bytes = passable(heard, job, context);
      const verdict = reading === null || settled === "unheard" ? "pass" : judge(heard, bytes, reading);
      if (verdict === "end") {
        brought = heard;
        break;
      }
      if (verdict === "pass" && bytes !== null) await job.answer.piece(bytes);
    }
  } catch (fault) {
    // An end by deadline, by the client or by a broken connection: the stream is over either way.
    if (deadline.ending === null && !(fault instanceof Error)) throw fault;
  }
  letGo(answer);
  const isUnheard = () => settled === "unheard";
  // It has come where the call itself reads, or will not come.
  const isElsewhere = !isUnheard() && (settled !== undefined || (reading !== null && reading.answer !== null));
  if (resumed === null || (brought === null && !isElsewhere)) return streamClosed(read.bytes);
  await passSettled(resumed, job, deadline, read.bytes);
  // Its call has ended without it, just before it came.
  const late = isUnheard() && brought !== null ? passable(brought, job, context) : null;
  if (late !== null) await job.answer.piece(late);
  return streamClosed(read.bytes);
}

async function* events(answer: UpstreamAnswer, job: ForwardJob, context: AnswerContext, read: { bytes: number }): AsyncGenerator<Heard> {
  const cutter = createEventCutter(job.request.resumes === undefined ? EVENT_BYTES_MAX : context.maxResultBytes);
  for await (const chunk of answer.body) {
    read.bytes += chunk.length;
    for (const received of cutter.push(chunk)) {
      const event = ofItsSession(received, job, context);
      yield { received, event, message: messageIn(event) };
    }
    if (cutter.oversized) return;
  }
}

/** On a stream that goes on with a call, for as long as that is under way. */
function judge({ received, event, message }: Heard, bytes: Buffer | null, reading: Reading): "pass" | "drop" | "end" {
  const isResponse = message?.kind === "response";
  // Another's answer is not this stream's, whatever its server replays; behind the answer, which is being looked at, nothing is counted.
  if ((isResponse && !reading.isAnsweredBy(message.idText)) || reading.answer !== null) return "drop";
  reading.bytesIn += received.bytes.length;
  reading.heard(received);
  if (isResponse) {
    reading.give(event);
    return "end";
  }
  if (bytes === null) return "drop";
  if (reading.passes(bytes.length)) return "pass";
  // A look is held for its answer alone: what asks something of the client passes, and what only tells is dropped.
  if (reading.isLook) return message?.kind === "request" ? "pass" : "drop";
  reading.exceed();
  return "end";
}

/** The answer of a call that is under way is counted, looked at and settled there; then it passes to whoever has resumed it, or why it does not. */
export async function passSettled(
  { reading, settled }: UnderWayCall,
  { answer }: Pick<ForwardJob, "answer">,
  deadline: Deadline,
  bytesIn: number,
): Promise<Outcome> {
  const came = await beforeEnd(deadline, settled);
  if (came === "given" && reading?.answer) await answer.piece(reading.answer);
  else if (reading !== null && isRefusal(came)) answer.refuse(came, reading.of);
  return streamClosed(bytesIn);
}

function messageIn(event: SseEvent): UpstreamMessage | null {
  return event.data !== null && event.data.length > 0 && carriesMessage(event) ? readMessage(event.data) : null;
}

/** A client may resume here what began as the answer to a list (2025-11-25): it is filtered as it would have been there. */
function passable({ event, message }: Heard, job: ForwardJob, context: AnswerContext): Buffer | null {
  if (event.data === null || event.data.length === 0) return event.bytes;
  if (message === null || message.kind === "invalid") return null;
  if (message.kind === "notification" && message.method === LIST_CHANGED) context.listChanged();
  if (message.kind === "notification" && isPush(message.method, message.root)) return null;
  if (message.kind !== "response") return event.bytes;
  if (context.sessions.isWithheld(job.agent.principal, job.request, message.idText)) return null;
  const method = listMethodOf(message.body);
  const clean = withoutReceipt(event.data, message);
  const own = withoutFinal(clean.bytes, clean.message, method);
  if (method === null) return own.bytes === event.data ? event.bytes : withData(event, own.bytes);
  const filtered = job.visible === null ? null : filterList(own.bytes, own.message.body, method, job.request.era, job.visible);
  return filtered === null ? null : withData(event, filtered);
}
