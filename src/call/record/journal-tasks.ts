/** What the journal's thread does besides writing rows: each is one short transaction, asked for by name; calls wait behind it. */
import { type Corrected, type Correction, type Fate, type ReportBatch, writeCorrection, writeReports } from "./report-writer.ts";
import { type CursorMove, storeCursor } from "./sink-cursor.ts";
import type { Store } from "./store.ts";
import type { Writer } from "./writer.ts";

/** What a task may touch. */
export type Desk = { readonly store: Store; readonly writer: Writer; readonly source: string; readonly dataDir: string };

export type JournalTasks = {
  /** How far a sink has come, and what it refused for good. */
  moveCursor(move: CursorMove): void;
  /** Events that somebody reports, with the fate of each; a batch of 250 takes some 10 ms. */
  writeReports(batch: ReportBatch): readonly Fate[];
  writeCorrection(correction: Correction): Corrected;
};

export type TaskName = keyof JournalTasks;

/** Throws what SQLite throws, or a fault that is told to whoever asked. */
export function runTask(desk: Desk, name: TaskName, args: readonly unknown[]): unknown {
  // The name and its arguments were typed together on the other side of the border.
  const task = TASKS[name] as (desk: Desk, ...args: unknown[]) => unknown;
  return task(desk, ...args);
}

const TASKS: { readonly [Name in TaskName]: (desk: Desk, ...args: Parameters<JournalTasks[Name]>) => ReturnType<JournalTasks[Name]> } = {
  moveCursor: ({ store }, move) => storeCursor(store, move),
  writeReports,
  writeCorrection,
};
