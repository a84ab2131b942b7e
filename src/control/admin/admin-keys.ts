/** Keys of those who administer: hashed at rest; the first one is made at the first start and left in `admin.key`. */
import { existsSync, lstatSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mintId } from "../../ids.ts";
import { ADMIN_KEY_PREFIX, hashSecret, mintSecret } from "../agents/secrets.ts";
import type { ControlStore } from "../store.ts";

export type AdminKeys = {
  /** The name of the key, or null: not one of ours. */
  nameOf(presented: string): string | null;
};

const FIRST = "first";

export function openAdminKeys(store: ControlStore, dataDir: string, now: () => number): AdminKeys {
  const file = join(dataDir, "admin.key");
  const known = store.prepare("SELECT count(*) FROM admin_key").pluck().get() as number;
  if (known === 0 || !existsSync(file)) makeFirst(store, file, now());
  const mode = lstatSync(file).mode;
  if ((mode & 0o077) !== 0) throw new Error(`${file} can be read by others: chmod 600 ${file}`);
  const find = store.prepare("SELECT name FROM admin_key WHERE hash = ?").pluck();
  return {
    // Looked up by digest: what a timing could tell is a prefix of a hash, which leads nowhere.
    nameOf: (presented) =>
      presented.startsWith(ADMIN_KEY_PREFIX) ? ((find.get(hashSecret(presented)) as string | undefined) ?? null) : null,
  };
}

/** Also where the file was deleted: whoever may delete it may read the database as well, so a new key takes the old one's place. */
function makeFirst(store: ControlStore, file: string, nowMs: number): void {
  const key = mintSecret(ADMIN_KEY_PREFIX);
  store.transaction(() => {
    store.prepare("DELETE FROM admin_key WHERE name = ?").run(FIRST);
    store
      .prepare("INSERT INTO admin_key (id, name, hash, role, created_at) VALUES (?, ?, ?, 'admin', ?)")
      .run(mintId("key", nowMs), FIRST, hashSecret(key), new Date(nowMs).toISOString());
    // What waits under the name, a file that others may read or a link, must not receive the key.
    rmSync(file, { force: true });
    writeFileSync(file, `${key}\n`, { mode: 0o600, flag: "wx" });
  })();
}
