/** An answer that is a stream of events: each passes as it comes, the last one waits for its settlement. */
import { type JsonNode, member } from "../../json.ts";
import { refuse } from "../../refusal.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { letGo, type UpstreamAnswer } from "./http-wire.ts";
import { finalMessage, oversized, sessionHeader } from "./json-answer.ts";
import { readMessage, sameId } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import { answered, ended, subscriptionEnded, unknownFate } from "./outcomes.ts";
import { Reading } from "./readings.ts";
import { withReceipt } from "./receipt.ts";
import type { Resume } from "./resume.ts";
import type { Sessions } from "./sessions.ts";
import { carriesMessage, createEventCutter, type SseEvent, withData, withEnd, withId } from "./sse.ts";
import { bringsFinal } from "./task-answer.ts";
import type { ForwardJob } from "./upstream.ts";

const PRIMING_BYTES_MAX = 1_024;
export const STREAM_HEADERS = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };
export const LIST_CHANGED = "notifications/tools/list_changed";
/** Of all revisions, and what servers call the like. */
const TASKS_PUSHED = /^notifications\/tasks?(\/|$)/;

export type AnswerContext = {
  readonly maxResultBytes: number;
  readonly listChanged: () => void;
  readonly sessions: Pick<Sessions, "isKept" | "isWithheld" | "underWay" | "eventId">;
};

export async function readSseAnswer(
  answer: UpstreamAnswer,
  job: ForwardJob,
  context: AnswerContext,
  deadline: Deadline,
  session: string | null,
  resume: Resume,
): Promise<Outcome> {
  job.answer.head(200, { ...STREAM_HEADERS, ...sessionHeader(session) });
  const reading = new Reading(job);
  // A client of 2026-07-28 resumes nothing, whatever era its server speaks.
  const underWay = job.crossing === undefined ? context.sessions.underWay(job.request) : null;
  if (underWay !== null) underWay.reading = reading;
  const outcome = await readOn(answer, reading, job, context, deadline, resume);
  reading.answer = outcome.last;
  return outcome;
}

async function readOn(
  answer: UpstreamAnswer,
  reading: Reading,
  job: ForwardJob,
  context: AnswerContext,
  deadline: Deadline,
  resume: Resume,
): Promise<Outcome> {
  for (let stream: UpstreamAnswer | null = answer; ; reading.isResumed = true) {
    const { outcome, fault } = stream === null ? ELSEWHERE : await readStream(stream, reading, job, context, deadline);
    if (outcome !== null) return outcome;
    const event = await reading.elsewhere(deadline);
    if (reading.isOver) return overHeld(answer, reading.bytesMax, reading.bytesIn);
    if (event?.data != null) return finish(finalMessage(event.data, job), event, answer, job, reading.bytesIn);
    // Up to 2025-11-25 a server may end the stream and have it resumed.
    const isOpen = job.request.era === "legacy" && reading.lastEventId !== null && deadline.ending === null;
    // Then there is nothing wrong, and nothing known: where nothing has to be, its client does it.
    if (isOpen && (fault === "" || reading.wasTaken) && !mustKnow(job, context)) return unknownFate(null, reading.bytesIn);
    stream = isOpen && mustKnow(job, context) ? await resume(reading) : null;
    if (stream === null && !reading.isDone && (reading.isOwn || deadline.ending !== null)) return endedEarly(job, reading, deadline, fault);
  }
}

/** What came on a stream that its client resumes would be counted by no budget and seen by no guard, and some clients cannot resume. */
export function mustKnow({ held, crossing, request }: ForwardJob, { sessions }: { readonly sessions: Pick<Sessions, "isKept"> }): boolean {
  return crossing !== undefined || (held?.lines.length ?? 0) > 0 || sessions.isKept(request);
}

type Read = { readonly outcome: Outcome | null; readonly fault: string };
const ELSEWHERE: Read = { outcome: null, fault: "" };

async function readStream(
  stream: UpstreamAnswer,
  reading: Reading,
  job: ForwardJob,
  context: AnswerContext,
  deadline: Deadline,
): Promise<Read> {
  if (!reading.begins(stream)) return ELSEWHERE;
  const cutter = createEventCutter(context.maxResultBytes);
  const over = (outcome: Outcome): Read => ({ outcome, fault: "" });
  try {
    for await (const chunk of stream.body) {
      reading.bytesIn += chunk.length;
      for (const received of cutter.push(chunk)) {
        reading.heard(received);
        const event = ofItsSession(received, job, context);
        const verdict = judge(event, job, context, reading);
        if (verdict === "pass" || verdict === "tell") {
          const isOver = !reading.passes(event.bytes.length);
          if (isOver && job.request.course !== "task") return over(overHeld(stream, reading.bytesMax, reading.bytesIn));
          // A look is held for its answer alone: what asks something of the client passes, and what only tells is dropped.
          if (isOver && verdict === "tell") continue;
          const stalled = job.answer.piece(event.bytes);
          // A client that does not read, or whose connection is dead, holds up nobody who goes on with it elsewhere.
          if (stalled) await beforeEnd(deadline, reading.stall(stalled));
        } else if (verdict !== "drop") return over(finish(verdict, event, stream, job, reading.bytesIn));
      }
      if (cutter.oversized) return over(oversized(job, context.maxResultBytes));
    }
  } catch (fault) {
    return { outcome: null, fault: fault instanceof Error ? fault.message : "unknown" };
  }
  return { outcome: null, fault: "" };
}

/** `fault`: the connection broke; empty: the server has ended the stream. */
function endedEarly({ request }: ForwardJob, { bytesIn, wasTaken }: Reading, deadline: Deadline, fault: string): Outcome {
  if (deadline.ending !== null) {
    const subscribed = request.method === "subscriptions/listen" && deadline.ending !== "gone";
    return subscribed ? subscriptionEnded(request.idText ?? "null", bytesIn) : ended(deadline.ending, bytesIn);
  }
  if (fault !== "" && !wasTaken) return unknownFate(refuse("upstream_unreachable", {}, fault), bytesIn);
  return unknownFate(refuse("upstream_invalid", {}, "the stream ended without its answer"), bytesIn);
}

/** What has passed cannot be withheld any more: the stream ends before more passes than was held. */
function overHeld(answer: UpstreamAnswer, limit: number, bytesIn: number): Outcome {
  letGo(answer);
  const why = "more came before its answer than was held on a budget of bytes";
  return unknownFate(refuse("result_over_budget", { limit }, why), bytesIn);
}

/** Up to 2025-11-25 a client resumes a stream by the id of an event: its own session's, and nobody else's. */
export function ofItsSession(event: SseEvent, { request, agent, crossing }: ForwardJob, { sessions }: AnswerContext): SseEvent {
  if (!event.id || request.era === "modern" || crossing !== undefined) return event;
  return withId(event, sessions.eventId(agent, request, event.id));
}

type Verdict = "pass" | "tell" | "drop" | ReturnType<typeof finalMessage>;

function judge(event: SseEvent, job: ForwardJob, context: AnswerContext, reading: Reading): Verdict {
  // What a stream begins with, so that it can be resumed, asks for nothing and has to pass.
  if (event.data === null || event.data.length === 0) {
    if (reading.isPrimed || event.id === null || event.bytes.length > PRIMING_BYTES_MAX) return "tell";
    reading.isPrimed = true;
    return "pass";
  }
  if (!carriesMessage(event)) return "drop";
  const message = readMessage(event.data);
  if (message.kind === "invalid") return { why: message.why };
  if (message.kind === "notification" && message.method === LIST_CHANGED) context.listChanged();
  if (message.kind === "request") job.crossing?.onRequest(event.data, message);
  // In 2026-07-28 a server asks nothing on a stream; what it asks there is not passed on.
  if (message.kind === "request" && job.crossing !== undefined) return "drop";
  if (message.kind === "notification" && isPush(message.method, message.root)) return "drop";
  if (message.kind === "request") return job.request.era === "modern" ? "drop" : "pass";
  if (message.kind !== "response") return "tell";
  // A stream that answers one request carries no other's answer: it would pass unfiltered and uncounted. Some servers replay all they have.
  if (reading.isResumed && !sameId(message.idText, job.request.idText ?? "")) return "drop";
  return finalMessage(event.data, job);
}

/** What a task came to is charged when it is asked for: a push of it would be had for nothing. */
export function isPush(method: string, root: JsonNode): boolean {
  const params = TASKS_PUSHED.test(method) ? member(root, "params") : undefined;
  return params !== undefined && bringsFinal(params);
}

/** What an upstream sends after its answer is nobody's: the body is let go. */
function finish(
  verdict: ReturnType<typeof finalMessage>,
  event: SseEvent,
  answer: UpstreamAnswer,
  job: ForwardJob,
  bytesIn: number,
): Outcome {
  letGo(answer);
  if ("why" in verdict) return unknownFate(refuse("upstream_invalid", {}, verdict.why), bytesIn);
  const data = event.data ?? Buffer.alloc(0);
  return answered({
    status: 200,
    headers: {},
    bytes: data,
    message: verdict.message,
    last: verdict.bytes === data ? withEnd(event.bytes) : withData(event, verdict.bytes),
    withReceipt: (receipt) => withData(event, withReceipt(verdict.bytes, receipt)),
    request: job.request,
    bytesIn,
  });
}
