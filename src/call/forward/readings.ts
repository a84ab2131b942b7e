/** Who reads the answer to a request: its own call, or, up to 2025-11-25, a stream on which its client resumes it. What comes there is the call's first. */
import type { Answer, Resumed } from "../accept/answer.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Reservation } from "../budget/reservation.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { letGo, type UpstreamAnswer } from "./http-wire.ts";
import { sameId } from "./message.ts";
import type { SseEvent } from "./sse.ts";

type ReadingOf = {
  readonly request: Pick<McpRequest, "body" | "idText" | "callId" | "course">;
  readonly held: Pick<Reservation, "bytesMax"> | null;
  readonly answer: Pick<Answer, "gone">;
};

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
  /** It asks what a task has come to. */
  readonly isLook: boolean;
  /** Whose answer it is. */
  readonly of: Resumed;
  readonly #held: Pick<Reservation, "bytesMax"> | null;
  #passed: number;
  #stream: UpstreamAnswer | null = null;
  #wake: (() => void) | null = null;
  /** GETs of its client that go on with it, or ask to. */
  #others = 0;
  #isOver = false;
  readonly #answer: Pick<Answer, "gone">;
  #given: SseEvent | null = null;
  #changed = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<void>();

  constructor({ request, held, answer }: ReadingOf) {
    const { body, idText, callId } = request;
    this.isLook = request.course === "task";
    this.#answer = answer;
    this.#passed = body.length;
    this.of = { idText: idText ?? "null", callId };
    this.#held = held;
  }

  get bytesMax(): number {
    return this.#held?.bytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Nobody has it but its call, or is about to, and nothing has answered it. */
  get isOwn(): boolean {
    return this.#others === 0 && !this.isDone;
  }

  /** It has come, or may come no further. */
  get isDone(): boolean {
    return this.#given !== null || this.#isOver;
  }

  /** As long as it takes, or until it is done. */
  async unlessDone<T>(awaited: Promise<T>): Promise<T | null> {
    return await Promise.race([awaited, this.#done.promise.then(() => null)]);
  }

  /** Its client no longer reads it where it asked. */
  get isLeft(): boolean {
    return this.#answer.gone.aborted;
  }

  /** More came than was held on a budget of bytes, here or there. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** False: it has come already, and `stream` is let go of. */
  begins(stream: UpstreamAnswer): boolean {
    if (this.isDone) {
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
    this.#wake = null;
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
  ask(): Disposable {
    this.#others += 1;
    return {
      [Symbol.dispose]: () => {
        this.#others -= 1;
        this.#change();
      },
    };
  }

  /** The server has answered with a stream. What the call itself reads goes on, and may bring the answer; not where nobody takes it. */
  take(): void {
    this.wasTaken = true;
    if (this.#wake !== null) this.letGo();
  }

  /** The stream that its call reads ends. */
  letGo(): void {
    if (this.#stream !== null) letGo(this.#stream);
    this.#stream = null;
    this.#wake?.();
  }

  /** The stream that its client has taken has brought the answer. */
  give(event: SseEvent): void {
    this.#given ??= event;
    this.#end();
  }

  /** What comes next is paid for by nothing. */
  exceed(): void {
    this.#isOver = true;
    this.#end();
  }

  #end(): void {
    this.letGo();
    this.#done.resolve();
    this.#change();
  }

  /** What has answered it elsewhere, once it has; null: it is its call's own, or the job has ended. */
  async elsewhere(deadline: Deadline): Promise<SseEvent | null> {
    while (!this.isDone && !this.isOwn && deadline.ending === null) await beforeEnd(deadline, this.#changed.promise);
    return this.#given;
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
