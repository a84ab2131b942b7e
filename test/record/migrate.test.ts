import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { SCHEMA_VERSION } from "../../src/call/record/schema.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { journalFile, newFolder, open, query } from "./journal-fixture.ts";

const MIGRATE = join(import.meta.dirname, "../faults/migrate-child.ts");
const VERSION_1 = readFileSync(join(import.meta.dirname, "../fixtures/journal-v1.sql"), "utf8");

/** Five settled calls, a record beside them, a call that is still open, and a sink that refused one event. */
function version1(): string {
  const dir = newFolder();
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const raw = new Database(journalFile(dir));
  raw.exec(VERSION_1);
  raw.close();
  return dir;
}

test("a journal of version 1 is brought to this one with all that it holds, and goes on", async () => {
  const dir = version1();
  const before = query(
    journalFile(dir),
    "SELECT sequence, record, at_ms, calls, tool_tokens, bytes_out FROM usage_event ORDER BY sequence",
  );
  const journal = await open(dir);
  expect(journal.recovered).toBe(1);
  await journal.close();
  expect(query(journalFile(dir), "PRAGMA user_version")).toEqual([{ user_version: SCHEMA_VERSION }]);
  const after = query(journalFile(dir), "SELECT sequence, record, at_ms, calls, tool_tokens, bytes_out FROM usage_event ORDER BY sequence");
  expect(after).toHaveLength(before.length + 1);
  expect(after.slice(0, before.length)).toEqual(before);
  expect(query(journalFile(dir), "SELECT * FROM sink_aside")).toMatchObject([
    { stream: "usage", sequence: 2, state: "refused", status: 422 },
  ]);
  expect(query(journalFile(dir), "SELECT * FROM sink_position")).toEqual([
    { sink: "https://meter.example.com/events", stream: "usage", sequence: 3 },
  ]);
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 7 });
});

test("a migrated journal has the tables, indexes and guards of a new one", async () => {
  const [old, made] = [version1(), newFolder()];
  for (const dir of [old, made]) await (await open(dir)).close();
  const shape = (dir: string) =>
    query(journalFile(dir), "SELECT type, name, replace(sql, '\"', '') AS sql FROM sqlite_master ORDER BY type, name");
  expect(shape(old)).toEqual(shape(made));
});

const mayTrace = spawnSync("strace", ["-f", "-e", "trace=fdatasync", "true"]).status === 0;

test.skipIf(!mayTrace)(
  "a migration that is killed at any of its writes leaves the old version or the new one, and the next start ends it (needs strace)",
  async () => {
    const old = version1();
    let [kills, ended] = [0, false];
    for (let nth = 1; !ended; nth += 2) {
      const dir = newFolder();
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      copyFileSync(journalFile(old), journalFile(dir));
      const inject = ["-e", "trace=pwrite64", "-e", `inject=pwrite64:signal=KILL:when=${nth}`];
      const { signal } = spawnSync("strace", ["-f", "-qq", "-o", "/dev/null", ...inject, process.execPath, MIGRATE, dir]);
      ended = signal === null;
      if (!ended) kills += 1;
      const [found] = query(journalFile(dir), "PRAGMA user_version") as [{ user_version: number }];
      expect(ended ? [SCHEMA_VERSION] : [1, SCHEMA_VERSION]).toContain(found.user_version);
      await (await open(dir)).close();
      expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 7 });
      expect(query(journalFile(dir), "SELECT count(*) AS n FROM usage_event")).toEqual([{ n: 6 }]);
    }
    expect(kills).toBeGreaterThan(3);
  },
  120_000,
);
