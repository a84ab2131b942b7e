/**
 * `npm run prove:audit [-- --quick] [--count N] [--seed N] [--control]`: tampers with exported files, database files and whole logs, and prints
 * what the verifier missed: nothing. `--control`: verifiers with a check switched off must miss something, or the proof would prove nothing.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { type Checkpoint, checkpointIn } from "../../src/call/record/checkpoint.ts";
import type { Outside } from "../../src/call/record/checkpoint-check.ts";
import { signLog } from "../../src/call/record/log-signing.ts";
import { verifierIn } from "../../src/call/record/signed-note.ts";
import { NOTHING_OUTSIDE, verifyLog } from "../../src/call/record/verify.ts";
import { tollgate } from "../cli/terminal.ts";
import { writeLongJournal } from "../fixtures/long-journal.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { NOW_MS } from "./entries.ts";
import type { Flips, FlipsFound } from "./export-flips.ts";
import { flipFile } from "./file-flips.ts";
import { FORGERIES, forge } from "./forger.ts";
import { journalFile, SOURCE } from "./journal-fixture.ts";

const { values } = parseArgs({
  options: { seed: { type: "string" }, count: { type: "string" }, quick: { type: "boolean" }, control: { type: "boolean" } },
});
const seed = Number(values.seed ?? 1);
const isControl = values.control === true;
const isShort = values.quick === true || isControl;
/** Of each kind; the export is otherwise flipped at every byte. */
const count = values.count === undefined ? null : Number(values.count);
const random = seededRandom(seed);
const folder = mkdtempSync(join(tmpdir(), "tollgate-prove-audit-"));
const THREADS = 2;

type Made = { readonly file: string; readonly key: string; readonly checkpoints: readonly Checkpoint[] };
type Line = { readonly proof: string; readonly trials: number; readonly missed: readonly string[] } & Readonly<Record<string, unknown>>;

/** A journal with a checkpoint after every `group` records. */
function make(name: string, records: number, group: number): Made {
  const dataDir = join(folder, name);
  const checkpoints: Checkpoint[] = [];
  let key = "";
  writeLongJournal(dataDir, {
    ...{ records, group, actEvery: 4 },
    onGroup(store) {
      const signed = signLog({ store, source: SOURCE }, { keyFile: join(dataDir, "log.key"), nowMs: NOW_MS });
      if (signed.kind === "refused") throw new Error(signed.why);
      const checkpoint = checkpointIn(signed.note);
      if (checkpoint !== null) checkpoints.push(checkpoint);
      key = signed.key;
    },
  });
  return { file: journalFile(dataDir), key, checkpoints };
}

function outsideOf({ key, checkpoints }: Made, sizes: readonly number[]): Outside {
  const kept = checkpoints.filter(({ size }) => sizes.includes(size));
  return { verifier: verifierIn(key), checkpoints: kept.map((checkpoint) => ({ name: `kept over ${checkpoint.size}`, checkpoint })) };
}

async function flipExport(): Promise<Line> {
  const made = make("export", 200, 200);
  const out = join(folder, "records.jsonl");
  const { code, err } = await tollgate(["audit", "export", "--file", made.file, "--out", out]);
  if (code !== 0) throw new Error(err);
  const [records, leaves, checkpoint] = [
    readFileSync(out),
    readFileSync(`${out}.leaves`, "utf8"),
    readFileSync(`${out}.checkpoint`, "utf8"),
  ];
  const all = records.length + checkpoint.length;
  const due = count ?? (isControl ? 1_000 : isShort ? 6_000 : all);
  const stride = Math.max(1, Math.floor(records.length / due));
  const flips: [number, number][] = [];
  for (let at = 0; at < records.length; at += stride) flips.push([at, 1 + Math.floor(random() * 255)]);
  for (let at = records.length; at < all; at++) for (let bit = 0; bit < 8; bit += isShort ? 3 : 1) flips.push([at, 1 << bit]);
  const found = await Promise.all(
    Array.from({ length: THREADS }, (_, thread) =>
      onThread({ records, leaves, checkpoint, key: made.key, flips: flips.filter((__, i) => i % THREADS === thread), blind: isControl }),
    ),
  );
  const missed = found.flatMap((each) => each.missed);
  return { proof: "single bytes of an exported file and its checkpoint", trials: flips.length, missed, bytes: all };
}

function onThread(job: Flips): Promise<FlipsFound> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./export-flips.ts", import.meta.url), { workerData: job });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

async function flipDatabase(): Promise<Line> {
  const made = make("file", 60, 20);
  const { trials, changed, missed } = await flipFile(made.file, outsideOf(made, [60]), count ?? (isShort ? 150 : 2_500), random, isControl);
  return { proof: "single bits of a database file", trials, missed, changed_reports: changed };
}

async function forgeLogs(): Promise<Line> {
  const made = make("log", 10_000, 1_000);
  const kept = [4_000, 10_000];
  const outside = outsideOf(made, kept);
  const untouched = await verifyLog(made.file, { outside });
  if (!untouched.ok) throw new Error(untouched.problems.join("; "));
  const copy = join(folder, "forged.db");
  const missed: string[] = [];
  const rounds = count ?? (isShort ? 1 : 8);
  let trials = 0;
  for (let round = 0; round < rounds; round++) {
    for (const forgery of FORGERIES) {
      trials += 1;
      copyFileSync(made.file, copy);
      const first = forge(copy, forgery, random);
      // A hand that left a trace would prove less: without what was kept elsewhere nobody can tell.
      const alone = await verifyLog(copy);
      if (!alone.ok) throw new Error(`${forgery} at ${first} is no good forgery: ${alone.problems.join("; ")}`);
      const verdict = await verifyLog(copy, { outside: isControl ? NOTHING_OUTSIDE : outside });
      // Where every hash fits, the last checkpoint that holds is as near as anybody can come.
      const vouched = Math.max(0, ...made.checkpoints.map(({ size }) => size).filter((size) => size <= first));
      if (verdict.ok || verdict.first_bad !== vouched)
        missed.push(`${forgery} at ${first}: said ${verdict.ok ? "ok" : `first bad ${verdict.first_bad}, expected ${vouched}`}`);
    }
  }
  return { proof: "forged logs of 10,000 records, every hash made to fit, against kept checkpoints", trials, missed };
}

let isGood = true;
for (const prove of [flipExport, flipDatabase, forgeLogs]) {
  const from = performance.now();
  const { missed, ...line } = await prove();
  isGood &&= isControl ? missed.length > 0 : missed.length === 0;
  const seconds = Math.round((performance.now() - from) / 100) / 10;
  const shown = missed.length === 0 ? {} : { first_violations: missed.slice(0, 5) };
  process.stdout.write(
    `${JSON.stringify({ seed, ...(isControl ? { control: true } : {}), ...line, violations: missed.length, seconds, ...shown })}\n`,
  );
}
if (isControl)
  process.stdout.write(
    isGood ? "every weakened verifier missed something, as it must\n" : "a weakened verifier missed nothing: this proof cannot see\n",
  );
rmSync(folder, { recursive: true, force: true });
process.exitCode = isGood ? 0 : 1;
