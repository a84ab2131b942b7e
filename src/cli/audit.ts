/** `audit tail|show` and the other commands of the evidence. */
import type { Command } from "commander";
import type { AuditRecord } from "../call/record/audit-record.ts";
import { RECORDS_MAX } from "../call/record/books.ts";
import { registerCheckpoint } from "./audit-checkpoint.ts";
import { registerExport } from "./audit-export.ts";
import { registerAuditRetention } from "./audit-retention.ts";
import { registerVerify } from "./audit-verify.ts";
import { openBooks } from "./books.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { details } from "./explain.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { plain, table } from "./table.ts";

export function registerAudit(program: Command, io: Io): void {
  const audit = branch(program, "audit", "the evidence: every request left one record");
  leaf(audit, "tail", "the newest records", "tollgate audit tail --limit 20")
    .option("--limit <count>", "how many", "20")
    .option("--kind <pattern>", "of such records alone: agent.anomaly, 'budget.*'")
    .action(async (options: CommonOptions & { limit: string; kind?: string }) => {
      const { limit, kind = null } = options;
      const records = await openBooks(configOf(options, io), io).tail(wholeNumber("--limit", limit), kind);
      print(io, options, records, () =>
        table(
          ["SEQ", "TIME", "CALL", "AGENT", "WHAT", "DECISION", "REASON", "OUTCOME", "MS", ...(records.some(isAct) ? ["DETAILS"] : [])],
          records.map(row),
        ),
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
  registerVerify(audit, io);
  registerCheckpoint(audit, io);
  registerExport(audit, io);
  registerAuditRetention(audit, io);
}

/** Members of an act's details that have columns of their own. */
const SHOWN = ["agent", "agent_id", "budget", "server", "tool"];

function subjectOf({ details: told }: AuditRecord): string | null {
  const parts = [told?.budget ?? told?.server, told?.tool].filter((part) => typeof part === "string");
  return parts.length === 0 ? null : parts.join("/");
}

function isAct({ details: told }: AuditRecord): boolean {
  return told != null;
}

function row(record: AuditRecord & { sequence: number }) {
  const asked = record.request?.method ?? record.request?.http_method ?? null;
  // Whom and what an act is about; who did it stands in its details.
  const of = [record.details?.agent, record.details?.agent_id].find((name) => typeof name === "string");
  const what = record.target?.name ?? asked ?? subjectOf(record);
  return [
    record.sequence,
    record.time_start,
    record.call_id ?? record.kind,
    record.agent?.name ?? (of === undefined ? null : String(of)),
    record.server === null || what === null ? what : `${record.server}/${what}`,
    record.decision,
    record.reason ?? wouldBe(record),
    record.outcome,
    isAct(record) ? null : record.duration_ms,
    isAct(record) ? [`by ${record.administrator ?? "nobody"}`, details(record, SHOWN)].filter(Boolean).join(": ") : null,
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
