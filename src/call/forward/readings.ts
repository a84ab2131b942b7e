/** Who reads the answer to a request: its own call, or, up to 2025-11-25, a stream on which its client resumes it. What comes there is the call's first. */
import type { McpRequest } from "../accept/request.ts";
import type { Reservation } from "../budget/reservation.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { letGo, type UpstreamAnswer } from "./http-wire.ts";
import type { SseEvent } from "./sse.ts";
import { tagOf } from "./stream-tag.ts";

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
  readonly #held: Pick<Reservation, "bytesMax"> | null;
  #passed: number;
  #stream: UpstreamAnswer | null = null;
  #taker: symbol | null = null;
  #answer: SseEvent | null = null;
  #changed = Promise.withResolvers<void>();

  constructor(request: Pick<McpRequest, "body">, held: Pick<Reservation, "bytesMax"> | null) {
    this.#passed = request.body.length;
    this.#held = held;
  }

  get bytesMax(): number {
    return this.#held?.bytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Nobody has it but its call, and nothing has answered it. */
  get isOwn(): boolean {
    return this.#taker === null && this.#answer === null;
  }

  /** False: it is not its call's to read now, and `stream` is let go of. */
  begins(stream: UpstreamAnswer): boolean {
    if (!this.isOwn) letGo(stream);
    else this.#stream = stream;
    return this.isOwn;
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

  /** Its client goes on with it by another request: servers keep one stream of an answer. Whoever takes it last has it. */
  take(): Taken {
    const taker = Symbol();
    this.#taker = taker;
    this.wasTaken = true;
    this.#stop();
    return {
      reading: this,
      release: () => {
        if (this.#taker !== taker) return;
        this.#taker = null;
        this.#change();
      },
    };
  }

  /** Another stream has brought the answer. */
  give(event: SseEvent): void {
    this.#answer ??= event;
    this.#stop();
    this.#change();
  }

  /** What has answered it elsewhere, once it has; null: it is its call's own, or the job has ended. */
  async elsewhere(deadline: Deadline): Promise<SseEvent | null> {
    while (this.#answer === null && this.#taker !== null && deadline.ending === null) await beforeEnd(deadline, this.#changed.promise);
    return this.#answer;
  }

  #stop(): void {
    if (this.#stream !== null) letGo(this.#stream);
    this.#stream = null;
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

export type Taken = { readonly reading: Reading; release(): void };

type Asked = { readonly request: McpRequest; readonly agent: { readonly principal: string } };

export type Readings = {
  /** Until it is disposed of, others find it. */
  open(job: Asked, held: Pick<Reservation, "bytesMax"> | null): { readonly reading: Reading } & Disposable;
  /** What this GET resumes, where its call is under way here. */
  resumed(job: Asked): Reading | null;
  /** What a response under this id is the answer to, where it is under way in the session of this stream. */
  answeredBy(job: Asked, idText: string): Reading | null;
};

/** Of one server. */
export function createReadings(): Readings {
  const readings = new Map<string, Reading>();
  const keyOf = ({ agent, request }: Asked, tag: string) => JSON.stringify([request.sessionId, agent.principal, tag]);
  return {
    open(job, held) {
      const reading = new Reading(job.request, held);
      // In 2026-07-28 there is no other stream.
      const key = job.request.era === "legacy" && job.request.idText !== null ? keyOf(job, tagOf(job.request.idText)) : null;
      if (key !== null) readings.set(key, reading);
      return {
        reading,
        [Symbol.dispose]() {
          if (key !== null && readings.get(key) === reading) readings.delete(key);
        },
      };
    },
    resumed: (job) => (job.request.resumes === undefined ? null : (readings.get(keyOf(job, job.request.resumes)) ?? null)),
    answeredBy: (job, idText) => readings.get(keyOf(job, tagOf(idText))) ?? null,
  };
}
