/** One HTTP request to an upstream and its answer as chunks: received bytes go out, nothing is decoded, nothing is followed. */
import { type Dispatcher, Pool } from "undici";
import type { McpRequest } from "../accept/request.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import { assertDialable, guardedLookup } from "./outbound.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Below Node's five seconds on the other side, so that a request does not meet a socket that is being closed. */
const KEEP_ALIVE_MS = 4_000;

export type UpstreamAnswer = {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData["headers"];
  readonly body: Dispatcher.ResponseData["body"];
};

/** `left` is false as long as not a byte of the request has gone out: then it is certain that nothing ran. */
export type Departure = { left: boolean };

export type Wire = {
  send(
    method: "POST" | "GET" | "DELETE",
    headers: Record<string, string>,
    body: Buffer | null,
    signal: AbortSignal,
    departure?: Departure,
  ): Promise<UpstreamAnswer>;
  close(graceMs: number): Promise<void>;
};

export function createWire(address: string, connections: number): Wire {
  const url = new URL(address);
  assertDialable(url);
  const pool = new Pool(url.origin, {
    connections,
    pipelining: 1,
    connect: { lookup: guardedLookup, timeout: CONNECT_TIMEOUT_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Every job has a deadline of its own; streams are idle for as long as they like.
    headersTimeout: 0,
    bodyTimeout: 0,
  }).compose(watchDeparture);
  const path = url.pathname + url.search;
  return {
    async send(method, headers, body, signal, departure = { left: false }) {
      const answer = pool.request({ method, path, headers, body, signal, opaque: departure });
      const { statusCode, headers: answered, body: stream } = await unlessAborted(answer, departure, signal);
      return { status: statusCode, headers: answered, body: stream };
    },
    async close(graceMs) {
      const forced = setTimeout(() => void pool.destroy(), graceMs);
      await pool.close().catch(() => {});
      clearTimeout(forced);
    },
  };
}

/** undici starts a request when it has a connection for it and is about to write it there. */
function watchDeparture(dispatch: Dispatcher.Dispatch): Dispatcher.Dispatch {
  return (options: Dispatcher.DispatchOptions & { opaque?: unknown; signal?: unknown }, handler) => {
    const { opaque: departure, signal } = options as { opaque: Departure; signal: AbortSignal };
    const start = handler.onRequestStart;
    handler.onRequestStart = (controller, context) => {
      departure.left ||= !signal.aborted;
      start?.call(handler, controller, context);
    };
    return dispatch(options, handler);
  };
}

/** undici hears an abort from the start of a request on; who still waits for a connection must not wait longer than its deadline. */
function unlessAborted<T>(answer: Promise<T>, departure: Departure, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      if (!departure.left) reject(new Error("ended before it was sent"));
    };
    signal.addEventListener("abort", leave, { once: true });
    void answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
    if (signal.aborted) leave();
  });
}

/** Built from validated fields only: what a client sent beside them ends here. */
export function requestHeaders(request: McpRequest, issued: IssuedToken): Record<string, string> {
  const headers: Record<string, string> = { ...request.forwarded, ...issued.headers };
  headers["accept-encoding"] = "identity";
  headers.accept = request.httpMethod === "POST" ? "application/json, text/event-stream" : "text/event-stream";
  if (request.httpMethod === "POST") headers["content-type"] = "application/json";
  if (request.sessionId !== null) headers["mcp-session-id"] = request.sessionId;
  if (request.lastEventId !== null) headers["last-event-id"] = request.lastEventId;
  return headers;
}

/** One value of a header, or null. Several values of one that must be single are as good as none. */
export function headerOf(headers: UpstreamAnswer["headers"], name: string): string | null {
  const value = headers[name];
  return typeof value === "string" ? value : null;
}

/** Lets go of an answer whose rest nobody wants: its connection ends with it. */
export function letGo({ body }: UpstreamAnswer): void {
  // undici says an abort as an error of the stream; here it is meant.
  body.on("error", () => {}).destroy();
}

/** Reads a small rest to its end, so that the connection can serve again. */
export async function readAway({ body }: UpstreamAnswer): Promise<void> {
  await body.dump({ limit: REST_BYTES_MAX }).catch(() => {});
}

const REST_BYTES_MAX = 65_536;
