/** A backup: one file that is a journal of one moment, and holds the other books of its gateway beside it. No signing key is in it. */
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { JOURNAL_FILE, openCopy, openReader } from "./store.ts";

/** What is kept beside the journal: agents and credentials, and the keys of the digests in records. */
export const BACKUP_PARTS = ["control.db", "digest-keys.db"] as const;

export type Backup = { readonly records: number; readonly bytes: number; readonly parts: readonly string[] };

/** SQLite's limit of one value; a registry of a million agents has half of it. */
const PART_BYTES_MAX = 1_000_000_000;

/**
 * With or without a running gateway: a reader's snapshot, so that neither calls nor commits wait. Never overwrites.
 * The journal comes first: what its records speak of, keys of digests above all, is in books that are read later.
 */
export function writeBackup(dataDir: string, file: string): Backup {
  if (existsSync(file)) throw new Error(`${file} is already there, and a backup never overwrites`);
  const draft = `${file}.${randomBytes(6).toString("hex")}.part`;
  // Made here, so that it is nobody else's from its first byte on; SQLite fills an empty file.
  closeSync(openSync(draft, "wx", 0o600));
  try {
    const journal = openReader(join(dataDir, JOURNAL_FILE));
    try {
      journal.prepare("VACUUM INTO ?").run(draft);
    } finally {
      journal.close();
    }
    const backup = addParts(draft, dataDir);
    syncFile(draft);
    // Unlike a rename, a link never takes another's place.
    linkSync(draft, file);
    syncFile(dirname(file));
    return { ...backup, bytes: statSync(file).size };
  } finally {
    rmSync(draft, { force: true });
  }
}

function addParts(draft: string, dataDir: string): Omit<Backup, "bytes"> {
  const copy = openCopy(draft);
  try {
    copy.exec("CREATE TABLE backup_part (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT");
    const insert = copy.prepare("INSERT INTO backup_part (name, bytes) VALUES (?, ?)");
    const parts: string[] = [];
    for (const name of BACKUP_PARTS) {
      const path = join(dataDir, name);
      if (!existsSync(path)) continue;
      const bytes = bytesOf(path);
      if (bytes.length > PART_BYTES_MAX) throw new Error(`${path} has ${bytes.length} bytes; a backup holds ${PART_BYTES_MAX} of it`);
      insert.run(name, bytes);
      parts.push(name);
    }
    return { records: Number(copy.prepare("SELECT count(*) FROM audit_record").pluck().get()), parts };
  } finally {
    copy.close();
  }
}

/** Of one moment, what is still in its write-ahead log included. */
function bytesOf(path: string): Buffer {
  const store = openReader(path);
  try {
    return store.serialize();
  } finally {
    store.close();
  }
}

function syncFile(path: string): void {
  const handle = openSync(path, "r");
  fsyncSync(handle);
  closeSync(handle);
}
