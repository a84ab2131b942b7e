/** The requests that still wait for their answer, by connection: what a drain lets end, and what a parser's error must not interrupt. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

export class Unanswered {
  readonly #responses = new Set<ServerResponse>();
  readonly #bySocket = new WeakMap<Socket, Set<ServerResponse>>();
  #draining = false;

  get draining(): boolean {
    return this.#draining;
  }

  add(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const here = this.#bySocket.get(socket) ?? new Set();
    this.#bySocket.set(socket, here.add(response));
    this.#responses.add(response);
    if (this.#draining) response.setHeader("connection", "close");
    response.once("close", () => {
      this.#responses.delete(response);
      here.delete(response);
      // A stream that opened before the drain promised to keep its connection.
      if (this.#draining && here.size === 0) socket.end();
    });
  }

  /** True when an answer on this connection has promised to be the last. */
  isClosing(socket: Socket): boolean {
    for (const response of this.#bySocket.get(socket) ?? []) if (response.getHeader("connection") === "close") return true;
    return false;
  }

  /** True while an answer has begun or a whole request waits for one; false for a request whose body is what went wrong. */
  isBusy(socket: Socket): boolean {
    for (const response of this.#bySocket.get(socket) ?? []) if (response.headersSent || response.req.complete) return true;
    return false;
  }

  drain(): void {
    this.#draining = true;
    for (const response of this.#responses) if (!response.headersSent) response.setHeader("connection", "close");
  }
}
