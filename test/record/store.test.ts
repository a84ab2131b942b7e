import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DataFolderInUse, lockFolder, openReader, openStore } from "../../src/call/record/store.ts";
import { newFolder, open } from "./journal-fixture.ts";

test("the folder and every file in it belong to the owner alone", async () => {
  const dir = newFolder();
  mkdirSync(dir, { mode: 0o755 });
  chmodSync(dir, 0o755);
  const lock = lockFolder(dir);
  const journal = await open(dir);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  for (const name of ["journal.db", "journal.db-wal", "journal.db-shm", "lock.db"])
    expect([name, statSync(join(dir, name)).mode & 0o777]).toEqual([name, 0o600]);
  await journal.close();
  lock.release();
});

test("every connection that writes waits for the disk, in WAL mode, with foreign keys and without trust in the schema", () => {
  const store = openStore(newFolder(), true);
  const settings = ["journal_mode", "synchronous", "foreign_keys", "trusted_schema"].map((name) => store.pragma(name, { simple: true }));
  expect(settings).toEqual(["wal", 2, 1, 0]);
  store.close();
});

test("a symbolic link, a FIFO or a folder in the journal's place is refused", () => {
  const link = newFolder();
  mkdirSync(link);
  writeFileSync(`${link}.elsewhere`, "");
  symlinkSync(`${link}.elsewhere`, join(link, "journal.db"));
  expect(() => openStore(link, true)).toThrow("not a regular file");
  const fifo = newFolder();
  mkdirSync(fifo);
  execFileSync("mkfifo", [join(fifo, "journal.db")]);
  expect(() => openStore(fifo, true)).toThrow("not a regular file");
  const linkedFolder = newFolder();
  symlinkSync(link, linkedFolder);
  expect(() => openStore(linkedFolder, true)).toThrow("not a folder of its own");
});

test("a journal of a newer tollgate is refused politely, and a file that is no database too", async () => {
  const dir = newFolder();
  const store = openStore(dir, true);
  store.pragma("user_version = 99");
  store.close();
  await expect(open(dir)).rejects.toThrow("newer tollgate (schema 99");
  const text = newFolder();
  mkdirSync(text);
  writeFileSync(join(text, "journal.db"), "this is not a database, but long enough to be looked at ".repeat(40));
  await expect(open(text)).rejects.toThrow("not a database");
});

test("a store that must exist is never made anew", () => {
  const dir = newFolder();
  expect(() => openStore(dir, false)).toThrow();
  expect(existsSync(join(dir, "journal.db"))).toBe(false);
});

test("a reader cannot write", () => {
  const dir = newFolder();
  openStore(dir, true).close();
  const reader = openReader(join(dir, "journal.db"));
  expect(() => reader.exec("INSERT INTO meta VALUES ('a', 'b')")).toThrow("readonly");
  reader.close();
});

test("a second process on a live data folder is refused; a killed one leaves nothing to clean up", async () => {
  const dir = newFolder();
  const child = fork(join(import.meta.dirname, "../faults/lock-child.ts"), [dir], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [said] = await once(child, "message");
  expect(said).toBe("locked");
  expect(() => lockFolder(dir)).toThrow(DataFolderInUse);
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  const lock = lockFolder(dir);
  expect(() => lockFolder(dir)).toThrow("in use by another tollgate process");
  lock.release();
  lockFolder(dir).release();
});
