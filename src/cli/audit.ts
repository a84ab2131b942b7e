/** `audit tail|show|verify`: the evidence; `verify` needs no gateway, only the file. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { AuditRecord } from "../call/record/audit-record.ts";
import { RECORDS_MAX } from "../call/record/books.ts";
import { JOURNAL_FILE } from "../call/record/store.ts";
import { verifyLog } from "../call/record/verify.ts";
import type { Config } from "../config.ts";
import { registerAuditRetention } from "./audit-retention.ts";
import { openBooks } from "./books.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { plain, table } from "./table.ts";

export function registerAudit(program: Command, io: Io): void {
  const audit = branch(program, "audit", "the evidence: every request left one record");
  leaf(audit, "tail", "the newest records", "tollgate audit tail --limit 20")
    .option("--limit <count>", "how many", "20")
    .action(async (options: CommonOptions & { limit: string }) => {
      const records = await openBooks(configOf(options, io), io).tail(wholeNumber("--limit", options.limit));
      print(io, options, records, () =>
        table(["SEQ", "TIME", "CALL", "AGENT", "WHAT", "DECISION", "REASON", "OUTCOME", "MS"], records.map(row)),
      );
    });
  leaf(audit, "show <call-id>", "one record and the proof that it is in the log", "tollgate audit show call_01jd8...").action(
    async (callId: string, options: CommonOptions) => {
      const { record, proof } = await openBooks(configOf(options, io), io).record(callId);
      print(io, options, { record, proof }, () => {
        const path = proof.hashes.map((hash) => `  ${hash}`).join("\n");
        // JSON leaves some characters as they are that a terminal obeys.
        const lines = JSON.stringify(record, null, 2).split("\n").map(plain).join("\n");
        return `${lines}\n\nleaf ${proof.leaf_index} of ${proof.tree_size}, root ${proof.root}\n${path}`;
      });
    },
  );
  leaf(
    audit,
    "verify",
    "recompute every leaf, every sequence number and the root; exit 1 if anything is off",
    "tollgate audit verify --file copy-of-journal.db",
  )
    .option("--file <file>", "a copied journal.db (default: the one in the data folder)")
    .action((options: CommonOptions & { file?: string }) => verify(options, io));
  registerAuditRetention(audit, io);
}

async function verify(options: CommonOptions & { file?: string }, io: Io): Promise<void> {
  const file = options.file ?? ownJournal(configOf(options, io));
  if (!existsSync(file)) throw new Exit(EXIT.usage, `${file} does not exist`);
  const progress = (done: number, size: number) => {
    if (io.color && done % 50_000 === 0) io.err(`${done} of ${size} records`);
  };
  const verdict = await verifyLog(file, progress).catch((fault: Error) => {
    throw new Exit(EXIT.no, `${file} does not verify: it cannot be read as a journal (${fault.message})`);
  });
  print(io, options, verdict, () => {
    const size = `${verdict.size} records, root ${verdict.root}`;
    if (verdict.ok)
      return `${paint(io, "green", "ok")}: ${size}\nInternally consistent only: compare the root with one kept elsewhere to rule out a replaced log.`;
    return `${paint(io, "red", "NOT ok")}: first bad sequence ${verdict.first_bad ?? "unknown"}; ${size}`;
  });
  if (!verdict.ok) throw new Exit(EXIT.no, `${file} does not verify`);
}

function ownJournal(config: Config): string {
  const file = join(config.data, JOURNAL_FILE);
  if (existsSync(file)) return file;
  throw new Exit(EXIT.away, `${file} does not exist: it is made when the gateway first starts. Start it: tollgate serve -c ${config.file}`);
}

function row(record: AuditRecord & { sequence: number }) {
  const what = record.target === null ? (record.request?.method ?? record.request?.http_method ?? record.kind) : record.target.name;
  return [
    record.sequence,
    record.time_start,
    record.call_id ?? record.kind,
    record.agent?.name ?? record.administrator,
    record.server === null ? what : `${record.server}/${what}`,
    record.decision,
    record.reason ?? wouldBe(record),
    record.outcome,
    record.duration_ms,
  ];
}

function wholeNumber(option: string, written: string): number {
  const number = Number(written);
  if (!Number.isInteger(number) || number < 1 || number > RECORDS_MAX)
    throw new Exit(EXIT.usage, `${option} ${written}: a whole number from 1 to ${RECORDS_MAX}`);
  return number;
}

/** What policies that are only tried would have said of a call that passed. */
function wouldBe({ shadow }: AuditRecord): string | null {
  return shadow?.decision === "refuse" ? `would be ${shadow.reason ?? "refused"}` : null;
}
