/** A journal in a folder of its own, and a raw hand on its file. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { blankRecord } from "../../src/call/record/compose.ts";
import { type OpenJournal, openJournal } from "../../src/call/record/journal-client.ts";
import { NOW_MS } from "./entries.ts";

export const SOURCE = "gw_01k9x3v7m2q8r5t1w4y6z0abcd";

export const newFolder = (): string => join(mkdtempSync(join(tmpdir(), "tollgate-record-")), "data");

export const journalFile = (dataDir: string): string => join(dataDir, "journal.db");

/** `states` collects what the journal tells of itself. */
export function open(dataDir: string, states: string[] = [], nowMs: number = NOW_MS, trustClock = false): Promise<OpenJournal> {
  return openJournal({
    dataDir,
    newSource: SOURCE,
    nowMs,
    trustClock,
    outageRecord: blankRecord("gateway.recovered"),
    onState: (state) => states.push(state),
  });
}

/** What someone with the file can do: the triggers are dropped first. */
export function tamper(file: string, act: (raw: Database.Database) => void): void {
  const raw = new Database(file);
  try {
    raw.pragma("foreign_keys = OFF");
    for (const name of raw.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").pluck().all()) raw.exec(`DROP TRIGGER ${name}`);
    act(raw);
  } finally {
    raw.close();
  }
}

export function query(file: string, sql: string): unknown[] {
  const raw = new Database(file, { readonly: true });
  try {
    return raw.prepare(sql).all();
  } finally {
    raw.close();
  }
}
