/** `audit export`: the records as files that others can read, and verify where the format keeps every byte. */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { instantOf } from "../call/authorize/written.ts";
import type { StoredRecord } from "../call/record/books.ts";
import { type Checkpoint, checkpointIn } from "../call/record/checkpoint.ts";
import { checkpointReader } from "../call/record/checkpoint-query.ts";
import { ocsfOf } from "../call/record/ocsf.ts";
import { CSV_HEAD, csvLine } from "../call/record/record-csv.ts";
import { PURGED_BODY } from "../call/record/schema.ts";
import { JOURNAL_FILE, openReader, type Store } from "../call/record/store.ts";
import { adminClient, NoGateway, Refused } from "./admin-client.ts";
import { writeNew } from "./audit-checkpoint.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { grouped, plain } from "./table.ts";
import { VERSION } from "./version.ts";

/** How records become a file. */
type Format = {
  /** Canonical bytes, one record a line: what a checkpoint covers. Checkpoint and leaves are written beside the file. */
  readonly isVerifiable: boolean;
  /** What stands before the first record; null: nothing. */
  readonly head: string | null;
  /** With its line end. `leaf`: hex. */
  readonly line: (body: string, leaf: string) => string;
};

const FORMATS: Readonly<Record<string, Format>> = {
  jsonl: { isVerifiable: true, head: null, line: (body) => `${body}\n` },
  ocsf: {
    isVerifiable: false,
    head: null,
    line: (body, leaf) => `${JSON.stringify(ocsfOf(JSON.parse(body) as StoredRecord, leaf, VERSION))}\n`,
  },
  csv: { isVerifiable: false, head: CSV_HEAD, line: (body) => csvLine(JSON.parse(body) as StoredRecord) },
};

type Filters = { readonly agent?: string; readonly customer?: string; readonly since?: string; readonly until?: string };
type ExportOptions = CommonOptions & Filters & { readonly format: string; readonly out: string; readonly file?: string };

export function registerExport(audit: Command, io: Io): void {
  leaf(
    audit,
    "export",
    "write the records to a file: canonical JSON lines with the signed checkpoint beside them, OCSF events, or CSV",
    "tollgate audit export --format ocsf --since 2026-11-01 --out november.ocsf.jsonl",
  )
    .option("--format <format>", `one of ${Object.keys(FORMATS).join(", ")}`, "jsonl")
    .option("--out <file>", "where to write; never overwritten", "records.jsonl")
    .option("--since <time>", "records that ended at this time or later: a part of a log cannot be verified as a whole")
    .option("--until <time>", "records that ended before")
    .option("--agent <name>", "of this agent, by its name or its id")
    .option("--customer <key>", "of this customer's agents")
    .option("--file <file>", "a copied journal.db or a backup (default: the one in the data folder)")
    .action((options: ExportOptions) => exportRecords(options, io));
}

async function exportRecords(options: ExportOptions, io: Io): Promise<void> {
  const format = Object.hasOwn(FORMATS, options.format) ? FORMATS[options.format] : undefined;
  if (format === undefined) throw new Exit(EXIT.usage, `--format ${options.format}: there is ${Object.keys(FORMATS).join(", ")}`);
  const filter = filterOf(options);
  const isWhole = format.isVerifiable && filter === null;
  const file = options.file ?? (await ownJournal(isWhole, options, io));
  const store = openJournal(file);
  try {
    store.exec("BEGIN");
    const checkpoint = isWhole ? newestIn(store) : null;
    const records = write(store, checkpoint?.size ?? sizeOf(store), { ...format, isVerifiable: isWhole }, filter, options.out);
    if (checkpoint !== null) writeNew(`${options.out}.checkpoint`, checkpoint.written);
    const answer = { file: options.out, records, signed: checkpoint !== null };
    print(io, options, answer, () => endLines(answer, isWhole));
  } finally {
    store.close();
  }
}

type Filter = { readonly [Name in keyof Filters]-?: string | null };

/** Null: all of them. */
function filterOf({
  agent = null,
  customer = null,
  since,
  until,
}: { readonly [Name in keyof Filters]: Filters[Name] | null }): Filter | null {
  if (agent === null && customer === null && since === undefined && until === undefined) return null;
  return { agent, customer, since: timeOf(since), until: timeOf(until) };
}

function timeOf(written: string | null | undefined): string | null {
  if (written === undefined || written === null) return null;
  const instant = instantOf(written);
  if (instant === null) throw new Exit(EXIT.usage, `${written} is not a time: 2026-11-01 or 2026-11-01T12:00:00Z`);
  return instant;
}

function endLines({ file, records, signed }: { file: string; records: number; signed: boolean }, isWhole: boolean): string {
  const wrote = plain(`wrote ${file}: ${grouped(records)} records`);
  if (!isWhole) return wrote;
  if (!signed) return `${wrote}\nNothing has been signed in this journal: there is no checkpoint to verify them by.`;
  return `${wrote}\n${plain(`Verify them anywhere: tollgate audit verify --records ${file} --checkpoint ${file}.checkpoint --key VKEY`)}`;
}

/** For what is to be verified a running gateway signs first, so that all that is there now is covered. Where it does not sign, an older checkpoint may do. */
async function ownJournal(toVerify: boolean, options: ExportOptions, io: Io): Promise<string> {
  const config = configOf(options, io);
  const sign = () => adminClient(config, io).post("/audit/checkpoints", undefined);
  if (toVerify)
    await sign().catch((fault: unknown) => {
      if (!(fault instanceof NoGateway) && !(fault instanceof Refused)) throw fault;
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

/** Purged records are lines only where all of them are: their leaves stay. Returns how many records were written. */
function write(store: Store, size: number, { head, line, isVerifiable }: Format, filter: Filter | null, out: string): number {
  const records = openNew(out);
  const leaves = isVerifiable ? openNew(`${out}.leaves`) : null;
  let count = 0;
  try {
    let [text, hashes] = [head ?? "", ""];
    const flush = () => {
      writeSync(records, text);
      if (leaves !== null) writeSync(leaves, hashes);
      [text, hashes] = ["", ""];
    };
    for (const { body, leaf } of rowsOf(store, size, isVerifiable, filter)) {
      count += 1;
      text += line(body, leaf);
      if (leaves !== null) hashes += `${leaf}\n`;
      if (text.length >= CHUNK) flush();
    }
    if (count === 0 && filter !== null && (filter.agent !== null || filter.customer !== null))
      throw new Exit(EXIT.no, `no record matches ${whoseOf(filter)}: nothing was written`);
    flush();
    return count;
  } catch (fault) {
    for (const written of leaves === null ? [out] : [out, `${out}.leaves`]) rmSync(written, { force: true });
    throw fault;
  } finally {
    closeSync(records);
    if (leaves !== null) closeSync(leaves);
  }
}

/** An empty file for a name with a typing error would say that there was nothing. */
function whoseOf({ agent, customer }: Filter): string {
  return [agent === null ? [] : [`--agent ${agent}`], customer === null ? [] : [`--customer ${customer}`]].flat().join(" and ");
}

function rowsOf(store: Store, size: number, isVerifiable: boolean, filter: Filter | null): Iterable<{ body: string; leaf: string }> {
  const { agent, customer, since, until } = filter ?? { agent: null, customer: null, since: null, until: null };
  return store
    .prepare(
      `SELECT body, lower(hex(leaf)) AS leaf FROM audit_record WHERE sequence < @size
         AND (@all OR body <> '${PURGED_BODY}')
         AND (@agent IS NULL OR @agent IN (body ->> '$.agent.id', body ->> '$.agent.name', body ->> '$.details.agent_id', body ->> '$.details.agent'))
         AND (@customer IS NULL OR body ->> '$.agent.customer' = @customer OR body ->> '$.details.customer' = @customer)
         AND (@since IS NULL OR body ->> '$.time_end' >= @since) AND (@until IS NULL OR body ->> '$.time_end' < @until)
       ORDER BY sequence`,
    )
    .iterate({ size, all: isVerifiable ? 1 : 0, agent, customer, since, until }) as Iterable<{ body: string; leaf: string }>;
}

function openNew(file: string): number {
  try {
    return openSync(file, "wx", 0o600);
  } catch (fault) {
    throw new Exit(EXIT.no, `${file} cannot be written: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}
