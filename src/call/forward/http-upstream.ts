/** A server over Streamable HTTP: bytes out as received, its answer judged before a piece of it passes. */

import { setTimeout } from "node:timers/promises";
import type { ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import { createCatalogue, type HearReading } from "./catalogue.ts";
import { type Deadline, startDeadline } from "./deadline.ts";
import { passSettled, passStream } from "./get-stream.ts";
import { createHttpCrossing } from "./http-crossing.ts";
import { readListing } from "./http-listing.ts";
import {
  type ClientTls,
  createWire,
  type Departure,
  headerOf,
  isPlainStream,
  letGo,
  readAway,
  requestHeaders,
  type UpstreamAnswer,
  type Wire,
} from "./http-wire.ts";
import { readJsonAnswer } from "./json-answer.ts";
import { readMessage, sameId, type UpstreamMessage } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import { accepted, credentialRefused, ended, endedUnsent, httpError, notSent, unknownFate } from "./outcomes.ts";
import type { Reading } from "./readings.ts";
import { resumer } from "./resume.ts";
import { CUT, type Sessions } from "./sessions.ts";
import { mustKnow, readSseAnswer, STREAM_HEADERS } from "./sse-answer.ts";
import type { UnderWayCall } from "./under-way.ts";
import type { ForwardJob, Upstream } from "./upstream.ts";

export type HttpUpstreamOptions = {
  readonly name: ServerName;
  readonly url: string;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  /** What the gateway shows in the TLS handshake, and whom it expects there. */
  readonly tls: ClientTls | null;
  readonly now: () => number;
  readonly mono: () => number;
  readonly sessions: Pick<Sessions, "seal" | "eventId" | "isCut" | "isKept" | "isWithheld" | "underWay">;
  readonly hear?: HearReading;
  /** One fresh credential after the upstream refused `failed`. */
  readonly reissue: (agent: Agent, server: ServerName, failed: IssuedToken) => Promise<IssuedToken | Refusal> | IssuedToken | Refusal;
};

/** Calls under way at once to one upstream; beyond it they wait within their deadline. */
const CONNECTIONS = 256;
/** Streams at once to one upstream, on connections of their own: however many idle ones there are, no call waits for them. One more is refused. */
const STREAMS = 5_000;
const STREAM_RETRY_MS = 30_000;
/** A stream without an end of its own lives this long at most. */
const STREAM_AGE_MAX_MS = 3_600_000;
const ERROR_BYTES_MAX = 65_536;
/** In which a server sees that the connection of a stream has ended: until then some refuse another one. */
const HANDED_OVER_MS = [50, 200, 1_000];

export function createHttpUpstream(options: HttpUpstreamOptions): Upstream {
  const wire = createWire(options.url, CONNECTIONS, options.tls);
  const streamWire = createWire(options.url, STREAMS, options.tls);
  const catalogue = createCatalogue(options.mono, options.hear);
  const context = { ...options, wire, streamWire, listChanged: () => catalogue.forget() };
  let streams = 0;
  const counted: Upstream["forward"] = async (job) => {
    if (!isStream(job.request)) return await forward(job, context);
    if (streams >= STREAMS) return notSent(refuse("overloaded", { retry_after_ms: STREAM_RETRY_MS }, `${STREAMS} streams are open`));
    streams += 1;
    try {
      return await forward(job, context);
    } finally {
      streams -= 1;
    }
  };
  const reader = (agent: Agent, issued: IssuedToken) => () =>
    readListing(wire, issued, options.timeoutMs, (failed) => options.reissue(agent, options.name, failed));
  const definition: Upstream["definition"] = (toolName, agent, issued, accepts) =>
    catalogue.find(issued.shareKey, toolName, reader(agent, issued), accepts);
  const crossed = createHttpCrossing(context, counted, definition);
  return {
    forward: (job) => (job.request.view === null ? counted(job) : crossed(job)),
    definition,
    offer: (agent, issued) => catalogue.offer(issued.shareKey, reader(agent, issued)),
    forget: () => catalogue.forget(),
    async close(graceMs) {
      await Promise.all([wire.close(graceMs), streamWire.close(graceMs)]);
    },
  };
}

export type ForwardContext = HttpUpstreamOptions & {
  readonly wire: Wire;
  readonly streamWire: Wire;
  /** What a GET goes on with. */
  readonly resumed?: UnderWayCall;
  readonly listChanged: () => void;
};

async function forward(job: ForwardJob, context: ForwardContext): Promise<Outcome> {
  const { request, agent } = job;
  const streams = isStream(request);
  const timeoutMs = streams ? Math.min(STREAM_AGE_MAX_MS, Math.max(1, agent.expiresAtMs - context.now())) : context.timeoutMs;
  // In the modern era, and for a stream that carries nothing else, leaving is cancelling.
  using deadline = startDeadline(
    timeoutMs,
    (job.crossing?.clientEra ?? request.era) === "modern" || streams ? job.answer.gone : null,
    job.stopped,
  );
  const departure: Departure = { left: false };
  try {
    const underWay = context.sessions.underWay(request);
    const resumed = request.course === "stream" ? underWay : null;
    if (underWay !== null && resumed === null) underWay.isCounted = mustKnow(job, context);
    if (resumed !== null && resumed.reading !== null) return await goOn(resumed, resumed.reading, job, context, deadline);
    // Its call may have ended so since it was opened.
    if (request.lastEventId !== null && context.sessions.isCut(agent.principal, request)) return notSent(CUT);
    const first = await send(job, job.issued, context, deadline.signal, departure);
    if (first.status !== 401 && first.status !== 403) return await answerOf(first, job, context, deadline);
    // What was refused did not run: until the second leaves, nothing has.
    departure.left = false;
    await readAway(first);
    const again = await context.reissue(agent, request.server, job.issued);
    if (isRefusal(again)) return credentialRefused(first.status);
    if (again.shareKey === job.issued.shareKey && again.expiresAtMs === job.issued.expiresAtMs) return credentialRefused(first.status);
    const second = await send(job, again, context, deadline.signal, departure);
    if (second.status !== 401 && second.status !== 403) return await answerOf(second, { ...job, issued: again }, context, deadline);
    await readAway(second);
    return credentialRefused(second.status);
  } catch (fault) {
    if (deadline.ending !== null) return departure.left ? ended(deadline.ending, 0) : endedUnsent(deadline.ending);
    const unreachable = refuse("upstream_unreachable", {}, fault instanceof Error ? fault.message : "unknown");
    return departure.left ? unknownFate(unreachable, 0) : notSent(unreachable);
  }
}

/** A client goes on with the answer of a call that is under way. */
async function goOn(
  resumed: UnderWayCall,
  reading: Reading,
  job: ForwardJob,
  context: ForwardContext,
  deadline: Deadline,
): Promise<Outcome> {
  // The server has answered it already: it is looked at and settled, and the server would send it unseen.
  if (reading.answer !== null) {
    job.answer.head(200, STREAM_HEADERS);
    return await passSettled(resumed, job, deadline, 0);
  }
  using _asking = reading.ask();
  let answer = await sendAgain(job, context, deadline.signal);
  for (const pauseMs of HANDED_OVER_MS) {
    // Its client has left the stream that the call itself reads, which the server takes for an open one. One that is open it may refuse.
    if (answer.status !== 409 || !reading.isLeft) break;
    await readAway(answer);
    reading.letGo();
    await setTimeout(pauseMs);
    answer = await sendAgain(job, context, deadline.signal);
  }
  if (answer.status === 401 || answer.status === 403) {
    await readAway(answer);
    return credentialRefused(answer.status);
  }
  // What is refused goes to its client, and the call goes on as before.
  if (isPlainStream(answer)) reading.take();
  return await answerOf(answer, job, { ...context, resumed }, deadline);
}

function isStream({ course, method }: McpRequest): boolean {
  return course === "stream" || method === "subscriptions/listen";
}

function send(
  { request }: ForwardJob,
  issued: IssuedToken,
  { wire, streamWire }: ForwardContext,
  signal: AbortSignal,
  departure: Departure,
): Promise<UpstreamAnswer> {
  return (isStream(request) ? streamWire : wire).send(
    request.httpMethod,
    requestHeaders(request, issued),
    request.httpMethod === "POST" ? request.body : null,
    signal,
    departure,
  );
}

/** A stream outlives tokens: a new one where the server takes the old one no more. */
async function sendAgain(job: ForwardJob, context: ForwardContext, signal: AbortSignal): Promise<UpstreamAnswer> {
  const answer = await send(job, job.issued, context, signal, { left: true });
  if (answer.status !== 401) return answer;
  const issued = await context.reissue(job.agent, job.request.server, job.issued);
  if (isRefusal(issued)) return answer;
  await readAway(answer);
  return await send(job, issued, context, signal, { left: true });
}

async function answerOf(answer: UpstreamAnswer, job: ForwardJob, context: ForwardContext, deadline: Deadline): Promise<Outcome> {
  const { request } = job;
  const coding = answer.headers["content-encoding"] ?? "identity";
  if (coding !== "identity") return invalid(answer, "a content coding");
  const type = headerOf(answer.headers, "content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  const ok = answer.status >= 200 && answer.status < 300;
  if (request.idText === null || request.course === "response") return await unanswered(answer, ok, type, job, context, deadline);
  const minted = mintedSession(answer, job);
  const session = minted === null ? null : context.sessions.seal(job.agent, request, minted);
  if (minted !== null && session === null) return invalid(answer, "a session id over 4 KiB, or beyond visible ASCII");
  if (ok && type === "application/json") return await readJsonAnswer(answer, job, context, deadline, session);
  if (ok && type === "text/event-stream") {
    // What is withheld of any other request is known by the session that it came in, and resumed in no other.
    const isOpened = minted !== null && request.method === "initialize";
    const within = isOpened ? { ...job, request: { ...request, sessionId: minted } } : job;
    const resume = resumer(within.request, (asked, signal) => sendAgain({ ...within, request: asked }, context, signal), deadline);
    return await readSseAnswer(answer, within, context, deadline, session, resume);
  }
  if (answer.status >= 400) return await errorAnswer(answer, type, job);
  return invalid(answer, `${answer.status} ${type}`);
}

/** The server's own id of a session that the answer opens, or null. Most servers repeat it ever after: the client holds it by then. */
function mintedSession({ headers }: UpstreamAnswer, { request, crossing }: ForwardJob): string | null {
  // A crossing's session is the gateway's own.
  const sessionId = request.era === "legacy" && crossing === undefined ? headerOf(headers, "mcp-session-id") : null;
  return sessionId === request.sessionId ? null : sessionId;
}

/** GET, DELETE, notifications and posted responses: there is no message to answer, only a status or a stream. */
async function unanswered(
  answer: UpstreamAnswer,
  ok: boolean,
  type: string,
  job: ForwardJob,
  context: ForwardContext,
  deadline: Deadline,
): Promise<Outcome> {
  if (job.request.course === "stream" && ok && type === "text/event-stream")
    return await passStream(answer, job, context, deadline, context.resumed ?? null);
  await readAway(answer);
  if (job.request.course === "stream" && ok) return unknownFate(refuse("upstream_invalid", {}, `a stream of ${type}`), 0, answer.status);
  if (ok) return accepted(job.request.course === "end" ? 200 : 202);
  if (answer.status === 405) return httpError(405, { allow: "POST" }, null);
  return answer.status >= 400
    ? httpError(answer.status, retryAfter(answer), null)
    : unknownFate(refuse("upstream_invalid", {}, `${answer.status}`), 0, answer.status);
}

/** An HTTP error passes where it means something to an MCP client: a JSON-RPC error, a lost session, a busy server. */
async function errorAnswer(answer: UpstreamAnswer, type: string, job: ForwardJob): Promise<Outcome> {
  const { status } = answer;
  if (type === "application/json") {
    const bytes = await answer.body.whole(ERROR_BYTES_MAX).catch(() => null);
    const message = bytes === null ? null : rpcErrorOf(bytes, job.request.idText);
    if (bytes !== null && message !== null)
      return httpError(
        status,
        { ...retryAfter(answer), "content-type": "application/json" },
        job.crossing?.forClient(bytes, message) ?? bytes,
      );
  } else letGo(answer);
  const lostSession = status === 404 && job.request.era === "legacy" && job.request.sessionId !== null;
  if (lostSession || status === 429 || status === 503) return httpError(status, retryAfter(answer), null);
  return { ...unknownFate(refuse("upstream_invalid", { upstream_status: status }, `${status} ${type}`), 0, status), kind: "http_error" };
}

/** An error for this request, or for one that the server could not read. */
function rpcErrorOf(bytes: Buffer, idText: string | null): Extract<UpstreamMessage, { kind: "response" }> | null {
  const message = readMessage(bytes);
  if (message.kind !== "response" || message.outcome !== "protocol_error") return null;
  return message.idText === "null" || sameId(message.idText, idText ?? "") ? message : null;
}

function retryAfter(answer: UpstreamAnswer): Record<string, string> {
  const seconds = headerOf(answer.headers, "retry-after");
  return seconds !== null && /^[0-9]{1,6}$/.test(seconds) ? { "retry-after": seconds } : {};
}

function invalid(answer: UpstreamAnswer, why: string): Outcome {
  letGo(answer);
  return unknownFate(refuse("upstream_invalid", {}, why), 0, answer.status);
}
