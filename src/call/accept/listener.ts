/** The public listener: judges every head on its raw bytes, serves the hot route itself and hands the rest on. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Hono } from "hono";
import type { CallId, ServerName } from "../../ids.ts";
import { splice } from "../../json.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Answer } from "./answer.ts";
import { allowOrigin, answerPreflight, isPreflight } from "./cors.ts";
import { createHeartbeat } from "./heartbeat.ts";
import { forwardedHeaders, judgeMcpHead, type McpHead } from "./mcp-head.ts";
import { judgeOwn, type OwnQuestion, type OwnRoute, ownRouteOf } from "./own-question.ts";
import { type PageListener, pageListener } from "./pages.ts";
import { type Message, parseMessage } from "./parse.ts";
import { readBody } from "./read-body.ts";
import type { McpRequest } from "./request.ts";
import { isOAuthRoute, isPlainTarget } from "./routes.ts";
import { Unanswered } from "./unanswered.ts";
import { userAgentOf, Visit, type VisitOptions } from "./visit.ts";

export type ListenerOptions = VisitOptions & {
  readonly pages: Hono;
  /** `/oauth/*` and the authorization server's metadata. */
  readonly oauth: (request: IncomingMessage, response: ServerResponse) => void;
  readonly live: (request: McpRequest, answer: Answer) => void;
  /** `/v1/me` and below; `refuse` records the refusal as it answers it. */
  readonly own?: (question: OwnQuestion, answer: Answer, refuse: (refusal: Refusal) => void) => void;
  /** node's parser refused something before it became a request. */
  readonly parserRefusal: () => void;
  /** A bug on the way to `live`: answered with 500, and told here. */
  readonly fault?: (thrown: unknown, callId: CallId) => void;
  readonly timeouts?: Partial<ListenerTimeouts>;
};

/** Milliseconds; threats.md section 5. Tests shorten them. */
export type ListenerTimeouts = {
  readonly headersMs: number;
  readonly bodyMs: number;
  /** Between two requests of a kept connection. */
  readonly idleMs: number;
  /** A client that reads nothing. */
  readonly stallMs: number;
  /** Between two comments on an open stream. */
  readonly heartbeatMs: number;
};

export type PublicListener = {
  readonly server: Server;
  /** No new connections; requests on old ones get 503. Those under way end in peace. */
  drain(): void;
  /** Drains and cuts what is left; resolves when every connection is closed. */
  close(): Promise<void>;
};

/** Balancers commonly close what is silent for 60 s: a comment every 30 s comes in time. */
const TIMEOUTS: ListenerTimeouts = { headersMs: 10_000, bodyMs: 30_000, idleMs: 60_000, stallMs: 60_000, heartbeatMs: 30_000 };
const HEADER_BYTES_MAX = 16_384;
/** Beyond the body's own time, which ends with an answer. */
const REQUEST_GRACE_MS = 15_000;
/** How often node looks for late requests. */
const CHECK_INTERVAL_MS = 1_000;
/** For the last bytes of an answer to leave a connection that is broken in the other direction. */
const HANG_UP_MS = 1_000;
/** One descriptor and some 50 kB each when all of them stream. */
const CONNECTIONS_MAX = 10_000;
/** A kept connection is closed in peace after this many: nobody holds one for ever. */
const REQUESTS_PER_CONNECTION_MAX = 100_000;

export function createPublicListener(options: ListenerOptions): PublicListener {
  const timeouts: ListenerTimeouts = { ...TIMEOUTS, ...options.timeouts };
  const shared: Shared = { timeouts, pages: pageListener(options.pages), reading: { bytes: 0 } };
  const unanswered = new Unanswered();
  const keeping = { stallMs: timeouts.stallMs, heartbeat: createHeartbeat(timeouts.heartbeatMs) };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    // Behind an answer that closes the connection nothing can be answered, so nothing is done.
    if (unanswered.isClosing(request.socket)) return;
    response.setHeader("x-content-type-options", "nosniff");
    response.setHeader("cache-control", "no-store");
    unanswered.add(request, response);
    const visit = new Visit(request, response, options, keeping);
    serve(visit, options, shared, unanswered.draining).catch((thrown: unknown) => {
      options.fault?.(thrown, visit.callId);
      visit.answer({}).fault();
    });
  };
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.headersMs + timeouts.bodyMs + REQUEST_GRACE_MS,
      keepAliveTimeout: timeouts.idleMs,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, timeouts.headersMs),
      noDelay: true,
      // Judged at the door, where a refusal is recorded.
      requireHostHeader: false,
    },
    onRequest,
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX;
  // Without this listener node says "100 Continue" before the head is judged.
  server.on("checkContinue", onRequest);
  refuseRaw(server, options.parserRefusal, unanswered);
  const drain = (): void => {
    if (unanswered.draining) return;
    unanswered.drain();
    server.close();
  };
  return {
    server,
    drain,
    close: () =>
      new Promise((resolve) => {
        drain();
        if (server.listening) server.close();
        server.closeAllConnections();
        server.getConnections((_, count) => (count === 0 ? resolve() : server.once("close", () => resolve())));
      }),
  };
}

/** What never becomes a request of ours: said in fixed bytes, counted, and the connection closed. */
function refuseRaw(server: Server, parserRefusal: () => void, unanswered: Unanswered): void {
  server.on("clientError", (fault: NodeJS.ErrnoException, socket: Socket) => {
    if (GONE.has(fault.code ?? "") || !socket.writable) return void socket.destroy();
    parserRefusal();
    // Bytes written now would be read as the answer to a call that is still under way.
    if (!unanswered.isBusy(socket)) socket.write(rawAnswer(RAW_STATUS[fault.code ?? ""] ?? "400 Bad Request"));
    hangUp(socket);
  });
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    parserRefusal();
    request.resume();
    response.writeHead(417, { connection: "close", "content-length": "0", ...RAW_HEADERS }).end();
  });
  server.on("connect", (_, socket) => {
    parserRefusal();
    // node has taken its own listeners off: a reset would otherwise end the process.
    socket.on("error", () => socket.destroy());
    socket.write(rawAnswer("405 Method Not Allowed"));
    hangUp(socket as Socket);
  });
}

/** What was said already still leaves; nothing is added to it. */
function hangUp(socket: Socket): void {
  socket.destroySoon();
  setTimeout(() => socket.destroy(), HANG_UP_MS).unref();
}

const RAW_HEADERS = { "x-content-type-options": "nosniff", "cache-control": "no-store" };
/** The client left in the middle of its request. */
const GONE: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "HPE_INVALID_EOF_STATE"]);
const RAW_STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

function rawAnswer(status: string): string {
  const headers = Object.entries(RAW_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n${headers.join("")}\r\n`;
}

/** What all requests of a listener have in common. */
type Shared = { readonly timeouts: ListenerTimeouts; readonly pages: PageListener; readonly reading: { bytes: number } };

async function serve(visit: Visit, options: ListenerOptions, shared: Shared, draining: boolean) {
  const { pages } = shared;
  const { request, response, headers } = visit;
  if (visit.refusal !== null) return visit.refuse(visit.refusal);
  allowOrigin(response, headers.get("origin"), options.origins);
  if (draining) return visit.refuse(refuse("overloaded", { retry_after_ms: 1_000 }));
  if (isPreflight(request.method, headers)) return answerPreflight(response, headers);
  if (visit.server !== null) return serveMcp(visit, visit.server as ServerName, options, shared);
  const target = request.url ?? "";
  if (!isPlainTarget(target)) return visit.refuse(refuse("route_unknown"));
  if (isOAuthRoute(target)) {
    proceed(visit);
    return options.oauth(request, response);
  }
  const own = ownRouteOf(target);
  if (own !== null) return serveOwn(visit, own, options, shared);
  if (!pages.knows(target)) return visit.refuse(refuse("route_unknown"));
  if (request.method !== "GET" && request.method !== "HEAD") return visit.refuse(refuse("http_method", { allow: "GET, HEAD" }));
  return pages.answer(request, response);
}

function proceed({ headers, request, response }: Visit): void {
  if (headers.has("expect") && request.httpVersion === "1.1") response.writeContinue();
}

async function serveOwn(visit: Visit, own: OwnRoute, options: ListenerOptions, shared: Shared): Promise<void> {
  const { request, headers, callId, receivedAtMs } = visit;
  const httpMethod = request.method ?? "";
  const refusal = options.own === undefined ? refuse("route_unknown") : judgeOwn(own, httpMethod, headers);
  if (refusal !== null) return visit.refuse(refusal);
  const body = httpMethod === "POST" ? await bodyOf(visit, shared) : EMPTY;
  if (body === null) return;
  if (!Buffer.isBuffer(body)) return visit.refuse(body);
  const authorization = headers.get("authorization") ?? null;
  const question: OwnQuestion = { callId, receivedAtMs, httpMethod, page: own.page, about: own.callId, authorization, body };
  options.own?.(question, visit.answer({}), (refused) => visit.refuse(refused));
}

function bodyOf(visit: Visit, { timeouts, reading }: Shared): ReturnType<typeof readBody> {
  const declared = visit.headers.get("content-length");
  return readBody(visit.request, { declared, timeoutMs: timeouts.bodyMs, reading, proceed: () => proceed(visit) });
}

async function serveMcp(visit: Visit, server: ServerName, options: ListenerOptions, shared: Shared): Promise<void> {
  const { request, headers } = visit;
  const head = judgeMcpHead(request.method ?? "", headers);
  if ("refusal" in head) return visit.refuse(head.refusal, { era: head.era });
  if (head.httpMethod !== "POST") return options.live(mcpRequestOf(visit, server, head, head.bodyless, EMPTY), visit.answer(head.bodyless));
  const body = await bodyOf(visit, shared);
  if (body === null) return;
  if (!Buffer.isBuffer(body)) return visit.refuse(body, { era: head.era });
  const { message, refusal } = parseMessage(body, head.messageHeaders);
  if (refusal !== null) return visit.refuse(refusal, message);
  return options.live(requestWithoutKey(visit, server, head, message, body), visit.answer(message));
}

/** A key in `_meta` is said to the gateway: what is judged, recorded and forwarded is the message without it. */
function requestWithoutKey(visit: Visit, server: ServerName, head: McpHead, message: Message, body: Buffer): McpRequest {
  const { keySpan, idempotencyKey } = message;
  if (keySpan === null) return mcpRequestOf(visit, server, head, message, body);
  const rest = splice(body, [{ ...keySpan, replacement: EMPTY }]);
  const again = parseMessage(rest, head.messageHeaders);
  if (again.refusal !== null) throw new Error("a message without its key is a message");
  return mcpRequestOf(visit, server, head, { ...again.message, idempotencyKey }, rest);
}

const EMPTY = Buffer.alloc(0);

function mcpRequestOf(visit: Visit, server: ServerName, head: McpHead, message: Message, body: Buffer): McpRequest {
  return {
    callId: visit.callId,
    receivedAtMs: visit.receivedAtMs,
    receivedMonoMs: visit.receivedMonoMs,
    server,
    view: null,
    httpMethod: head.httpMethod,
    course: message.course,
    era: message.era,
    revision: message.revision,
    method: message.method,
    idText: message.idText,
    idSpan: message.idSpan,
    target: message.target,
    targetSpan: message.targetSpan,
    argumentsSpan: message.argumentsSpan,
    progressTokenSpan: message.progressTokenSpan,
    followUp: message.followUp,
    idempotencyKey: message.idempotencyKey,
    body,
    authorization: visit.headers.get("authorization") ?? null,
    // Sessions and resumption do not exist in 2026-07-28: their headers are ignored.
    sessionId: message.era === "legacy" ? head.sessionId : null,
    lastEventId: message.era === "legacy" ? head.lastEventId : null,
    accept: head.accept,
    forwarded: forwardedHeaders(visit.headers, message),
    userAgent: userAgentOf(visit.headers),
    remoteAddress: visit.remoteAddress(),
  };
}
