/** A checkpoint in a journal, as the one that signs them leaves it: the root over the first records, in a C2SP note. */
import Database from "better-sqlite3";
import { rootOf } from "../../src/call/record/merkle.ts";
import { journalFile } from "../record/journal-fixture.ts";

export function writeCheckpoint(dir: string, origin: string, size: number): { readonly root: string; readonly note: string } {
  const raw = new Database(journalFile(dir));
  try {
    const leaves = raw.prepare("SELECT leaf FROM audit_record WHERE sequence < ? ORDER BY sequence").pluck().all(size) as Buffer[];
    const root = rootOf(leaves);
    const note = `${origin}\n${size}\n${root.toString("base64")}\n\n\u2014 ${origin} AAAA\n`;
    raw.prepare("INSERT INTO checkpoint (size, at_ms, root, key, note) VALUES (?, ?, ?, ?, ?)").run(size, 1_000, root, "none", note);
    return { root: root.toString("hex"), note };
  } finally {
    raw.close();
  }
}
