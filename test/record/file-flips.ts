/** Flips bytes of a journal's file, one at a time: what it then reports is the same, or the verifier says that something is wrong. */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { openBooks } from "../../src/call/record/books.ts";
import type { Outside } from "../../src/call/record/checkpoint-check.ts";
import { openReader } from "../../src/call/record/store.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import type { Random } from "../fixtures/seeded-random.ts";

export type FileFlips = { readonly trials: number; readonly changed: number; readonly missed: readonly string[] };

/** `blind`: the verifier is SQLite's own check alone. */
export async function flipFile(file: string, outside: Outside, count: number, random: Random, blind: boolean): Promise<FileFlips> {
  const original = readFileSync(file);
  const truth = reportOf(file);
  const copy = `${file}.flipped`;
  const missed: string[] = [];
  let changed = 0;
  for (let i = 0; i < count; i++) {
    const position = Math.floor(random() * original.length);
    const pattern = 1 << Math.floor(random() * 8);
    const bytes = Buffer.from(original);
    bytes[position] = (bytes[position] ?? 0) ^ pattern;
    writeFileSync(copy, bytes);
    const report = reportOf(copy);
    if (report !== truth) changed += 1;
    // What cannot be read is reported to nobody.
    if (report !== truth && report !== null && (await isGood(copy, outside, blind))) missed.push(`byte ${position} by ${pattern}`);
  }
  rmSync(copy, { force: true });
  return { trials: count, changed, missed };
}

async function isGood(file: string, outside: Outside, blind: boolean): Promise<boolean> {
  if (!blind) return (await verifyLog(file, { outside }).catch(() => ({ ok: false }))).ok;
  const store = openReader(file);
  try {
    return store.pragma("quick_check(1)", { simple: true }) === "ok";
  } catch {
    return false;
  } finally {
    store.close();
  }
}

/** Everything that is shown to anybody: records, usage, events, balances, checkpoints. Null: it cannot be read. */
export function reportOf(file: string): string | null {
  try {
    const store = openReader(file);
    try {
      const books = openBooks(store);
      const dimensions = ["agent", "tool"] as never;
      return JSON.stringify([
        books.tail(10_000, null),
        books.usage({ by: dimensions, since: null, until: null }),
        books.usage({ by: dimensions, since: "2026-11-01", until: "2026-12-01" }),
        books.eventsAfter(0, 10_000),
        books.balances(),
        books.checkpoints(100, null),
        books.tail(10_000, null).map(({ call_id }) => (call_id === null ? null : (books.record(call_id)?.record.sequence ?? "none"))),
      ]);
    } finally {
      store.close();
    }
  } catch {
    return null;
  }
}

export function copyOf(file: string, to: string): string {
  copyFileSync(file, to);
  return to;
}
