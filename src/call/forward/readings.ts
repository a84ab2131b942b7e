/** Who reads the answer to a request: its own call, or, up to 2025-11-25, a stream on which its client resumes it. What comes there is the call's first. */
import type { Resumed } from "../accept/answer.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Reservation } from "../budget/reservation.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { letGo, type UpstreamAnswer } from "./http-wire.ts";
import { sameId } from "./message.ts";
import type { SseEvent } from "./sse.ts";

/** All that has come of one answer, over all streams that brought it. */
export class Reading {
  bytesIn = 0;
  /** The server's own; null: there is nothing to resume it by. */
  lastEventId: string | null = null;
  retryMs: number | null = null;
  isResumed = false;
  isPrimed = false;
  /** Its client has resumed it at least once. */
  wasTaken = false;
  /** The event that answers it, as the client gets it once it is settled. */
  answer: Buffer | null = null;
  /** Whose answer it is. */
  readonly of: Resumed;
  readonly #held: Pick<Reservation, "bytesMax"> | null;
  #passed: number;
  #stream: UpstreamAnswer | null = null;
  #wake: () => void = () => {};
  /** GETs of its client that the server has not answered yet. */
  #asking = 0;
  #taker: symbol | null = null;
  #given: SseEvent | null = null;
  #changed = Promise.withResolvers<void>();

  constructor({ body, idText, callId }: Pick<McpRequest, "body" | "idText" | "callId">, held: Pick<Reservation, "bytesMax"> | null) {
    this.#passed = body.length;
    this.of = { idText: idText ?? "null", callId };
    this.#held = held;
  }

  get bytesMax(): number {
    return this.#held?.bytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Nobody has it but its call, or is about to, and nothing has answered it. */
  get isOwn(): boolean {
    return this.#asking === 0 && this.#taker === null && this.#given === null;
  }

  /** False: it is not its call's to read now, and `stream` is let go of. */
  begins(stream: UpstreamAnswer): boolean {
    if (!this.isOwn) {
      letGo(stream);
      return false;
    }
    this.#stream = stream;
    return true;
  }

  /** Until its client takes more, or its call is to read no further. */
  async stall(stalled: Promise<void>): Promise<void> {
    if (this.#stream === null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await Promise.race([stalled, promise]);
  }

  heard({ id, retryMs }: SseEvent): void {
    if (id !== null) this.lastEventId = id || null;
    this.retryMs = retryMs ?? this.retryMs;
  }

  /** Whether so many bytes more may pass before the answer is settled; those that do are counted. */
  passes(bytes: number): boolean {
    if (this.#passed + bytes > this.bytesMax) return false;
    this.#passed += bytes;
    return true;
  }

  isAnsweredBy(idText: string): boolean {
    return sameId(idText, this.of.idText);
  }

  /** Its client asks the server for it: servers keep one stream of an answer, so meanwhile its call begins no other. */
  ask(): Asking {
    const taker = Symbol();
    let isAsking = true;
    this.#asking += 1;
    const asked = () => {
      if (isAsking) this.#asking -= 1;
      isAsking = false;
    };
    return {
      letGo: () => this.#stop(),
      take: () => {
        asked();
        this.#taker = taker;
        this.wasTaken = true;
        this.#stop();
      },
      [Symbol.dispose]: () => {
        asked();
        if (this.#taker === taker) this.#taker = null;
        this.#change();
      },
    };
  }

  /** The stream that its client has taken has brought the answer. */
  give(event: SseEvent): void {
    this.#given ??= event;
    this.#change();
  }

  /** What has answered it elsewhere, once it has; null: it is its call's own, or the job has ended. */
  async elsewhere(deadline: Deadline): Promise<SseEvent | null> {
    while (this.#given === null && !this.isOwn && deadline.ending === null) await beforeEnd(deadline, this.#changed.promise);
    return this.#given;
  }

  #stop(): void {
    if (this.#stream !== null) letGo(this.#stream);
    this.#stream = null;
    this.#wake();
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

export type Asking = Disposable & {
  /** The stream that its call reads ends: the server takes it for an open one. */
  letGo(): void;
  /** The server has answered with a stream. */
  take(): void;
};
