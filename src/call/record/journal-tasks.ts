/** What the journal's thread does besides writing rows: each is one short transaction, asked for by name; calls wait behind it. */
import type { AuditRecord } from "./audit-record.ts";
import { askErasure, type Erasure, endErasure } from "./erasure.ts";
import { type LegalHold, liftHold, placeHold } from "./legal-hold.ts";
import { type Cosigned, keepCosignature, type Signing, type SigningOrder, signLog } from "./log-signing.ts";
import { dropUnusedAttributes, type Purge, purge } from "./purge.ts";
import { type CursorMove, storeCursor } from "./sink-cursor.ts";
import type { Store } from "./store.ts";
import type { Writer } from "./writer.ts";

/** What a task may touch. */
export type Desk = { readonly store: Store; readonly writer: Writer; readonly source: string; readonly dataDir: string };

export type JournalTasks = {
  /** How far a sink has come, and what it refused for good. */
  moveCursor(move: CursorMove): void;
  /** How many of these old records are purged by it. */
  purge(purge: Purge): number;
  dropUnusedAttributes(): void;
  /** False: a hold has that name already. */
  placeHold(hold: LegalHold, record: AuditRecord): boolean;
  /** False: no hold has that name. */
  liftHold(name: string, record: AuditRecord): boolean;
  askErasure(erasure: Pick<Erasure, "agent" | "asked_ms" | "asked_by" | "reason">, record: AuditRecord): void;
  endErasure(agent: string, atMs: number): void;
  /** A checkpoint over all that is committed. */
  signLog(order: SigningOrder): Signing;
  keepCosignature(cosigned: Cosigned): void;
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
  purge,
  dropUnusedAttributes,
  placeHold,
  liftHold,
  askErasure,
  endErasure,
  signLog,
  keepCosignature,
};
