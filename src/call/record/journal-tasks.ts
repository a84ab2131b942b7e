/** What the journal's thread does besides writing rows: each is one short transaction, asked for by name; calls wait behind it. */
import { judgeActivity } from "./activity.ts";
import type { AuditRecord } from "./audit-record.ts";
import { askErasure, type Erasure, endErasure } from "./erasure.ts";
import { dropKeys, type KeysToDrop } from "./key-writer.ts";
import { type LegalHold, liftHold, placeHold } from "./legal-hold.ts";
import { type Cosigned, keepCosignature, type Signing, type SigningOrder, signLog } from "./log-signing.ts";
import type { Stream } from "./outbox.ts";
import { dropUnusedAttributes, type Purge, purge } from "./purge.ts";
import { type BalancePage, balancesEnding } from "./recover.ts";
import { type Corrected, type Correction, type Fate, type ReportBatch, writeCorrection, writeReports } from "./report-writer.ts";
import { type Move, recordRow } from "./rows.ts";
import { scrub } from "./scrub.ts";
import {
  type AsideMove,
  decideAsides,
  keepAttempt,
  keepWebhookState,
  moveAsides,
  moveSink,
  openSink,
  type SinkMove,
  type SinkOpening,
  type WebhookState,
} from "./sink-ledger.ts";
import type { AsideState, Attempt } from "./sink-state.ts";
import type { Store } from "./store.ts";
import type { Writer } from "./writer.ts";

/** What a task may touch. */
export type Desk = { readonly store: Store; readonly writer: Writer; readonly source: string; readonly dataDir: string };

export type JournalTasks = {
  /** How many of these old records are purged by it. */
  purge(purge: Purge): number;
  dropUnusedAttributes(): void;
  /** After a purge. False: what was purged is still in the write-ahead log, since somebody reads. */
  scrub(): boolean;
  /** False: a hold has that name already. */
  placeHold(hold: LegalHold, record: AuditRecord): boolean;
  /** False: no hold has that name. */
  liftHold(name: string, record: AuditRecord): boolean;
  askErasure(erasure: Pick<Erasure, "agent" | "asked_ms" | "asked_by" | "reason">, record: AuditRecord): void;
  endErasure(agent: string, atMs: number): void;
  /** Some hundreds at a time; returns how many. */
  dropKeys(which: KeysToDrop): number;
  /** A checkpoint over all that is committed. */
  signLog(order: SigningOrder): Signing;
  keepCosignature(cosigned: Cosigned): void;
  /** A sink of the configuration has a position from now on. */
  openSink(opening: SinkOpening): void;
  /** How far a sink has come, what was set aside on the way, and what leaves next. */
  moveSink(move: SinkMove): void;
  /** A batch is about to leave, or certainly has not arrived (null). */
  keepAttempt(sink: string, stream: Stream, attempt: Attempt | null): void;
  /** What became of some that were set aside. */
  moveAsides(move: AsideMove): void;
  /** A person's word on what was set aside: send it again, or let it be. Returns how many; some thousands at a time. */
  decideAsides(sink: string, states: readonly AsideState[], send: boolean): number;
  keepWebhookState(webhook: string, state: WebhookState): void;
  /** Events that somebody reports, with the fate of each; a batch of 250 takes some 10 ms. */
  writeReports(batch: ReportBatch): readonly Fate[];
  writeCorrection(correction: Correction): Corrected;
  /** What a person, or a share that is handed on, adds to balances and takes from them, with the record that says so. */
  adjustBalances(moves: readonly Move[], record: AuditRecord): void;
  /** Balances of windows that end after the first instant and not after the second, from the row after `after` on; nothing is changed. */
  balancesEnding(sinceMs: number, untilMs: number, after: number): BalancePage;
  /** How far the usage events have been looked through for what is unusual, with the records of what was found. */
  judgeActivity(reached: number, found: readonly AuditRecord[]): void;
};

export type TaskName = keyof JournalTasks;

/** Throws what SQLite throws, or a fault that is told to whoever asked. */
export function runTask(desk: Desk, name: TaskName, args: readonly unknown[]): unknown {
  // The name and its arguments were typed together on the other side of the border.
  const task = TASKS[name] as (desk: Desk, ...args: unknown[]) => unknown;
  return task(desk, ...args);
}

const TASKS: { readonly [Name in TaskName]: (desk: Desk, ...args: Parameters<JournalTasks[Name]>) => ReturnType<JournalTasks[Name]> } = {
  purge,
  dropUnusedAttributes,
  scrub,
  placeHold,
  liftHold,
  askErasure,
  endErasure,
  dropKeys,
  signLog,
  keepCosignature,
  balancesEnding: ({ store }, ...span) => balancesEnding(store, ...span),
  openSink: ({ store }, opening) => openSink(store, opening),
  moveSink: ({ store }, move) => moveSink(store, move),
  keepAttempt: ({ store }, sink, stream, attempt) => keepAttempt(store, sink, stream, attempt),
  moveAsides: ({ store }, move) => moveAsides(store, move),
  decideAsides: ({ store }, sink, states, send) => decideAsides(store, sink, states, send),
  keepWebhookState: ({ store }, webhook, state) => keepWebhookState(store, webhook, state),
  writeReports,
  writeCorrection,
  judgeActivity,
  adjustBalances: ({ writer, source }, moves, record) =>
    writer.transact((pen) => {
      const sequence = pen.append(recordRow(record, source));
      for (const move of moves) pen.post(move, sequence);
    }),
};
