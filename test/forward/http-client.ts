/** A client's side of an HTTP upstream: requests as the door makes them, answers kept piece by piece. */
import { parseMessage } from "../../src/call/accept/parse.ts";
import type { Era, Listed, McpRequest } from "../../src/call/accept/request.ts";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import type { HoldLine } from "../../src/call/budget/reservation.ts";
import type { IssuedToken } from "../../src/call/exchange/issued-token.ts";
import { createHttpUpstream, type HttpUpstreamOptions } from "../../src/call/forward/http-upstream.ts";
import type { Outcome } from "../../src/call/forward/outcome.ts";
import type { Upstream } from "../../src/call/forward/upstream.ts";
import type { CallId, ServerName } from "../../src/ids.ts";
import { refuse } from "../../src/refusal.ts";
import { agentOf, KeptAnswer, NO_CREDENTIAL } from "./stdio-message.ts";

export const SERVER = "fixture" as ServerName;
export const MODERN_META = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };

export type Asking = {
  readonly era?: Era;
  readonly agent?: Agent;
  readonly issued?: IssuedToken;
  readonly visible?: (element: Listed) => boolean;
  readonly metersResult?: boolean;
  readonly bytesMax?: number;
  readonly lines?: readonly HoldLine[];
  readonly stopped?: AbortSignal;
  readonly answer?: KeptAnswer;
  /** Members of the request that the door takes from the HTTP head. */
  readonly head?: Partial<
    Pick<McpRequest, "httpMethod" | "authorization" | "view" | "sessionId" | "lastEventId" | "forwarded" | "userAgent">
  >;
};

/** An agent whose token lives for an hour, so that a stream of its own does too. */
export function alice(expiresAtMs = Date.now() + 3_600_000): Agent {
  return { ...agentOf("alice"), expiresAtMs };
}

export function upstreamAt(url: string, options: Partial<HttpUpstreamOptions> = {}): Upstream {
  return createHttpUpstream({
    name: SERVER,
    url,
    timeoutMs: 20_000,
    maxResultBytes: 4_194_304,
    tls: null,
    now: Date.now,
    mono: () => performance.now(),
    reissue: () => refuse("exchange_failed"),
    sessions: {
      seal: (_, __, sessionId) => `sealed-${sessionId}`,
      eventId: (_, __, eventId) => eventId,
      isCut: () => false,
      isKept: () => false,
      isWithheld: () => false,
      underWay: () => null,
    },
    ...options,
  });
}

/** `message` is an object, or the exact text of a body; null for GET and DELETE. */
export function send(upstream: Upstream, message: object | string | null, asking: Asking = {}): Promise<Outcome> {
  return upstream.forward({
    request: requestOf(message, asking),
    agent: asking.agent ?? alice(),
    issued: asking.issued ?? NO_CREDENTIAL,
    visible: asking.visible ?? null,
    held: { lines: asking.lines ?? [], metersResult: asking.metersResult ?? false, bytesMax: asking.bytesMax ?? Number.POSITIVE_INFINITY },
    answer: asking.answer ?? new KeptAnswer(),
    stopped: asking.stopped ?? new AbortController().signal,
  });
}

export function request(method: string, params: object = {}, id: number | string = 1): object {
  return { jsonrpc: "2.0", id, method, params };
}

export function requestOf(message: object | string | null, { era = "modern", head = {} }: Asking = {}): McpRequest {
  const body = Buffer.from(message === null ? "" : typeof message === "string" ? message : JSON.stringify(stamped(message, era)));
  const parsed = message === null ? null : parseMessage(body, headersOf(body, era));
  if (parsed !== null && parsed.refusal !== null) throw new Error(`the body is refused: ${parsed.refusal.note}`);
  const bodyless = { course: head.httpMethod === "GET" ? "stream" : "end", era, revision: null, method: null, idText: null } as const;
  return {
    callId: "call_1" as CallId,
    receivedAtMs: Date.now(),
    receivedMonoMs: performance.now(),
    server: SERVER,
    httpMethod: "POST",
    ...(parsed?.message ?? {
      ...bodyless,
      idSpan: null,
      target: null,
      targetSpan: null,
      argumentsSpan: null,
      progressTokenSpan: null,
      followUp: null,
      idempotencyKey: null,
    }),
    view: null,
    body,
    authorization: null,
    sessionId: null,
    lastEventId: null,
    accept: "application/json, text/event-stream",
    forwarded: {},
    userAgent: null,
    remoteAddress: "127.0.0.1",
    ...head,
  };
}

function headersOf(body: Buffer, era: Era) {
  if (era === "legacy") return { protocolVersion: "2025-11-25", mcpMethod: null, mcpName: null };
  const { method, params } = JSON.parse(body.toString()) as { method: string; params?: { name?: string; uri?: string } };
  return { protocolVersion: "2026-07-28", mcpMethod: method, mcpName: params?.name ?? params?.uri ?? null };
}

/** In 2026-07-28 every request says of itself what it speaks. */
function stamped(message: object, era: Era): object {
  if (era === "legacy") return message;
  const { params = {} } = message as { params?: { _meta?: object } };
  return { ...message, params: { ...params, _meta: { ...MODERN_META, ...params._meta } } };
}
