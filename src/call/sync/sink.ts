/** Sends what the journal holds to one sink, in order, from where it last stopped, at its own pace; calls never wait for it. */
import type { Item, Stream } from "../record/outbox.ts";
import type { Aside, SinkState } from "../record/sink-state.ts";
import { type Drain, drainStream, type Guards, type SinkBooks } from "./drain.ts";
import { retryAsides } from "./retry-asides.ts";
import { NotDelivered, type Target } from "./target.ts";

export type SinkOptions = Guards & {
  /** Stable name of the sink's position in the journal, and in logs: never with a credential in it. */
  readonly name: string;
  readonly streams: readonly Stream[];
  readonly target: Target;
  readonly books: SinkBooks;
  readonly everyMs: number;
  /** Items in one request. */
  readonly batch: number;
  readonly maxPerSecond: number;
  readonly now: () => number;
  readonly random: () => number;
  readonly warn: (facts: Readonly<Record<string, string | number | null>>, message: string) => void;
};

export type SinkStatus = SinkState & {
  readonly name: string;
  /** Rounds in a row that failed. */
  readonly failures: number;
  readonly lastSuccessMs: number | null;
  readonly lastError: string | null;
  readonly lastErrorMs: number | null;
};

export type RunningSink = {
  readonly name: string;
  /** Sends what is there now; resolves when the sink has it all, or rejects with why not. */
  flush(): Promise<void>;
  status(): Promise<SinkStatus>;
  /** Ends the request under way as well; what it carried is sent again after the next start. */
  stop(): Promise<void>;
};

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;
/** A sink that was well gets what the last calls left before the process ends, if it is quick. */
const LAST_ROUND_MS = 2_000;

export function startSink(options: SinkOptions): RunningSink {
  const { name, books, target, now } = options;
  const stopping = new AbortController();
  let stopped = false;
  let failures = 0;
  let lastSuccessMs: number | null = null;
  let last: { readonly why: string; readonly atMs: number; readonly retryAfterMs: number } | null = null;
  let timer: NodeJS.Timeout | null = null;
  let running: Promise<void> | null = null;

  const drain: Drain = { ...options, stopping: stopping.signal, tell: (items, asides) => tell(options, items, asides) };
  const once = async (): Promise<void> => {
    try {
      await retryAsides(drain);
      for (const stream of options.streams) await drainStream(stream, drain);
      failures = 0;
      lastSuccessMs = now();
    } catch (fault) {
      failures += 1;
      const retryAfterMs = fault instanceof NotDelivered ? (fault.retryAfterMs ?? 0) : 0;
      last = { why: fault instanceof Error ? fault.message : String(fault), atMs: now(), retryAfterMs };
      if (!stopping.signal.aborted)
        options.warn({ sink: name, failures, why: last.why }, "what is to be sent waits: the sink does not take it");
      throw fault;
    }
  };
  const round = (): Promise<void> => {
    running ??= once().finally(() => {
      running = null;
    });
    return running;
  };
  const tick = async () => {
    await round().catch(() => {});
    if (!stopping.signal.aborted) schedule();
  };
  const schedule = () => {
    if (stopped) return;
    const pauseMs = failures === 0 ? 0 : Math.max(backoffMs(failures, options.random()), last?.retryAfterMs ?? 0);
    timer = setTimeout(tick, options.everyMs + pauseMs);
    timer.unref();
  };
  schedule();
  return {
    name,
    // One that is under way may have looked before the newest was there.
    flush: async () => {
      await running?.catch(() => {});
      await round();
    },
    status: async () => ({
      name,
      ...(await books.state()),
      failures,
      lastSuccessMs,
      lastError: last?.why ?? null,
      lastErrorMs: last?.atMs ?? null,
    }),
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      if (failures === 0) {
        const late = setTimeout(() => stopping.abort(), LAST_ROUND_MS);
        await running?.catch(() => {});
        if (failures === 0) await round().catch(() => {});
        clearTimeout(late);
      }
      stopping.abort();
      await running?.catch(() => {});
      await target.close();
    },
  };
}

/** Full jitter: gateways that lost a sink together must not return together. */
export function backoffMs(failures: number, random: number): number {
  return failures === 0 ? 0 : Math.round(random * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 16)));
}

const WORDS: Readonly<Record<Aside["state"], string>> = {
  retry: "the sink says to come back with this one",
  refused: "the sink refuses this one: set aside, it stays in the journal",
  unknown: "whether the sink has this one is not known: set aside for reconciliation",
  expired: "this one is too old for the sink: set aside, it stays in the journal",
};

/** Lines of one batch: whoever needs all of them asks for what was set aside. */
const LINES_MAX = 10;

function tell({ name, warn }: SinkOptions, items: ReadonlyMap<number, Item>, asides: readonly Aside[]): void {
  for (const { sequence, state, status, reason, stream } of asides.slice(0, LINES_MAX))
    warn({ sink: name, stream, item: items.get(sequence)?.id ?? null, state, status, why: reason }, WORDS[state]);
  if (asides.length > LINES_MAX) warn({ sink: name, count: asides.length - LINES_MAX }, "as many more of this batch are set aside");
}
