/** The sinks of the configuration, each fed from the journal. */
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { createCentral } from "./call/sync/central.ts";
import { createCollector } from "./call/sync/collector.ts";
import type { SinkBooks } from "./call/sync/drain.ts";
import { type RunningSink, startSink } from "./call/sync/sink.ts";
import type { Target } from "./call/sync/target.ts";
import type { Sink } from "./config.ts";
import type { Log } from "./observe.ts";

export type SinkParts = {
  readonly journal: Pick<OpenJournal, "run" | "source">;
  readonly reader: Pick<Reader, "ask">;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Pick<Log, "warn">;
};

export async function startSinks(sinks: readonly Sink[], parts: SinkParts): Promise<RunningSink[]> {
  const { journal, now, random, log } = parts;
  const running: RunningSink[] = [];
  for (const sink of sinks) {
    const formerly = sink.type === "cloudevents" ? sink.url : null;
    await journal.run("openSink", { sink: sink.name, formerly, streams: sink.send, atPresent: false });
    running.push(
      startSink({
        name: sink.name,
        streams: IN_ORDER.filter((stream) => sink.send.includes(stream)),
        target: targetOf(sink, parts),
        books: booksOf(sink, parts),
        everyMs: sink.everyMs,
        batch: sink.batch,
        maxPerSecond: sink.maxPerSecond,
        // The ledger knows for ever what it has: by its own keys.
        dedupeWindowMs: sink.type === "cloudevents" ? sink.dedupeWindowMs : null,
        maxAgeMs: sink.maxAgeMs,
        now,
        random,
        warn: (facts, message) => log.warn(facts, message),
      }),
    );
  }
  return running;
}

/** A checkpoint is of no use before the records that it covers. */
const IN_ORDER = ["usage", "records", "checkpoints"] as const;

function targetOf(sink: Sink, { journal, fetch, now, log }: SinkParts): Target {
  const common = { gateway: journal.source, timeoutMs: sink.timeoutMs };
  if (sink.type === "postgres") return createCentral({ ...common, url: () => sink.url.reveal() });
  const { name, url, bearer, errors } = sink;
  const note = (why: string) => log.warn({ sink: name, why }, "the sink took a batch with an odd answer");
  return createCollector({ ...common, url, bearer: bearer === null ? null : () => bearer.reveal(), errors, fetch, now, note });
}

function booksOf({ name, send }: Sink, { journal, reader }: SinkParts): SinkBooks {
  return {
    state: () => reader.ask("sinkState", name, send),
    after: (stream, after, limit) => reader.ask("outboxAfter", stream, after, limit),
    at: (stream, sequences) => reader.ask("outboxAt", stream, sequences),
    due: (nowMs, limit) => reader.ask("sinkDue", name, nowMs, limit),
    move: (move) => journal.run("moveSink", { sink: name, ...move }),
    keepAttempt: (stream, attempt) => journal.run("keepAttempt", name, stream, attempt),
    moveAsides: (stream, gone, still) => journal.run("moveAsides", { sink: name, stream, gone, still }),
  };
}
