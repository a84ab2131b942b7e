/** Sends what the journal holds to one sink, in order, at least once, from where it last stopped; calls never wait for it. */
import type { SinkState, StoredEvent } from "../record/event-query.ts";
import type { CursorMove } from "../record/sink-cursor.ts";
import { deliver } from "./deliver.ts";

export type SinkOptions = {
  /** Stable name of the sink's position in the journal, and in logs: never with a credential in it. */
  readonly name: string;
  readonly url: string;
  /** Reveals the bearer token at the moment of use, or null. */
  readonly bearer: (() => string) | null;
  readonly everyMs: number;
  /** Events in one request. */
  readonly batch: number;
  readonly source: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly eventsAfter: (after: number, limit: number) => Promise<readonly StoredEvent[]>;
  readonly state: () => Promise<SinkState>;
  readonly moveCursor: (move: CursorMove) => Promise<void>;
  readonly now: () => number;
  readonly random: () => number;
  readonly warn: (facts: Readonly<Record<string, string | number>>, message: string) => void;
};

export type SinkStatus = SinkState & {
  /** Rounds in a row that failed. */
  readonly failures: number;
  readonly lastSuccessMs: number | null;
};

export type RunningSink = {
  /** Sends what is there now; resolves when the sink has it all, or rejects with why not. */
  flush(): Promise<void>;
  status(): Promise<SinkStatus>;
  /** Ends the request under way as well; what it carried is sent again after the next start. */
  stop(): Promise<void>;
};

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;

export function startSink(options: SinkOptions): RunningSink {
  const stopping = new AbortController();
  let failures = 0;
  let lastSuccessMs: number | null = null;
  let timer: NodeJS.Timeout | null = null;
  let running: Promise<void> | null = null;

  const round = (): Promise<void> => {
    running ??= drain(options, stopping.signal)
      .then(
        () => {
          failures = 0;
          lastSuccessMs = options.now();
        },
        (fault) => {
          failures += 1;
          throw fault;
        },
      )
      .finally(() => {
        running = null;
      });
    return running;
  };
  const tick = async () => {
    try {
      await round();
    } catch (fault) {
      if (stopping.signal.aborted) return;
      options.warn({ sink: options.name, failures, why: reasonOf(fault) }, "usage events wait: the sink does not take them");
    }
    schedule();
  };
  const schedule = () => {
    if (stopping.signal.aborted) return;
    timer = setTimeout(tick, options.everyMs + backoffMs(failures, options.random()));
    timer.unref();
  };
  schedule();
  return {
    flush: round,
    status: async () => ({ ...(await options.state()), failures, lastSuccessMs }),
    async stop() {
      stopping.abort();
      if (timer !== null) clearTimeout(timer);
      await running?.catch(() => {});
    },
  };
}

/** Full jitter: gateways that lost a sink together must not return together. */
export function backoffMs(failures: number, random: number): number {
  return failures === 0 ? 0 : Math.round(random * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 16)));
}

async function drain(options: SinkOptions, stopping: AbortSignal): Promise<void> {
  let { sequence } = await options.state();
  while (!stopping.aborted) {
    const events = await options.eventsAfter(sequence, options.batch);
    const last = events.at(-1);
    if (last === undefined) return;
    const refused = await deliver(events, options, stopping);
    await options.moveCursor({ sink: options.name, sequence: last.sequence, refused });
    sequence = last.sequence;
  }
}

/** The cause names what failed (a refused connection, a timeout); a message of fetch alone says nothing. */
function reasonOf(fault: unknown): string {
  if (!(fault instanceof Error)) return "unknown";
  return fault.cause instanceof Error ? fault.cause.message : fault.message;
}
