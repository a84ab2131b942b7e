/** Brings a backup back as a data folder of its own: the same records, and a new id under which everything after them goes on. */
import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecord } from "./audit-record.ts";
import { BACKUP_PARTS } from "./backup.ts";
import { nextSource } from "./epoch.ts";
import { recordRow } from "./rows.ts";
import { JOURNAL_FILE, openCopy, openStore, type Store, syncFolder } from "./store.ts";
import { treeReader } from "./tree.ts";
import { createWriter } from "./writer.ts";

export type Restored = { readonly records: number; readonly source: string; readonly parent: string };

/** `record`: a `log.restored` record without its details. The folder appears whole or not at all; one that holds anything is refused. */
export function restoreBackup(file: string, dataDir: string, record: AuditRecord): Restored {
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0)
    throw new Error(`${dataDir} is not empty: a backup is restored into a new data folder only. Move the old one away`);
  const draft = `${dataDir}.${randomBytes(6).toString("hex")}.part`;
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  try {
    takeApart(file, draft);
    const restored = beginEpoch(draft, record);
    syncFolder(draft);
    if (existsSync(dataDir)) rmdirSync(dataDir);
    renameSync(draft, dataDir);
    syncFolder(join(dataDir, ".."));
    return restored;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function takeApart(file: string, folder: string): void {
  const journal = join(folder, JOURNAL_FILE);
  copyFileSync(file, journal);
  chmodSync(journal, 0o600);
  const copy = openCopy(journal);
  try {
    // Keys of digests must not linger in the pages of the journal.
    copy.pragma("secure_delete = ON");
    const isBackup = copy.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'backup_part'").pluck().get() === 1;
    if (!isBackup) throw new Error(`${file} is no backup: tollgate backup writes one`);
    const part = copy.prepare("SELECT bytes FROM backup_part WHERE name = ?").pluck();
    for (const name of BACKUP_PARTS) {
      const bytes = part.get(name) as Buffer | undefined;
      if (bytes !== undefined) writeFileSync(join(folder, name), bytes, { mode: 0o600, flag: "wx", flush: true });
    }
    copy.exec("DROP TABLE backup_part");
  } finally {
    copy.close();
  }
}

/**
 * What was recorded and sent after the backup is lost here, and others may have it: under the old id nothing is numbered, sent or signed
 * any more. The first record of the new one names the log that it continues.
 */
function beginEpoch(folder: string, record: AuditRecord): Restored {
  const store = openStore(folder, false);
  try {
    const parent = String(store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get());
    const source = nextSource(parent, randomBytes(5).toString("hex"));
    const tree = treeReader(store);
    const [size, root] = [tree.size(), tree.root().toString("base64")];
    const event = Number(store.prepare("SELECT coalesce(max(sequence), 0) + 1 FROM usage_event").pluck().get());
    const details = { parent_source: parent, parent_size: size, parent_root: root, ...lastCheckpoint(store) };
    const epoch = store.prepare("INSERT INTO epoch (first_record, first_event, source) VALUES (?, ?, ?)");
    const isFirst = store.prepare("SELECT count(*) FROM epoch").pluck().get() === 0;
    createWriter(store).transact(({ append }) => {
      if (isFirst && size > 0) epoch.run(0, 1, parent);
      epoch.run(size, event, source);
      store.prepare("UPDATE meta SET value = ? WHERE name = 'source'").run(source);
      append(recordRow({ ...record, details }, source));
    });
    store.pragma("wal_checkpoint(TRUNCATE)");
    return { records: size, source, parent };
  } finally {
    store.close();
  }
}

function lastCheckpoint(store: Store) {
  const last = store.prepare("SELECT size, root, key FROM checkpoint ORDER BY size DESC LIMIT 1").get() as
    | { size: number; root: Buffer; key: string }
    | undefined;
  return {
    parent_checkpoint_size: last?.size ?? null,
    parent_checkpoint_root: last?.root.toString("base64") ?? null,
    parent_checkpoint_key: last?.key ?? null,
  };
}
