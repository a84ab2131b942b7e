/** The body of an upstream's answer: chunks as they come, held back while nobody reads them. */

// A Readable, its iterator and its end-of-stream watch cost 20 us of a call's 600; what is needed of them is this.

/** What undici lets a reader do with the connection. */
export type Flow = { pause(): void; resume(): void; abort(reason: Error): void };

/** Chunks that wait for a slow reader: one read of a socket. */
const WAITING_BYTES_MAX = 65_536;

export class AnswerBody implements AsyncIterable<Buffer> {
  readonly #flow: Flow;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #paused = false;
  #ended = false;
  #fault: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  push(chunk: Buffer): void {
    if (this.#ended) return;
    this.#waitingBytes += chunk.length;
    this.#waiting.push(chunk);
    if (this.#waitingBytes >= WAITING_BYTES_MAX) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#notify();
  }

  end(fault: Error | null = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#fault = fault;
    this.#notify();
  }

  /** Lets go of what nobody wants: the connection of an answer that has not ended ends with it. */
  destroy(): void {
    this.#waiting = [];
    if (this.#ended) return;
    this.end(new Error("the answer was let go"));
    this.#flow.abort(new Error("the answer was let go"));
  }

  /** A reader that stops early lets go of the rest. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        for (const chunk of this.#take()) yield chunk;
        if (this.#waiting.length > 0) continue;
        if (this.#fault !== null) throw this.#fault;
        if (this.#ended) return;
        await this.#more();
      }
    } finally {
      this.destroy();
    }
  }

  /** All of it, or a fault where it breaks off or is larger. A short answer has come by the time it is asked for. */
  async whole(bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      for (const chunk of this.#take()) {
        bytes += chunk.length;
        chunks.push(chunk);
      }
      if (bytes > bytesMax) {
        this.destroy();
        throw new Error("the answer is too large");
      }
      if (this.#fault !== null) throw this.#fault;
      if (this.#ended) return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      await this.#more();
    }
  }

  /** Reads a small rest to its end, so that the connection can serve again. Never rejects. */
  async readAway(bytesMax: number): Promise<void> {
    await this.whole(bytesMax).catch(() => {});
  }

  #take(): Buffer[] {
    const taken = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (this.#paused) {
      this.#paused = false;
      this.#flow.resume();
    }
    return taken;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
