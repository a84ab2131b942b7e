/** The notifications of one request, on their way to its client: the first turns the answer into a stream. */
import type { Answer } from "../../accept/answer.ts";
import { messageEvent } from "../sse.ts";

export type Progress = {
  tell(notification: Buffer): void;
  /** Bytes of notifications that arrived. */
  readonly bytesIn: number;
};

export const EVENT_HEADERS = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };

/** What a client that does not read may leave in our memory. Progress beyond it is dropped: a slow client must not stop the other calls of its server. */
const STALLED_BYTES_MAX = 1_048_576;

/** `bytesMax`: what was held for notifications; beyond it they are dropped, too. */
export function createProgress(answer: Answer, bytesMax: number): Progress {
  let bytesIn = 0;
  let stalledBytes = 0;
  let waits = 0;
  return {
    get bytesIn() {
      return bytesIn;
    },
    tell(notification) {
      bytesIn += notification.length;
      if (stalledBytes > STALLED_BYTES_MAX || bytesIn > bytesMax) return;
      if (!answer.started) answer.head(200, EVENT_HEADERS);
      const event = messageEvent(notification);
      const taken = answer.piece(event);
      if (taken === undefined) return;
      waits += 1;
      stalledBytes += event.length;
      void taken.then(() => {
        waits -= 1;
        if (waits === 0) stalledBytes = 0;
      });
    },
  };
}
