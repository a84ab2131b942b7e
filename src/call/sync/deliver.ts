/** Hands one batch over: taken, or refused for good event by event, or a fault that says to come back later. */
import type { StoredEvent } from "../record/event-query.ts";
import type { SinkRefusal } from "../record/sink-cursor.ts";
import { cloudEventOf } from "./cloudevents.ts";
import type { SinkOptions } from "./sink.ts";

export type Way = Pick<SinkOptions, "name" | "url" | "bearer" | "source" | "fetch" | "warn">;

const ANSWER_TIMEOUT_MS = 10_000;
/** Statuses that say "this content is bad" (or too much of it), not "I am in trouble" nor "you may not". */
const CONTENT_IS_BAD = new Set([400, 413, 422]);

/** A bad batch is halved until the bad events are found and set aside, so that they hold nobody up. Throws on any other answer. */
export async function deliver(events: readonly StoredEvent[], way: Way, stopping: AbortSignal): Promise<SinkRefusal[]> {
  const status = await post(events, way, stopping);
  if (status >= 200 && status < 300) return [];
  if (!CONTENT_IS_BAD.has(status)) throw new Error(`the sink answered ${status}`);
  const [first, second] = events;
  if (first !== undefined && second === undefined) {
    way.warn({ sink: way.name, status, event: first.id }, "the sink refuses this usage event: set aside, it stays in the journal");
    return [{ sequence: first.sequence, status }];
  }
  const middle = Math.ceil(events.length / 2);
  const left = await deliver(events.slice(0, middle), way, stopping);
  return [...left, ...(await deliver(events.slice(middle), way, stopping))];
}

/** What a sink answers beyond its status is never read: it has no say here. */
async function post(events: readonly StoredEvent[], way: Way, stopping: AbortSignal): Promise<number> {
  const answer = await way.fetch(way.url, {
    method: "POST",
    headers: {
      "content-type": "application/cloudevents-batch+json",
      ...(way.bearer === null ? {} : { authorization: `Bearer ${way.bearer()}` }),
    },
    body: JSON.stringify(events.map((event) => cloudEventOf(event, way.source))),
    redirect: "manual",
    signal: AbortSignal.any([stopping, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
  });
  await answer.body?.cancel().catch(() => {});
  return answer.status;
}
