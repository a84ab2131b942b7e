import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkpointIn, signatureProblem } from "../../src/call/record/checkpoint.ts";
import { checkpointFileOf } from "../../src/call/record/log-key.ts";
import type { Signing } from "../../src/call/record/log-signing.ts";
import { signerOf, signingKeyText, verifierIn } from "../../src/call/record/signed-note.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, query, SOURCE, tamper } from "./journal-fixture.ts";

type Journal = Awaited<ReturnType<typeof open>>;

async function add(journal: Journal, calls: number): Promise<void> {
  for (let i = 0; i < calls; i++) {
    const callId = newCallId();
    await journal.permit(permitEntry(callId));
    await journal.settle(settlementEntry(callId, i));
  }
}

const keyOf = (dir: string) => join(dir, "log.key");
const sign = (journal: Journal, keyFile: string) => journal.run("signLog", { keyFile, nowMs: NOW_MS });

function good(signing: Signing) {
  if (signing.kind === "refused") throw new Error(signing.why);
  const [checkpoint, verifier] = [checkpointIn(signing.note), verifierIn(signing.key)];
  if (checkpoint === null || verifier === null) throw new Error("not a checkpoint with a key");
  expect(signatureProblem(checkpoint, verifier)).toBeNull();
  return checkpoint;
}

test("a checkpoint is signed over what is committed, with a key that is made once and is its owner's alone", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  await add(journal, 3);
  const first = await sign(journal, keyOf(dir));
  expect(good(first)).toMatchObject({ origin: `tollgate/${SOURCE}`, size: 3 });
  expect(await sign(journal, keyOf(dir))).toEqual({ ...first, kind: "unchanged" });
  await add(journal, 2);
  const second = await sign(journal, keyOf(dir));
  expect(good(second).size).toBe(5);
  expect(second).toMatchObject({ kind: "signed", key: first.kind === "refused" ? "" : first.key });
  await journal.close();
  for (const file of [keyOf(dir), checkpointFileOf(keyOf(dir))]) expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(checkpointFileOf(keyOf(dir)), "utf8")).toBe(second.kind === "refused" ? "" : second.note);
  const verdict = await verifyLog(journalFile(dir));
  expect(verdict).toMatchObject({ ok: true, size: 5, root: good(second).root.toString("hex"), checkpoints: { stored: 2, signed: null } });
});

/** A journal with a checkpoint over 6 records, and a copy of its file from when there were 4. */
async function rolledBack() {
  const dir = newFolder();
  const older = `${dir}-older.db`;
  let journal = await open(dir);
  await add(journal, 4);
  await sign(journal, keyOf(dir));
  await journal.close();
  copyFileSync(journalFile(dir), older);
  journal = await open(dir);
  await add(journal, 2);
  const signed = good(await sign(journal, keyOf(dir)));
  await journal.close();
  for (const end of ["-wal", "-shm"]) rmSync(journalFile(dir) + end, { force: true });
  copyFileSync(older, journalFile(dir));
  // Else the start would be refused: the mark tells of 6 records.
  rmSync(`${dir}/journal.mark`);
  return { dir, signed };
}

test("a journal that was rolled back is not signed, also not when it has grown beyond what was signed", async () => {
  const { dir, signed } = await rolledBack();
  const journal = await open(dir);
  expect(await sign(journal, keyOf(dir))).toMatchObject({ kind: "refused", why: expect.stringContaining("older copy") });
  await add(journal, 4);
  expect(await sign(journal, keyOf(dir))).toMatchObject({ kind: "refused", why: expect.stringContaining("first 6 records") });
  await journal.close();
  expect(readFileSync(checkpointFileOf(keyOf(dir)), "utf8")).toBe(signed.written);
  expect(query(journalFile(dir), "SELECT size FROM checkpoint")).toEqual([{ size: 4 }]);
});

test("a log whose signed beginning was changed is not signed, although its leaves and roots fit", async () => {
  const dir = newFolder();
  let journal = await open(dir);
  await add(journal, 3);
  await sign(journal, keyOf(dir));
  await journal.close();
  const { leafHash } = await import("../../src/call/record/merkle.ts");
  tamper(journalFile(dir), (raw) => {
    const body = String(raw.prepare("SELECT body FROM audit_record WHERE sequence = 1").pluck().get()).replace(
      "support-bot",
      "support-bat",
    );
    raw.prepare("UPDATE audit_record SET body = ?, leaf = ? WHERE sequence = 1").run(body, leafHash(Buffer.from(body)));
  });
  journal = await open(dir);
  await add(journal, 1);
  expect(await sign(journal, keyOf(dir))).toMatchObject({ kind: "refused", why: expect.stringContaining("first 3 records") });
  await journal.close();
});

test("where the file beside the key is gone, and the journal has checkpoints of that key, nothing is signed", async () => {
  const { dir } = await rolledBack();
  rmSync(checkpointFileOf(keyOf(dir)));
  const journal = await open(dir);
  expect(await sign(journal, keyOf(dir))).toMatchObject({ kind: "refused", why: expect.stringContaining("put the file back") });
  await journal.close();
});

test.each([
  ["another log's key", signingKeyText("tollgate/gw-other", Buffer.alloc(32, 1)), "logKey must name another file"],
  ["no key", "nothing\n", "holds no key"],
])("with %s nothing is signed, and calls are recorded", async (_, text, why) => {
  const dir = newFolder();
  const keyFile = `${dir}.key`;
  mkdirSync(dir, { recursive: true });
  writeFileSync(keyFile, text, { mode: 0o600 });
  const journal = await open(dir);
  await add(journal, 1);
  expect(await sign(journal, keyFile)).toMatchObject({ kind: "refused", why: expect.stringContaining(why) });
  await add(journal, 1);
  expect(journal.available).toBe(true);
  await journal.close();
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM checkpoint")).toEqual([{ n: 0 }]);
});

test("a key that others can read is not used, and its text is in no message", async () => {
  const dir = newFolder();
  const keyFile = `${dir}.key`;
  mkdirSync(dir, { recursive: true });
  const text = signingKeyText(`tollgate/${SOURCE}`, Buffer.alloc(32, 5));
  writeFileSync(keyFile, text);
  chmodSync(keyFile, 0o644);
  const journal = await open(dir);
  const outcome = await sign(journal, keyFile);
  expect(outcome).toMatchObject({ kind: "refused", why: expect.stringContaining("chmod 600") });
  expect(JSON.stringify(outcome)).not.toContain(text.slice(-30).trim());
  await journal.close();
});

test("a checkpoint beside the key that cannot be read stops the signing: what was signed is not known", async () => {
  const dir = newFolder();
  const journal = await open(dir);
  await add(journal, 1);
  await sign(journal, keyOf(dir));
  writeFileSync(checkpointFileOf(keyOf(dir)), "half of a ch");
  await add(journal, 1);
  expect(await sign(journal, keyOf(dir))).toMatchObject({ kind: "refused", why: expect.stringContaining("not known") });
  await journal.close();
});

test("what was signed when the process died before it was stored is stored at the next signing", async () => {
  const dir = newFolder();
  let journal = await open(dir);
  await add(journal, 2);
  await sign(journal, keyOf(dir));
  await journal.close();
  tamper(journalFile(dir), (raw) => raw.exec("DELETE FROM checkpoint"));
  journal = await open(dir);
  await add(journal, 1);
  await sign(journal, keyOf(dir));
  await journal.close();
  expect(query(journalFile(dir), "SELECT size FROM checkpoint ORDER BY size")).toEqual([{ size: 2 }, { size: 3 }]);
});

const checkpointAttacks: readonly [string, string, string][] = [
  ["a checkpoint with another root", "UPDATE checkpoint SET root = zeroblob(32) WHERE size = 2", "cannot be read"],
  [
    "a checkpoint of another key",
    `UPDATE checkpoint SET key = '${signerOf("tollgate/x", Buffer.alloc(32, 3)).vkey}' WHERE size = 2`,
    "is not signed by",
  ],
  ["a checkpoint of more records than there are", "UPDATE checkpoint SET size = 9 WHERE size = 4", "cannot be read"],
];
test.each(checkpointAttacks)("%s is found", async (_, sql, words) => {
  const dir = newFolder();
  const journal = await open(dir);
  for (let i = 0; i < 2; i++) {
    await add(journal, 2);
    await sign(journal, keyOf(dir));
  }
  await journal.close();
  tamper(journalFile(dir), (raw) => raw.exec(sql));
  const verdict = await verifyLog(journalFile(dir));
  expect(verdict.ok).toBe(false);
  expect(verdict.problems.join()).toContain(words);
});

test("a log cut off together with everything that belonged to it is caught by a checkpoint from outside, and by nothing else", async () => {
  const { dir, signed } = await rolledBack();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 4, checkpoints: { outside: null } });
  const outside = { verifier: null, checkpoints: [{ name: "kept", checkpoint: signed }] };
  const verdict = await verifyLog(journalFile(dir), { outside: outside });
  expect(verdict).toMatchObject({ ok: false, first_bad: 4, problems: [expect.stringContaining("cut off")] });
});
