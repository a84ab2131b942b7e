import { copyFileSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { newCallId, permitEntry, settlementEntry } from "../record/entries.ts";
import { journalFile, newFolder, open, query } from "../record/journal-fixture.ts";

const FILES = ["journal.db", "journal.db-wal", "journal.mark"] as const;

const running: OpenJournal[] = [];
afterAll(async () => {
  for (const journal of running) await journal.close();
});

/** A journal with so many calls, as a kill leaves it: what the last run wrote is in its write-ahead log. */
async function killedJournal(calls: number, before = 0): Promise<string> {
  const dir = newFolder();
  for (const [run, count] of [before, calls].entries()) {
    const journal = await open(dir);
    for (let i = 0; i < count; i++) {
      const callId = newCallId();
      await journal.permit(permitEntry(callId));
      await journal.settle(settlementEntry(callId, i));
    }
    if (run === 0) await journal.close();
    else running.push(journal);
  }
  const copy = newFolder();
  mkdirSync(copy, { recursive: true, mode: 0o700 });
  for (const name of FILES) copyFileSync(`${dir}/${name}`, `${copy}/${name}`);
  return copy;
}

const sizeOf = (dir: string) => (query(journalFile(dir), "SELECT count(*) AS n FROM audit_record") as { n: number }[])[0]?.n;

test("a journal that was killed starts with all that it had answered for", async () => {
  const dir = await killedJournal(20, 5);
  await (await open(dir)).close();
  expect(sizeOf(dir)).toBe(25);
});

test("a write-ahead log that is lost is noticed: the start is refused, and nothing is begun anew", async () => {
  const dir = await killedJournal(20);
  rmSync(`${dir}/journal.db-wal`);
  await expect(open(dir)).rejects.toThrow("journal.db-wal is lost or another's");
  await expect(open(dir)).rejects.toThrow("tollgate restore");
});

test("another journal's write-ahead log in its place is noticed", async () => {
  const [dir, other] = [await killedJournal(20, 30), await killedJournal(10)];
  copyFileSync(`${other}/journal.db-wal`, `${dir}/journal.db-wal`);
  await expect(open(dir)).rejects.toThrow(/does not hold record|is damaged|malformed|not what its leaf says/);
});

test("an older copy of the file in its place is noticed", async () => {
  const dir = await killedJournal(5, 5);
  await (await open(dir)).close();
  const old = readFileSync(journalFile(dir));
  const journal = await open(dir);
  const callId = newCallId();
  await journal.permit(permitEntry(callId));
  await journal.settle(settlementEntry(callId));
  await journal.close();
  writeFileSync(journalFile(dir), old);
  await expect(open(dir)).rejects.toThrow("an older copy");
});

test("a mark that is torn, empty or gone hinders no start", async () => {
  const dir = await killedJournal(3);
  for (const mark of ["", "0000000000000003 abc", "\0".repeat(82)]) {
    writeFileSync(`${dir}/journal.mark`, mark);
    await (await open(dir)).close();
  }
  rmSync(`${dir}/journal.mark`);
  await (await open(dir)).close();
  expect(sizeOf(dir)).toBe(3);
});

test("random bytes in the file: a start is refused or a verification finds them, and no start makes it shorter", async () => {
  const dir = await killedJournal(40, 40);
  await (await open(dir)).close();
  const [whole, size] = [readFileSync(journalFile(dir)), sizeOf(dir)];
  const random = seededRandom(3);
  let [refused, found, harmless] = [0, 0, 0];
  for (let trial = 0; trial < 50; trial++) {
    writeFileSync(journalFile(dir), whole);
    const descriptor = openSync(journalFile(dir), "r+");
    const at = 100 + Math.floor(random() * (whole.length - 400));
    writeSync(descriptor, Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256))), 0, 200, at);
    const verdict = await verifyLog(journalFile(dir)).catch(() => ({ ok: false }));
    const started = await open(dir).then(
      async (journal) => {
        await journal.close();
        return true;
      },
      () => false,
    );
    if (!started) refused += 1;
    else if (!verdict.ok) found += 1;
    else {
      // In a free page, or in the unused middle of one.
      harmless += 1;
      expect(sizeOf(dir)).toBe(size);
      expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true });
    }
  }
  expect(refused + found).toBeGreaterThan(5);
  expect(refused + found + harmless).toBe(50);
});
