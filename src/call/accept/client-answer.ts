/** The answer on a node:http response: back-pressure kept, a client that has gone noticed, an end exactly once. */
import type { ServerResponse } from "node:http";
import { type Refusal, WIRE } from "../../refusal.ts";
import type { Answer } from "./answer.ts";
import { faultBody, type ReplyContext, replyOf, rpcError } from "./reply.ts";

/** A client that reads nothing for this long is cut off. */
const STALL_MS = 60_000;

export class ClientAnswer implements Answer {
  readonly #response: ServerResponse;
  readonly #context: ReplyContext;
  readonly #gone = new AbortController();

  constructor(response: ServerResponse, context: ReplyContext) {
    this.#response = response;
    this.#context = context;
    response.once("close", () => {
      if (!response.writableFinished) this.#gone.abort();
    });
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.started) return;
    this.#response.writeHead(status, headers);
    // A stream's client waits for the head before the first event exists.
    if (headers["content-type"]?.startsWith("text/event-stream")) this.#response.flushHeaders();
  }

  piece(bytes: Uint8Array): Promise<void> | void {
    if (this.#response.destroyed || this.#response.write(bytes)) return;
    return new Promise((resolve) => {
      const response = this.#response;
      const stalled = setTimeout(() => response.destroy(), STALL_MS);
      const go = () => {
        clearTimeout(stalled);
        response.off("drain", go).off("close", go);
        resolve();
      };
      response.once("drain", go).once("close", go);
    });
  }

  last(bytes: Uint8Array | null): void {
    if (this.#response.writableEnded) return;
    if (bytes === null) this.#response.end();
    else this.#response.end(bytes);
  }

  refuse(refusal: Refusal): void {
    if (this.started) return this.#lastEvent(rpcError(refusal, WIRE[refusal.refused].http, this.#context));
    const { status, headers, body } = replyOf(refusal, this.#context);
    this.head(status, { ...headers, "content-length": String(Buffer.byteLength(body)) });
    this.last(Buffer.from(body));
  }

  fault(): void {
    const body = faultBody(this.#context);
    if (this.started) return this.#lastEvent(body);
    this.head(500, { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) });
    this.last(Buffer.from(body));
  }

  /** A stream without a request (GET) has no id to answer: it just ends. */
  #lastEvent(message: string): void {
    this.last(this.#context.idText === null ? null : Buffer.from(`event: message\ndata: ${message}\n\n`));
  }
}
