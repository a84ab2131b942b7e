/** The sinks of the configuration, each fed from the journal. */
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { type RunningSink, type SinkOptions, startSink } from "./call/sync/sink.ts";
import type { Config } from "./config.ts";
import type { Log } from "./observe.ts";

type Surroundings = Pick<SinkOptions, "fetch" | "now"> & { readonly journal: OpenJournal; readonly reader: Reader; readonly log: Log };

export function startSinks(config: Config, { fetch, now, journal, reader, log }: Surroundings): RunningSink[] {
  return config.sync.map(({ url, bearer, everyMs, batch }) =>
    startSink({
      name: url,
      url,
      bearer: bearer === null ? null : () => bearer.reveal(),
      everyMs,
      batch,
      source: journal.source,
      fetch,
      now,
      random: Math.random,
      eventsAfter: (after, limit) => reader.ask("eventsAfter", after, limit),
      state: () => reader.ask("sinkState", url),
      moveCursor: (move) => journal.run("moveCursor", move),
      warn: (facts, message) => log.warn(facts, message),
    }),
  );
}
