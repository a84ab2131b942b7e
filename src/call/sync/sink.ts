/** Sends what the journal holds to one sink, in order, at least once, from where it last stopped. */
import type { StoredEvent } from "../record/event-query.ts";
import { cloudEventOf } from "./cloudevents.ts";

export type SinkOptions = {
  /** Stable name of the sink's position: its URL. */
  readonly name: string;
  readonly url: string;
  /** Reveals the bearer token at the moment of use, or null. */
  readonly bearer: (() => string) | null;
  readonly everyMs: number;
  readonly batch: number;
  readonly source: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly eventsAfter: (after: number, limit: number) => Promise<StoredEvent[]>;
  readonly cursor: () => Promise<{ sequence: number; rejected: number }>;
  readonly moveCursor: (sequence: number, rejected: number) => Promise<void>;
  readonly random: () => number;
  readonly warn: (facts: Readonly<Record<string, string | number>>, message: string) => void;
};

export type RunningSink = {
  /** Sends what is there now; resolves when the sink has it all, or rejects with why not. */
  flush(): Promise<void>;
  stop(): Promise<void>;
};

const BACKOFF_MAX_MS = 60_000;
const ANSWER_TIMEOUT_MS = 10_000;
/** Statuses that say "this batch is bad", not "I am in trouble". */
const BATCH_IS_BAD = new Set([400, 413, 415, 422]);

export function startSink(options: SinkOptions): RunningSink {
  let failures = 0;
  let stopped = false;
  let timer: NodeJS.Timeout | null = null;
  let running: Promise<void> | null = null;

  const round = (): Promise<void> => {
    running ??= drain(options, () => stopped).finally(() => {
      running = null;
    });
    return running;
  };
  const schedule = () => {
    if (stopped) return;
    // Full jitter: gateways that lost a sink together must not return together.
    const backoffMs = failures === 0 ? 0 : options.random() * Math.min(BACKOFF_MAX_MS, 1_000 * 2 ** failures);
    timer = setTimeout(tick, options.everyMs + backoffMs);
    timer.unref();
  };
  const tick = async () => {
    try {
      await round();
      failures = 0;
    } catch (fault) {
      failures = Math.min(failures + 1, 16);
      options.warn(
        { sink: options.name, failures, why: fault instanceof Error ? fault.message : "unknown" },
        "usage events wait: the sink does not take them",
      );
    }
    schedule();
  };
  schedule();
  return {
    flush: round,
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      await running?.catch(() => {});
    },
  };
}

async function drain(options: SinkOptions, stopped: () => boolean): Promise<void> {
  let { sequence } = await options.cursor();
  while (!stopped()) {
    const events = await options.eventsAfter(sequence, options.batch);
    const last = events.at(-1);
    if (last === undefined) return;
    const rejected = await deliver(events, options);
    await options.moveCursor(last.sequence, rejected);
    sequence = last.sequence;
  }
}

/** How many events the sink refused for good: a bad batch is halved until the one bad event is found and set aside. */
async function deliver(events: readonly StoredEvent[], options: SinkOptions): Promise<number> {
  const status = await post(events, options);
  if (status >= 200 && status < 300) return 0;
  if (!BATCH_IS_BAD.has(status)) throw new Error(`the sink answered ${status}`);
  const [only] = events;
  if (events.length === 1 && only !== undefined) {
    options.warn({ sink: options.name, status, event: `${only.call_id}.settled` }, "the sink refuses this usage event: set aside");
    return 1;
  }
  const middle = Math.ceil(events.length / 2);
  return (await deliver(events.slice(0, middle), options)) + (await deliver(events.slice(middle), options));
}

/** What a sink answers beyond its status is never read: it has no say here. */
async function post(events: readonly StoredEvent[], options: SinkOptions): Promise<number> {
  const answer = await options.fetch(options.url, {
    method: "POST",
    headers: {
      "content-type": "application/cloudevents-batch+json",
      ...(options.bearer === null ? {} : { authorization: `Bearer ${options.bearer()}` }),
    },
    body: JSON.stringify(events.map((event) => cloudEventOf(event, options.source))),
    redirect: "manual",
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  });
  await answer.body?.cancel();
  return answer.status;
}
