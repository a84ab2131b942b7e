/** `npm run bench:verify [-- --quick | --records N]`: what it takes to verify a journal, and to check one proof. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBooks } from "../src/call/record/books.ts";
import { signatureProblem } from "../src/call/record/checkpoint.ts";
import { signLog } from "../src/call/record/log-signing.ts";
import { verifierIn } from "../src/call/record/signed-note.ts";
import { JOURNAL_FILE, openReader, openStore } from "../src/call/record/store.ts";
import { proofIn, provenBy } from "../src/call/record/tlog-proof.ts";
import { verifyLog } from "../src/call/record/verify.ts";
import { writeLongJournal } from "../test/fixtures/long-journal.ts";
import { SOURCE } from "../test/record/journal-fixture.ts";
import { percentile } from "./percentile.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" }, records: { type: "string" } } });
const records = Number(values.records ?? (values.quick === true ? 50_000 : 1_000_000));
const PROOFS = 1_000;
const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-"));
const dataDir = join(folder, "data");
const seconds = (ms: number) => Math.round(ms / 100) / 10;
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  let from = performance.now();
  writeLongJournal(dataDir, { records });
  const store = openStore(dataDir, false);
  const signed = signLog({ store, source: SOURCE }, { keyFile: join(dataDir, "log.key"), nowMs: Date.now() });
  store.close();
  if (signed.kind === "refused") throw new Error(signed.why);
  const file = join(dataDir, JOURNAL_FILE);
  say({ made: records, megabytes: Math.round(statSync(file).size / 1e6), seconds: seconds(performance.now() - from) });

  from = performance.now();
  const cpu = process.cpuUsage();
  const verifier = verifierIn(signed.key);
  const verdict = await verifyLog(file, { outside: { verifier, checkpoints: [] } });
  const { user, system } = process.cpuUsage(cpu);
  if (!verdict.ok || verdict.checkpoints.signed !== records) throw new Error(verdict.problems.join("; "));
  say({
    ...{ verified: records, seconds: seconds(performance.now() - from), cpu_seconds: seconds((user + system) / 1000) },
    ...{ micros_of_cpu_a_record: Math.round((user + system) / records), cores: availableParallelism() },
  });

  const reader = openReader(file);
  const books = openBooks(reader);
  const [making, checking]: [number[], number[]] = [[], []];
  let hashes = 0;
  let bytes = 0;
  for (let i = 0; i < PROOFS; i++) {
    const sequence = Math.floor((records * i) / PROOFS);
    from = performance.now();
    const answer = books.proof(String(sequence));
    making.push(performance.now() - from);
    if (answer.kind !== "proof") throw new Error(`no proof of ${sequence}`);
    from = performance.now();
    const proof = proofIn(answer.proof);
    if (proof === null || verifier === null || signatureProblem(proof.checkpoint, verifier) !== null || typeof provenBy(proof) === "string")
      throw new Error(`the proof of ${sequence} does not verify`);
    checking.push(performance.now() - from);
    hashes = Math.max(hashes, proof.path.length);
    bytes = Math.max(bytes, answer.proof.length);
  }
  reader.close();
  const ms = (samples: number[], p: number) =>
    Math.round(
      percentile(
        samples.toSorted((a, b) => a - b),
        p,
      ) * 100,
    ) / 100;
  say({
    proofs: PROOFS,
    hashes_max: hashes,
    bytes_max: bytes,
    made_ms: [ms(making, 50), ms(making, 99)],
    checked_ms: [ms(checking, 50), ms(checking, 99)],
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
