/** `audit export`: the records as files that others can read, and verify where the format keeps every byte. */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { type Checkpoint, checkpointIn } from "../call/record/checkpoint.ts";
import { checkpointReader } from "../call/record/checkpoint-query.ts";
import { leafLine } from "../call/record/export-check.ts";
import { JOURNAL_FILE, openReader, type Store } from "../call/record/store.ts";
import { adminClient, NoGateway } from "./admin-client.ts";
import { writeNew } from "./audit-checkpoint.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { grouped, plain } from "./table.ts";

/** How records become a file. */
type Format = {
  /** Canonical bytes, one record a line: what a checkpoint covers. Checkpoint and leaves are written beside the file. */
  readonly isVerifiable: boolean;
  /** What stands before the first record; null: nothing. */
  readonly head: string | null;
  /** With its line end. */
  readonly line: (body: string) => string;
};

const FORMATS: Readonly<Record<string, Format>> = {
  jsonl: { isVerifiable: true, head: null, line: (body) => `${body}\n` },
};

type ExportOptions = CommonOptions & { readonly format: string; readonly out: string; readonly file?: string };

export function registerExport(audit: Command, io: Io): void {
  leaf(
    audit,
    "export",
    "write the records to a file, with the signed checkpoint that covers them beside it",
    "tollgate audit export --format jsonl --out records.jsonl",
  )
    .option("--format <format>", `one of ${Object.keys(FORMATS).join(", ")}`, "jsonl")
    .option("--out <file>", "where to write; never overwritten", "records.jsonl")
    .option("--file <file>", "a copied journal.db or a backup (default: the one in the data folder)")
    .action((options: ExportOptions) => exportRecords(options, io));
}

async function exportRecords(options: ExportOptions, io: Io): Promise<void> {
  const format = Object.hasOwn(FORMATS, options.format) ? FORMATS[options.format] : undefined;
  if (format === undefined) throw new Exit(EXIT.usage, `--format ${options.format}: there is ${Object.keys(FORMATS).join(", ")}`);
  const file = options.file ?? (await signedOwn(options, io));
  const store = openJournal(file);
  try {
    store.exec("BEGIN");
    const checkpoint = format.isVerifiable ? newestIn(store) : null;
    const size = checkpoint?.size ?? sizeOf(store);
    write(store, size, format, options.out);
    if (checkpoint !== null) writeNew(`${options.out}.checkpoint`, checkpoint.written);
    const answer = { file: options.out, records: size, signed: checkpoint !== null };
    print(io, options, answer, () => endLines(answer, format));
  } finally {
    store.close();
  }
}

function endLines({ file, records, signed }: { file: string; records: number; signed: boolean }, format: Format): string {
  const wrote = plain(`wrote ${file}: ${grouped(records)} records`);
  if (!format.isVerifiable) return wrote;
  if (!signed) return `${wrote}\nNothing has been signed in this journal: there is no checkpoint to verify them by.`;
  return plain(`${wrote}\nVerify them anywhere: tollgate audit verify --records ${file} --checkpoint ${file}.checkpoint --key VKEY`);
}

/** A running gateway signs first, so that all that is there now is covered. */
async function signedOwn(options: ExportOptions, io: Io): Promise<string> {
  const config = configOf(options, io);
  await adminClient(config, io)
    .post("/audit/checkpoints", undefined)
    .catch((fault: unknown) => {
      if (!(fault instanceof NoGateway)) throw fault;
    });
  return join(config.data, JOURNAL_FILE);
}

function openJournal(file: string): Store {
  try {
    return openReader(file);
  } catch (fault) {
    throw new Exit(EXIT.away, `${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

function newestIn(store: Store): Checkpoint | null {
  const [newest] = checkpointReader(store).newest(1, null);
  return newest === undefined ? null : checkpointIn(newest.note);
}

function sizeOf(store: Store): number {
  return Number(store.prepare("SELECT coalesce(max(sequence) + 1, 0) FROM audit_record").pluck().get());
}

/** Characters written at once. */
const CHUNK = 1_048_576;

function write(store: Store, size: number, { head, line, isVerifiable }: Format, out: string): void {
  const records = openNew(out);
  const leaves = isVerifiable ? openNew(`${out}.leaves`) : null;
  try {
    let [text, hashes] = [head ?? "", ""];
    const flush = () => {
      writeSync(records, text);
      if (leaves !== null) writeSync(leaves, hashes);
      [text, hashes] = ["", ""];
    };
    const bodies = store.prepare("SELECT body FROM audit_record WHERE sequence < ? ORDER BY sequence").pluck();
    for (const body of bodies.iterate(size) as Iterable<string>) {
      text += line(body);
      if (leaves !== null) hashes += leafLine(Buffer.from(body));
      if (text.length >= CHUNK) flush();
    }
    flush();
  } catch (fault) {
    rmSync(out, { force: true });
    throw fault;
  } finally {
    closeSync(records);
    if (leaves !== null) closeSync(leaves);
  }
}

function openNew(file: string): number {
  try {
    return openSync(file, "wx", 0o600);
  } catch (fault) {
    throw new Exit(EXIT.no, `${file} cannot be written: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}
