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

export type Wire = {
  send(
    method: "POST" | "GET" | "DELETE",
    headers: Record<string, string>,
    body: Buffer | null,
    signal: AbortSignal,
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
  });
  const path = url.pathname + url.search;
  return {
    async send(method, headers, body, signal) {
      const { statusCode, headers: answered, body: stream } = await pool.request({ method, path, headers, body, signal });
      return { status: statusCode, headers: answered, body: stream };
    },
    async close(graceMs) {
      const forced = setTimeout(() => void pool.destroy(), graceMs);
      await pool.close().catch(() => {});
      clearTimeout(forced);
    },
  };
}

/** Built from validated fields only: what a client sent beside them ends here. */
export function requestHeaders(request: McpRequest, issued: IssuedToken): Record<string, string> {
  const headers: Record<string, string> = { ...request.forwarded, "accept-encoding": "identity", ...issued.headers };
  headers.accept = request.httpMethod === "POST" ? "application/json, text/event-stream" : "text/event-stream";
  if (request.httpMethod === "POST") headers["content-type"] = "application/json";
  if (request.sessionId !== null) headers["mcp-session-id"] = request.sessionId;
  if (request.lastEventId !== null) headers["last-event-id"] = request.lastEventId;
  return headers;
}

/** True where the failure came before a connection stood: then not a byte of the request has left. */
export function neverSent(fault: unknown): boolean {
  const code = fault instanceof Error && "code" in fault ? String(fault.code) : "";
  return NEVER_SENT.has(code) || /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_SSL)/.test(code);
}

const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_DESTROYED",
  "UND_ERR_CLOSED",
]);

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
