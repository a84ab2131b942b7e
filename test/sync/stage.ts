/** A journal in a folder of its own and a sink that is fed from it, with a clock that the test turns. */
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import type { CloudEvent } from "../../src/call/sync/cloudevents.ts";
import type { RunningSink } from "../../src/call/sync/sink.ts";
import type { Sink } from "../../src/config.ts";
import { Secret } from "../../src/secret.ts";
import { startSinks } from "../../src/sinks.ts";
import { newCallId, permitEntry, settlementEntry } from "../record/entries.ts";
import { newFolder, open } from "../record/journal-fixture.ts";
import { httpSink, kind, type Manner } from "./http-sink.ts";

const closing: (() => Promise<unknown>)[] = [];

export async function stopAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** To be closed after the test, before what was opened earlier. */
export function later(close: () => Promise<unknown>): void {
  closing.push(close);
}

export type Warning = Readonly<Record<string, string | number | null>>;

export async function bookStage(dir = newFolder()) {
  const journal = await open(dir);
  const reader = openReaderThread(dir);
  later(() => journal.close());
  later(() => reader.close());
  const warnings: Warning[] = [];
  const clock = { nowMs: 1_000 };
  const parts = {
    journal,
    reader,
    fetch,
    now: () => clock.nowMs,
    random: () => 0,
    log: { warn: (facts: object) => void warnings.push(facts as Warning) },
  };
  return { dir, journal, reader, warnings, clock, parts };
}

export async function startOne(parts: Parameters<typeof startSinks>[1], sink: Sink): Promise<RunningSink> {
  const [running] = await startSinks([sink], parts);
  if (running === undefined) throw new Error("no sink was started");
  later(() => running.stop());
  return running;
}

export async function collectorStage(manner: Manner = kind, batch = 10) {
  const stage = await bookStage();
  const sink = await httpSink(manner);
  later(() => sink.close());
  const start = (options: Partial<Extract<Sink, { type: "cloudevents" }>> = {}) =>
    startOne(stage.parts, {
      type: "cloudevents",
      name: "central",
      isNamed: true,
      url: sink.url,
      bearer: new Secret("s3cret"),
      everyMs: 3_600_000,
      batch,
      maxPerSecond: 1_000_000,
      send: ["usage"],
      timeoutMs: 10_000,
      maxAgeMs: null,
      backlogMax: null,
      dedupeWindowMs: null,
      errors: null,
      ...options,
    });
  return { ...stage, sink, start };
}

export async function settle(journal: OpenJournal, count: number): Promise<string[]> {
  const calls = Array.from({ length: count }, newCallId);
  await Promise.all(calls.map((callId) => journal.permit(permitEntry(callId))));
  for (const callId of calls) await journal.settle(settlementEntry(callId));
  return calls.map((callId) => `${callId}.settled`);
}

export async function asides(reader: Reader, sink = "central") {
  const found = await reader.ask("sinkAsides", { sink, state: null, after: null, limit: 100 });
  return found.map(({ stream, sequence, state, status, reason, tries }) => ({ stream, sequence, state, status, reason, tries }));
}

export const ids = (events: readonly CloudEvent[]) => events.map((event) => event.id);
export const sequences = (events: readonly CloudEvent[]) => events.map((event) => Number(event.sequence));
export const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

export const answer =
  (status: number, body = "do as I say", headers: Readonly<Record<string, string>> = {}): Manner =>
  (_, response) =>
    void response.writeHead(status, { location: "http://127.0.0.1:9/", ...headers }).end(body);
