/** The answer on a node:http response: back-pressure kept, a client that has gone noticed, an end exactly once. */
import type { ServerResponse } from "node:http";
import { type Refusal, WIRE } from "../../refusal.ts";
import type { Answer } from "./answer.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { faultBody, type ReplyContext, replyOf, rpcError } from "./reply.ts";

/** How long an answer to an unread body waits for the client to stop sending: closing earlier resets the answer away. */
const LINGER_MS = 1_000;

/** A comment, which no client reads: bytes for whoever stands between and closes what is silent (HTML, section 9.2.7). */
const KEEP_ALIVE = Buffer.from(": keep-alive\n\n");

/** How a connection is kept while an answer is under way. */
export type Keeping = {
  /** A client that reads nothing for this long is cut off. */
  readonly stallMs: number;
  /** What an open stream says something to. */
  readonly heartbeat: Heartbeat;
};

export class ClientAnswer implements Answer {
  readonly #response: ServerResponse;
  readonly #context: ReplyContext;
  readonly #keeping: Keeping;
  #gone: AbortController | null = null;
  #closed = false;
  #streams = false;

  constructor(response: ServerResponse, context: ReplyContext, keeping: Keeping) {
    this.#response = response;
    this.#context = context;
    this.#keeping = keeping;
    response.once("close", () => {
      this.#closed = true;
      if (!response.writableFinished) this.#gone?.abort();
    });
    // Writing to a client that left is no fault of anybody's.
    response.on("error", () => {});
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  /** Made when somebody listens: most answers end before anybody asks. */
  get gone(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#closed && !this.#response.writableFinished) this.#gone.abort();
    return this.#gone.signal;
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.started || this.#closed) return;
    this.#streams = headers["content-type"]?.startsWith("text/event-stream") ?? false;
    this.#response.writeHead(status, headers);
    // A stream's client waits for the head before the first event exists.
    if (!this.#streams) return;
    this.#response.flushHeaders();
    this.#response.once(
      "close",
      this.#keeping.heartbeat.add(() => this.#beat()),
    );
  }

  piece(bytes: Uint8Array): Promise<void> | void {
    const response = this.#response;
    if (this.#closed || response.writableEnded || response.write(bytes)) return;
    this.#watch();
    return new Promise((resolve) => {
      const go = () => {
        response.off("drain", go).off("close", go);
        response.socket?.setTimeout(0);
        resolve();
      };
      response.once("drain", go).once("close", go);
    });
  }

  last(bytes: Uint8Array | null): void {
    const response = this.#response;
    if (response.writableEnded || this.#closed) return;
    if (!response.req.complete) return this.#linger(bytes);
    if (bytes === null) response.end();
    else response.end(bytes);
    if (response.writableLength > 0) this.#watch();
  }

  refuse(refusal: Refusal, to: Pick<ReplyContext, "idText" | "callId"> = this.#context): void {
    const context = { ...this.#context, ...to };
    if (this.started) return this.#lastEvent(rpcError(refusal, WIRE[refusal.refused].http, context), to.idText);
    const { status, headers, body } = replyOf(refusal, context);
    this.head(status, { ...headers, "content-length": String(Buffer.byteLength(body)) });
    this.last(Buffer.from(body));
  }

  fault(): void {
    const body = faultBody(this.#context);
    if (this.started) return this.#lastEvent(body, this.#context.idText);
    this.head(500, { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) });
    this.last(Buffer.from(body));
  }

  /** A stream without a request (GET) has no id to answer: it just ends. Half a JSON answer can only be cut. */
  #lastEvent(message: string, idText: string | null): void {
    if (this.#response.writableEnded) return;
    if (!this.#streams) this.#response.destroy();
    else this.last(idText === null ? null : Buffer.from(`event: message\ndata: ${message}\n\n`));
  }

  /** node restarts this timer whenever the socket takes bytes; at its end it destroys the socket. Idle keep-alive sets its own. */
  #watch(): void {
    this.#response.socket?.setTimeout(this.#keeping.stallMs);
  }

  /** Pieces are whole events, so this is never in the middle of one. Whose buffer holds something has bytes to come. */
  #beat(): void {
    const response = this.#response;
    if (!this.#closed && !response.writableEnded && response.writableLength === 0) response.write(KEEP_ALIVE);
  }

  #linger(bytes: Uint8Array | null): void {
    const response = this.#response;
    if (bytes !== null) response.write(bytes);
    const end = () => {
      clearTimeout(timer);
      response.req.off("end", end).off("close", end);
      response.end();
    };
    const timer = setTimeout(end, LINGER_MS);
    response.req.once("end", end).once("close", end).resume();
  }
}
