/** `audit verify`: a journal, an exported file or a single proof, against the key and the checkpoints that somebody has kept. */
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { signatureProblem } from "../call/record/checkpoint.ts";
import type { Outside } from "../call/record/checkpoint-check.ts";
import { createExportCheck, leavesOf } from "../call/record/export-check.ts";
import { checkpointFileOf, LOG_KEY_FILE, readLogKey } from "../call/record/log-key.ts";
import { verifierIn } from "../call/record/signed-note.ts";
import { JOURNAL_FILE } from "../call/record/store.ts";
import { proofIn, provenBy } from "../call/record/tlog-proof.ts";
import { type Verdict, verifyLog } from "../call/record/verify.ts";
import type { Config } from "../config.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { keyOf, readCheckpoint, readEvidence } from "./evidence-file.ts";
import { explain } from "./explain.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { grouped, plain } from "./table.ts";

type VerifyOptions = CommonOptions & {
  readonly file?: string;
  readonly records?: string;
  readonly proof?: string;
  readonly key?: string;
  readonly checkpoint: readonly string[];
};

export function registerVerify(audit: Command, io: Io): void {
  leaf(
    audit,
    "verify",
    "recompute every leaf, every sequence number, the root and every checkpoint; exit 1 if anything is off",
    'tollgate audit verify --file copy-of-journal.db --key "$VKEY" --checkpoint kept-elsewhere',
  )
    .option("--file <file>", "a copied journal.db or a backup (default: the one in the data folder)")
    .option("--records <file>", "records that audit export has written, instead of a journal; needs --checkpoint")
    .option("--proof <file>", "a proof that audit prove has written, instead of a journal")
    .option("--key <vkey>", "the verifier key of the log, from tollgate audit key, kept elsewhere")
    .option("--checkpoint <file>", "a checkpoint that was kept elsewhere; may be repeated", (file, all: string[]) => [...all, file], [])
    .action((options: VerifyOptions) => {
      if ([options.file, options.records, options.proof].filter((each) => each !== undefined).length > 1)
        throw new Exit(EXIT.usage, "--file, --records and --proof are three different things to verify: name one");
      if (options.proof !== undefined) return verifyProof(options.proof, options, io);
      return options.records === undefined ? verifyJournal(options, io) : verifyRecords(options.records, options, io);
    });
}

async function verifyJournal(options: VerifyOptions, io: Io): Promise<void> {
  const config = options.file === undefined ? configOf(options, io) : null;
  const file = options.file ?? ownJournal(config as Config);
  if (!existsSync(file)) throw new Exit(EXIT.usage, `${file} does not exist`);
  const outside = outsideOf(config === null ? join(dirname(file), LOG_KEY_FILE) : config.logKey, config !== null, options);
  const progress = (done: number, size: number) => {
    if (io.color) io.err(paint(io, "dim", `${grouped(done)} of ${grouped(size)} records`));
  };
  const verdict = await verifyLog(file, { progress, outside }).catch((fault: Error) => {
    throw new Exit(EXIT.no, `${file} does not verify: it cannot be read as a journal (${fault.message})`);
  });
  end(verdict, file, options, io, () => trustLines(verdict, options));
}

/** What was signed last lies beside the key: read before the journal, which may grow meanwhile. */
function outsideOf(keyFile: string, isOwn: boolean, options: VerifyOptions): Outside {
  const checkpoints = options.checkpoint.map((name) => ({ name, checkpoint: readCheckpoint(name) }));
  const beside = checkpointFileOf(keyFile);
  const isThere = existsSync(beside);
  if (isThere) checkpoints.push({ name: beside, checkpoint: readCheckpoint(beside) });
  const own = isOwn && isThere ? (readLogKey(keyFile)?.vkey ?? null) : null;
  return { verifier: keyOf(options.key) ?? (own === null ? null : verifierIn(own)), checkpoints };
}

function trustLines({ size, checkpoints }: Verdict, options: VerifyOptions): string {
  const { signed, outside, stored } = checkpoints;
  const kept = options.checkpoint.length > 0 || options.key !== undefined;
  if (signed === null && outside === null)
    return "Internally consistent only: a log that was cut off or replaced as a whole agrees with itself. Bring a checkpoint kept elsewhere: --checkpoint FILE --key VKEY";
  const covered = Math.max(signed ?? 0, outside ?? 0);
  const vouched = `Checkpoints vouch for the first ${grouped(covered)} records${covered < size ? `, for the last ${grouped(size - covered)} only the file itself` : ""}; ${grouped(stored)} are stored.`;
  if (kept && signed !== null) return vouched;
  if (signed === null) return `${vouched}\nTheir signatures were not checked: --key VKEY`;
  return `${vouched}\nKey and checkpoint lie on this machine: whoever has it could replace them with the log. Keep both elsewhere: tollgate audit key, tollgate audit checkpoint`;
}

async function verifyRecords(file: string, options: VerifyOptions, io: Io): Promise<void> {
  const [name, more] = options.checkpoint;
  if (name === undefined || more !== undefined)
    throw new Exit(EXIT.usage, "--records needs the one --checkpoint that was exported with them");
  const problems: string[] = [];
  let firstBad: number | undefined;
  const complain = (sequence: number | null, what: string) => {
    if (sequence !== null) firstBad = Math.min(firstBad ?? sequence, sequence);
    if (problems.length < 20) problems.push(what);
  };
  const [checkpoint, verifier] = [readCheckpoint(name), keyOf(options.key)];
  const unsigned = verifier === null ? null : signatureProblem(checkpoint, verifier);
  if (unsigned !== null) complain(null, `${name}: ${unsigned}`);
  const beside = `${file}.leaves`;
  const leaves = existsSync(beside) ? leavesOf(readFileSync(beside, "utf8"), checkpoint) : null;
  if (leaves === null && existsSync(beside)) complain(null, `${beside} does not hold the leaves that the checkpoint is over`);
  const check = createExportCheck(checkpoint, leaves, complain);
  const isWhole = await eachLine(file, check.add);
  const { size, root } = check.end(isWhole);
  const signed = verifier === null || unsigned !== null ? null : checkpoint.size;
  const checkpoints = { stored: 0, signed, outside: checkpoint.size };
  const base = { ok: problems.length === 0, size, root: root().toString("hex"), checkpoints, problems };
  const verdict: Verdict = firstBad === undefined ? base : { ...base, first_bad: firstBad };
  end(verdict, file, options, io, () => trustLines(verdict, options));
}

function end(verdict: Verdict, file: string, options: CommonOptions, io: Io, trust: () => string): void {
  print(io, options, verdict, () => {
    const size = `${verdict.size} records, root ${verdict.root}`;
    if (verdict.ok) return `${paint(io, "green", "ok")}: ${size}\n${trust()}`;
    const problems = verdict.problems.map((each) => `  ${plain(each)}`).join("\n");
    return `${paint(io, "red", "NOT ok")}: first bad sequence ${verdict.first_bad ?? "unknown"}; ${size}\n${problems}`;
  });
  if (!verdict.ok) throw new Exit(EXIT.no, `${file} does not verify`);
}

/** A record has at most some kilobytes; a file without a line feed must not fill the memory. */
const LINE_BYTES_MAX = 16_777_216;

/** Whether the last line ended. */
async function eachLine(file: string, take: (line: Buffer) => void): Promise<boolean> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1_048_576 }) as AsyncIterable<Buffer>) {
      let text = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let at = text.indexOf(0x0a); at !== -1; at = text.indexOf(0x0a)) {
        take(text.subarray(0, at));
        text = text.subarray(at + 1);
      }
      rest = text;
      if (rest.length > LINE_BYTES_MAX) throw new Error("a line has more than 16 MiB");
    }
  } catch (fault) {
    throw new Exit(EXIT.usage, `${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
  if (rest.length > 0) take(rest);
  return rest.length === 0;
}

/** Offline: nothing is read but the file. */
function verifyProof(file: string, options: VerifyOptions, io: Io): void {
  const proof = proofIn(readEvidence(file));
  if (proof === null) throw new Exit(EXIT.no, `${file} is no proof (c2sp.org/tlog-proof), or not a byte for byte copy of one`);
  const { checkpoint, index, path } = proof;
  const verifier = keyOf(options.key);
  const unsigned = verifier === null ? null : signatureProblem(checkpoint, verifier);
  const shown = provenBy(proof);
  const problem = typeof shown === "string" ? shown : unsigned === null ? null : `its checkpoint: ${unsigned}`;
  const facts = { index, size: checkpoint.size, origin: checkpoint.origin, hashes: path.length, signed_by: verifier?.vkey ?? null };
  if (typeof shown === "string" || problem !== null) {
    print(io, options, { ok: false, ...facts, problem }, () => `${paint(io, "red", "NOT ok")}: ${plain(problem ?? "")}`);
    throw new Exit(EXIT.no, `${file} does not verify`);
  }
  const { record, event } = shown;
  print(io, options, { ok: true, ...facts, record, usage_event: event }, () => {
    const place = `record ${index} of the log ${checkpoint.origin}, as it was when it had ${grouped(checkpoint.size)} records`;
    const trust =
      verifier === null
        ? `${paint(io, "yellow", "The signature was NOT checked")}: say whose log it must be, with --key VKEY`
        : `Signed by ${verifier.vkey}`;
    const billed = event === null ? [] : ["Billed, as the record's digest has it:", plain(JSON.stringify(event))];
    return [`${paint(io, "green", "ok")}: ${plain(place)}`, plain(trust), "", ...explain(record), ...billed].join("\n");
  });
}

function ownJournal(config: Config): string {
  const file = join(config.data, JOURNAL_FILE);
  if (existsSync(file)) return file;
  throw new Exit(EXIT.away, `${file} does not exist: it is made when the gateway first starts. Start it: tollgate serve -c ${config.file}`);
}
