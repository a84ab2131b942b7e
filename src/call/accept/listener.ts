/** The public listener: judges every head on its raw bytes, serves the hot route itself and hands the rest on. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import { type CallId, mintId, type ServerName } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Answer } from "./answer.ts";
import { ClientAnswer } from "./client-answer.ts";
import { type DoorOptions, type Headers, judgeHead, remoteAddressOf } from "./door.ts";
import { judgeMcpHead, type McpHead } from "./mcp-head.ts";
import { parseMessage } from "./parse.ts";
import { readBody } from "./read-body.ts";
import type { RefusalMode } from "./reply.ts";
import type { McpRequest, RequestSketch } from "./request.ts";

export type ListenerOptions = DoorOptions & {
  readonly mode: RefusalMode;
  readonly publicUrl: string;
  readonly now: () => number;
  readonly mono: () => number;
  readonly pages: Hono;
  /** `/oauth/*` and the authorization server's metadata. */
  readonly oauth: (request: IncomingMessage, response: ServerResponse) => void;
  readonly live: (request: McpRequest, answer: Answer) => void;
  readonly refused: (sketch: RequestSketch, refusal: Refusal, answer: Answer) => void;
  /** node's parser refused something before it became a request. */
  readonly parserRefusal: () => void;
};

export type PublicListener = { readonly server: Server; drain(): void };

const HEADER_BYTES_MAX = 16_384;
const HEADERS_TIMEOUT_MS = 10_000;
/** Head and body; the body's own 30 s end earlier and with an answer. */
const REQUEST_TIMEOUT_MS = 45_000;
const IDLE_TIMEOUT_MS = 60_000;
/** How often node looks for late requests. */
const CHECK_INTERVAL_MS = 1_000;

const MCP_ROUTE = /^\/mcp\/([a-z0-9-]{1,32})$/;
/** Exactly what our other routes are made of: no dot segments, no encodings, no doubled slashes. */
const PLAIN_PATH = /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+(?:\?[!-~]*)?$/;
const OAUTH_ROUTE = /^\/(?:oauth\/|\.well-known\/(?:oauth-authorization-server|openid-configuration)(?:\?|$))/;
const WELL_KNOWN = /^\/\.well-known\/[a-z0-9/-]+$/;

export function createPublicListener(options: ListenerOptions): PublicListener {
  let draining = false;
  const pages = getRequestListener(options.pages.fetch, { overrideGlobalObjects: false });
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      noDelay: true,
    },
    (request, response): void => {
      response.setHeader("x-content-type-options", "nosniff");
      response.setHeader("cache-control", "no-store");
      if (draining) response.setHeader("connection", "close");
      const visit = new Visit(request, response, options);
      if (visit.refusal !== null) visit.refuse(visit.refusal);
      else if (draining) visit.refuse(refuse("overloaded", { retry_after_ms: 1_000 }));
      else if (visit.server !== null) void serveMcp(visit);
      else serveOther(visit, pages);
    },
  );
  server.on("clientError", (fault: NodeJS.ErrnoException, socket: Socket) => {
    options.parserRefusal();
    if (!socket.writable) return void socket.destroy();
    const status =
      fault.code === "HPE_HEADER_OVERFLOW"
        ? "431 Request Header Fields Too Large"
        : fault.code === "ERR_HTTP_REQUEST_TIMEOUT"
          ? "408 Request Timeout"
          : "400 Bad Request";
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  });
  server.on("checkExpectation", (_, response) => response.writeHead(417, { connection: "close", "content-length": "0" }).end());
  server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
  server.on("connect", (_, socket) => socket.end("HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
  return {
    server,
    drain() {
      draining = true;
      server.close();
      server.closeIdleConnections();
    },
  };
}

/** One request at the door: its raw head judged, its identity minted. */
class Visit {
  readonly callId: CallId;
  readonly atMs: number;
  readonly atMonoMs: number;
  readonly server: string | null;
  readonly headers: Headers;
  readonly refusal: Refusal | null;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly options: ListenerOptions;

  constructor(request: IncomingMessage, response: ServerResponse, options: ListenerOptions) {
    this.request = request;
    this.response = response;
    this.options = options;
    this.atMs = options.now();
    this.atMonoMs = options.mono();
    this.callId = mintId("call", this.atMs);
    const target = request.url ?? "";
    this.server = MCP_ROUTE.exec(target)?.[1] ?? null;
    const judged = judgeHead(
      { httpVersion: request.httpVersion, method: request.method ?? "", target, rawHeaders: request.rawHeaders },
      options,
    );
    this.headers = "headers" in judged ? judged.headers : new Map();
    this.refusal = "refusal" in judged ? judged.refusal : null;
    const origin = this.headers.get("origin");
    if (origin !== undefined) allowOrigin(response, origin);
  }

  /** The body, if any, is not read: the connection ends with the answer. */
  refuse(refusal: Refusal, known: Partial<RequestSketch> & { course?: McpRequest["course"] } = {}): void {
    const { request, response, options } = this;
    const { course = null, ...rest } = known;
    if (!request.complete) response.setHeader("connection", "close");
    const sketch: RequestSketch = {
      callId: this.callId,
      receivedAtMs: this.atMs,
      receivedMonoMs: this.atMonoMs,
      httpMethod: plainText(request.method ?? "", 16),
      path: plainText(request.url ?? "", 256),
      server: this.server,
      method: null,
      era: null,
      revision: null,
      idText: null,
      userAgent: this.userAgent(),
      remoteAddress: this.remoteAddress(),
      ...rest,
    };
    const { mode, publicUrl } = options;
    options.refused(sketch, refusal, new ClientAnswer(response, { mode, publicUrl, server: this.server, course, ...pick(sketch) }));
  }

  userAgent(): string | null {
    const userAgent = this.headers.get("user-agent");
    return userAgent === undefined ? null : plainText(userAgent, 256);
  }

  remoteAddress(): string {
    return remoteAddressOf(this.request.socket.remoteAddress ?? "", this.headers, this.options.trustedProxies);
  }
}

function pick({ method, era, idText, callId }: RequestSketch) {
  return { method, era, idText, callId };
}

async function serveMcp(visit: Visit): Promise<void> {
  const { request, response, options, headers } = visit;
  if (request.method === "OPTIONS" && headers.has("origin")) return preflight(response);
  const head = judgeMcpHead(request.method ?? "", headers);
  if ("refusal" in head) return visit.refuse(head.refusal, { era: head.era });
  const read = head.httpMethod === "POST" ? await readBody(request, headers.get("content-length")) : EMPTY;
  if (read === null) return;
  if (!Buffer.isBuffer(read)) return visit.refuse(read, { era: head.era });
  const { message, refusal } =
    head.httpMethod === "POST" ? parseMessage(read, head.messageHeaders) : { message: { ...head.bodyless }, refusal: null };
  const { course, era, revision, method, idText } = message;
  if (refusal !== null) return visit.refuse(refusal, { era, revision, method, idText, course });
  const { mode, publicUrl } = options;
  const server = visit.server as ServerName;
  const answer = new ClientAnswer(response, { mode, publicUrl, server, method, course, era, idText, callId: visit.callId });
  options.live(mcpRequestOf(visit, server, head, message, read), answer);
}

function mcpRequestOf(
  visit: Visit,
  server: ServerName,
  head: McpHead,
  message: ReturnType<typeof parseMessage>["message"],
  body: Buffer,
): McpRequest {
  return {
    callId: visit.callId,
    receivedAtMs: visit.atMs,
    receivedMonoMs: visit.atMonoMs,
    server,
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
    body,
    authorization: visit.headers.get("authorization") ?? null,
    // Sessions and resumption do not exist in 2026-07-28: their headers are ignored.
    sessionId: message.era === "legacy" ? head.sessionId : null,
    lastEventId: message.era === "legacy" ? head.lastEventId : null,
    accept: head.accept,
    forwarded: head.forwarded,
    userAgent: visit.userAgent(),
    remoteAddress: visit.remoteAddress(),
  };
}

const EMPTY = Buffer.alloc(0);

function serveOther(visit: Visit, pages: ReturnType<typeof getRequestListener>): void {
  const { request, response, options } = visit;
  const target = request.url ?? "";
  if (OAUTH_ROUTE.test(target)) return options.oauth(request, response);
  if (!PLAIN_PATH.test(target) && !WELL_KNOWN.test(target)) return visit.refuse(refuse("route_unknown"));
  if (!/^\/(problems|\.well-known)\//.test(target) || options.pages.router.match("GET", target)[0].length === 0)
    return visit.refuse(refuse("route_unknown"));
  if (request.method !== "GET" && request.method !== "HEAD") return visit.refuse(refuse("http_method", { allow: "GET, HEAD" }));
  void pages(request, response);
}

function allowOrigin(response: ServerResponse, origin: string): void {
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", "mcp-session-id, www-authenticate");
  response.setHeader("vary", "Origin");
}

function preflight(response: ServerResponse): void {
  response
    .writeHead(204, {
      "access-control-allow-methods": "POST, GET, DELETE",
      "access-control-allow-headers":
        "authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id",
      "access-control-max-age": "600",
    })
    .end();
}

/** What a client chose, fit for a log and a record. */
function plainText(text: string, max: number): string {
  return text.slice(0, max).replace(/[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069]/gu, "");
}
