import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type Checkpoint, checkpointIn } from "../../src/call/record/checkpoint.ts";
import { signLog } from "../../src/call/record/log-signing.ts";
import { leafHash } from "../../src/call/record/merkle.ts";
import { verifierIn } from "../../src/call/record/signed-note.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { writeLongJournal } from "../fixtures/long-journal.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { NOW_MS } from "./entries.ts";
import { tryFlips } from "./export-flips.ts";
import { flipFile } from "./file-flips.ts";
import { FORGERIES, forge } from "./forger.ts";
import { journalFile, newFolder, query, SOURCE } from "./journal-fixture.ts";

// Few of each: `npm run prove:audit` plays them by the thousand.
const SIZE = 600;
const KEPT = [300, 600];
const dir = newFolder();
const kept: Checkpoint[] = [];
let key = "";

beforeAll(() => {
  writeLongJournal(dir, {
    ...{ records: SIZE, group: 100, actEvery: 4 },
    onGroup(store) {
      const signed = signLog({ store, source: SOURCE }, { keyFile: join(dir, "log.key"), nowMs: NOW_MS });
      const checkpoint = signed.kind === "refused" ? null : checkpointIn(signed.note);
      if (signed.kind === "refused" || checkpoint === null) throw new Error("not signed");
      key = signed.key;
      kept.push(checkpoint);
    },
  });
});

const outside = (sizes: readonly number[]) => ({
  verifier: verifierIn(key),
  checkpoints: kept.filter(({ size }) => sizes.includes(size)).map((checkpoint) => ({ name: `over ${checkpoint.size}`, checkpoint })),
});

test.each(FORGERIES)(
  "%s: a log whose every hash was made to fit agrees with itself, and not with a checkpoint that was kept",
  async (forgery) => {
    const copy = journalFile(newFolder());
    mkdirSync(dirname(copy));
    copyFileSync(journalFile(dir), copy);
    const first = forge(copy, forgery, seededRandom(3));
    expect(await verifyLog(copy)).toMatchObject({ ok: true });
    const vouched = Math.max(0, ...kept.map(({ size }) => size).filter((size) => size <= first));
    expect(await verifyLog(copy, { outside: outside(KEPT) })).toMatchObject({ ok: false, first_bad: vouched });
  },
);

test("a changed byte of exported records is found and its record named; a verifier that looks at no hash misses some", () => {
  const bodies = (query(journalFile(dir), "SELECT body FROM audit_record WHERE sequence < 100") as { body: string }[]).map(
    ({ body }) => body,
  );
  const records = Buffer.from(bodies.map((body) => `${body}\n`).join(""));
  const leaves = bodies.map((body) => `${leafHash(Buffer.from(body)).toString("hex")}\n`).join("");
  const checkpoint = kept[0]?.written ?? "";
  const random = seededRandom(5);
  const flips = Array.from(
    { length: 150 },
    () => [Math.floor(random() * (records.length + checkpoint.length)), 1 << Math.floor(random() * 8)] as const,
  );
  const job = { records, leaves, checkpoint, key, flips };
  expect(tryFlips({ ...job, blind: false })).toEqual({ trials: 150, missed: [] });
  expect(tryFlips({ ...job, blind: true }).missed.length).toBeGreaterThan(0);
});

test("a changed bit of the file changes nothing that is reported, or is found; SQLite's own check misses some", async () => {
  const small = newFolder();
  writeLongJournal(small, { records: 40, actEvery: 4 });
  const found = await flipFile(journalFile(small), { verifier: null, checkpoints: [] }, 120, seededRandom(11), false);
  expect(found.missed).toEqual([]);
  expect(found.changed).toBeGreaterThan(5);
  expect(
    (await flipFile(journalFile(small), { verifier: null, checkpoints: [] }, 120, seededRandom(11), true)).missed.length,
  ).toBeGreaterThan(0);
});
