/** Goes on with a stream that its server has ended before its answer, as up to 2025-11-25 a client may: by GET, from the last event on. */
import type { McpRequest } from "../accept/request.ts";
import { beforeEnd, type Deadline } from "./deadline.ts";
import { isPlainStream, letGo, type UpstreamAnswer } from "./http-wire.ts";
import type { Reading } from "./readings.ts";

/** Null: the server does not go on with it, its client has taken it over, or the job has ended. */
export type Resume = (reading: Reading) => Promise<UpstreamAnswer | null>;

/** What official SDKs wait where the server says nothing. */
const RETRY_DEFAULT_MS = 1_000;
/** A server that ends each stream at once and wants no pause would be asked without end. */
const RETRY_MIN_MS = 20;
const RETRY_MAX_MS = 30_000;
/** In a row without a stream, each after twice the pause: a server that is restarted meanwhile is found again, one that is gone is not waited for. */
const TRIES_MAX = 6;
/** Beside 5xx, what may be otherwise in a moment: the stream that has just ended is not yet over there, or too much is asked. */
const PASSING: ReadonlySet<number> = new Set([409, 429]);

type Send = (request: McpRequest, signal: AbortSignal) => Promise<UpstreamAnswer>;

export function resumer(request: McpRequest, send: Send, deadline: Deadline): Resume {
  return async (reading) => {
    const firstMs = Math.max(reading.retryMs ?? RETRY_DEFAULT_MS, RETRY_MIN_MS);
    for (let tries = 0; tries < TRIES_MAX && deadline.ending === null; tries++) {
      await pause(Math.min(firstMs * 2 ** tries, RETRY_MAX_MS), deadline, reading);
      if (!reading.isOwn) return null;
      // What its client has got meanwhile is not asked for any more.
      const abandoned = new AbortController();
      const signal = AbortSignal.any([deadline.signal, abandoned.signal]);
      const asked = send({ ...request, httpMethod: "GET", lastEventId: reading.lastEventId }, signal).catch(() => null);
      const answer = await reading.unlessDone(asked);
      if (reading.isDone) {
        abandoned.abort();
        return null;
      }
      if (answer === null) continue;
      if (isPlainStream(answer)) return answer;
      letGo(answer);
      if (answer.status < 500 && !PASSING.has(answer.status)) return null;
    }
    return null;
  };
}

async function pause(ms: number, deadline: Deadline, reading: Reading): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await beforeEnd(deadline, reading.unlessDone(promise));
  clearTimeout(timer);
}
