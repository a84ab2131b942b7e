/** `sync audit|schema`: the central ledger by itself: what proves that no gateway has rewritten its past, and the SQL that makes its tables. */
import type { Command } from "commander";
import { openCentralReader } from "../call/sync/central-read.ts";
import { CENTRAL_SCHEMA } from "../call/sync/central-schema.ts";
import type { Config } from "../config.ts";
import { auditLedger, type GatewayVerdict } from "../ledger-audit.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";

type AuditOptions = CommonOptions & { readonly sink?: string; readonly gateway?: string };

export function registerLedger(sync: Command, io: Io): void {
  leaf(
    sync,
    "audit",
    "recompute every leaf, event and checkpoint root from what the central ledger holds; exit 1 if anything is off",
    "tollgate sync audit --sink ledger",
  )
    .option("--sink <name>", "the ledger, where several are configured")
    .option("--gateway <id>", "one gateway (default: all that have written there)")
    .action((options: AuditOptions) => audit(options, io));
  leaf(sync, "schema", "the SQL of the central ledger, for whoever may make tables there", "tollgate sync schema").action(
    (options: CommonOptions) => print(io, options, { sql: CENTRAL_SCHEMA }, () => CENTRAL_SCHEMA.trim()),
  );
}

/** A page of a thousand records is some MB. */
const PAGE_TIMEOUT_MS = 60_000;

async function audit(options: AuditOptions, io: Io): Promise<void> {
  const ledger = await openCentralReader(ledgerOf(configOf(options, io), options.sink).url.reveal(), PAGE_TIMEOUT_MS).catch(
    (fault: Error) => {
      throw new Exit(EXIT.away, `the ledger does not answer: ${fault.message}`);
    },
  );
  try {
    const gateways = await auditLedger(ledger, options.gateway ?? null).catch((fault: Error) => {
      throw new Exit(EXIT.away, `the ledger cannot be read: ${fault.message}`);
    });
    // An empty answer proves nothing: whoever empties a ledger must not be told that it is in order.
    const empty = gateways.length === 0 || gateways.some(({ records, events, checkpoints }) => records + events + checkpoints === 0);
    const ok = !empty && gateways.every((verdict) => verdict.ok);
    print(io, options, { ok, gateways }, () => gateways.map((verdict) => verdictText(verdict, io)).join("\n") || "nothing there");
    if (empty)
      throw new Exit(EXIT.no, `nothing there${options.gateway === undefined ? "" : ` of ${options.gateway}`}: what should be is missing`);
    if (!ok) throw new Exit(EXIT.no, "the ledger does not hold what was signed");
  } finally {
    await ledger.close();
  }
}

function ledgerOf(config: Config, name: string | undefined) {
  const ledgers = config.sync.filter((sink) => sink.type === "postgres");
  const chosen = name === undefined ? ledgers : ledgers.filter((sink) => sink.name === name);
  const [ledger, other] = chosen;
  if (ledger === undefined)
    throw new Exit(EXIT.usage, `there is no sink of type postgres${name === undefined ? "" : ` named ${name}`} in ${config.file}`);
  if (other !== undefined) throw new Exit(EXIT.usage, `there are several: --sink ${ledgers.map((sink) => sink.name).join(" or --sink ")}`);
  return ledger;
}

function verdictText(verdict: GatewayVerdict, io: Io): string {
  const { gateway, ok, records, events, checkpoints, covered, root, parent, problems } = verdict;
  if (records + events + checkpoints === 0) return `${gateway}: nothing there`;
  const head = `${gateway}: ${ok ? paint(io, "green", "ok") : paint(io, "red", "NOT ok")}: ${records} records, ${events} events, root ${root}`;
  const signed =
    checkpoints === 0 ? "no checkpoint: nothing here is signed" : `${checkpoints} checkpoints, the last over ${covered} records`;
  const before = parent === null ? [] : [`  the first ${parent.records} records are those of ${parent.gateway}, whose backup was restored`];
  return [head, ...before, `  ${signed}`, ...problems.map((problem) => `  ${problem}`)].join("\n");
}
