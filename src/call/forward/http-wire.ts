/** One HTTP request to an upstream and its answer as chunks: received bytes go out, nothing is decoded, nothing is followed. */
import type { IncomingHttpHeaders } from "node:http";
import { type Dispatcher, Pool } from "undici";
import type { McpRequest } from "../accept/request.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import { AnswerBody } from "./answer-body.ts";
import { assertDialable, guardedLookup } from "./outbound.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Below Node's five seconds on the other side, so that a request does not meet a socket that is being closed. */
const KEEP_ALIVE_MS = 4_000;

export type UpstreamAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: AnswerBody;
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

/** PEM texts; without `ca` the well-known authorities count. */
export type ClientTls = { readonly cert: PemText; readonly key: PemText; readonly ca: PemText | null };
type PemText = { reveal(): string };

export function createWire(address: string, connections: number, tls: ClientTls | null = null): Wire {
  const url = new URL(address);
  assertDialable(url);
  const pool = new Pool(url.origin, {
    connections,
    pipelining: 1,
    connect: { ...tlsOptions(tls), lookup: guardedLookup, timeout: CONNECT_TIMEOUT_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Every job has a deadline of its own; streams are idle for as long as they like.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const path = url.pathname + url.search;
  return {
    send: (method, headers, body, signal, departure = { left: false }) =>
      new Promise((resolve, reject) => {
        pool.dispatch({ method, path, headers, body }, new Crossing(signal, departure, resolve, reject));
      }),
    async close(graceMs) {
      const forced = setTimeout(() => void pool.destroy(), graceMs);
      await pool.close().catch(() => {});
      clearTimeout(forced);
    },
  };
}

function tlsOptions(tls: ClientTls | null): { readonly cert?: string; readonly key?: string; readonly ca?: string } {
  if (tls === null) return {};
  return { cert: tls.cert.reveal(), key: tls.key.reveal(), ...(tls.ca === null ? {} : { ca: tls.ca.reveal() }) };
}

/** One request on its way. undici starts it when it has a connection for it and is about to write it there. */
class Crossing implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal;
  readonly #departure: Departure;
  readonly #answered: (answer: UpstreamAnswer) => void;
  readonly #failed: (fault: unknown) => void;
  #controller: Dispatcher.DispatchController | null = null;
  #body: AnswerBody | null = null;

  constructor(signal: AbortSignal, departure: Departure, answered: (answer: UpstreamAnswer) => void, failed: (fault: unknown) => void) {
    this.#signal = signal;
    this.#departure = departure;
    this.#answered = answered;
    this.#failed = failed;
    signal.addEventListener("abort", this.#stop, { once: true });
    if (signal.aborted) this.#stop();
  }

  /** Who still waits for a connection must not wait longer than its deadline. */
  readonly #stop = (): void => {
    if (this.#controller === null) this.#failed(new Error("ended before it was sent"));
    else this.#controller.abort(new Error("ended"));
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#signal.aborted) controller.abort(new Error("ended before it was sent"));
    else this.#departure.left = true;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return;
    this.#body = new AnswerBody(controller);
    this.#answered({ status, headers, body: this.#body });
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#over(null);
  }

  onResponseError(_: Dispatcher.DispatchController | null, fault: Error): void {
    this.#over(fault);
    this.#failed(fault);
  }

  #over(fault: Error | null): void {
    this.#signal.removeEventListener("abort", this.#stop);
    this.#body?.end(fault);
  }
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

export function isPlainStream({ status, headers }: UpstreamAnswer): boolean {
  const type = headerOf(headers, "content-type")?.split(";")[0]?.trim().toLowerCase();
  return status === 200 && type === "text/event-stream" && (headers["content-encoding"] ?? "identity") === "identity";
}

/** Lets go of an answer whose rest nobody wants: its connection ends with it. */
export function letGo({ body }: UpstreamAnswer): void {
  body.destroy();
}

/** Reads a small rest to its end, so that the connection can serve again. */
export function readAway({ body }: UpstreamAnswer): Promise<void> {
  return body.readAway(REST_BYTES_MAX);
}

const REST_BYTES_MAX = 65_536;
