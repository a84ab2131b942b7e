/** `agent import`: agents from a CSV file, all of them or none; secrets go to a private file or are not made. */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import type { Command } from "commander";
import { adminClient, Refused } from "./admin-client.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { type Csv, type LineFault, readCsv } from "./csv.ts";
import { EXIT, Exit, type Io } from "./io.ts";

type ImportOptions = CommonOptions & { readonly dryRun?: boolean; readonly secretsOut?: string };
type Imported = { readonly agents: readonly { readonly name: string; readonly client_id: string; readonly client_secret?: string }[] };
type Row = { readonly line: number; readonly agent: Readonly<Record<string, string>> };

const COLUMNS = ["name", "owner", "purpose", "customer", "team", "workflow", "kind", "risk_class"];
const AGENTS_MAX = 10_000;
/** Ten thousand records are written before the answer comes. */
const ANSWER_TIMEOUT_MS = 300_000;

export function registerAgentImport(agent: Command, io: Io): void {
  leaf(
    agent,
    "import <file>",
    `register agents from a CSV file, all or none; its first row names the columns: ${COLUMNS.join(", ")}`,
    "tollgate agent import agents.csv --secrets-out secrets.csv",
  )
    .option("--dry-run", "say what is wrong, and register nobody")
    .option("--secrets-out <file>", "give each a client secret, written to this new file (0600); without it they get no credential")
    .action((file: string, options: ImportOptions) => importAgents(file, options, io));
}

async function importAgents(file: string, options: ImportOptions, io: Io): Promise<void> {
  const { rows, faults } = rowsOf(readCsv(readText(file)));
  const admin = adminClient(configOf(options, io), io);
  const dryRun = options.dryRun === true || faults.length > 0;
  const secretsTo = dryRun || options.secretsOut === undefined ? null : openPrivate(options.secretsOut);
  try {
    const answer =
      rows.length === 0
        ? { agents: [] }
        : await admin
            .post<Imported>(
              "/agents/import",
              { agents: rows.map(({ agent }) => agent), secrets: secretsTo !== null, dry_run: dryRun },
              ANSWER_TIMEOUT_MS,
            )
            .catch((fault: unknown) => problemsOf(fault, rows));
    const problems = [...faults, ...("problems" in answer ? answer.problems : [])].toSorted((a, b) => a.line - b.line);
    if (problems.length > 0 || "problems" in answer)
      throw new Exit(EXIT.no, problems.map(({ line, message }) => `${file}:${line}: ${message}`).join("\n"));
    if (secretsTo !== null) secretsTo.write(answer);
    const made = answer.agents.map(({ client_secret: _, ...rest }) => rest);
    const result = { dry_run: dryRun, rows: rows.length, agents: made };
    print(io, options, result, () => (dryRun ? `${rows.length} agents could be registered` : told(made.length, options.secretsOut)));
  } catch (fault) {
    secretsTo?.discard();
    throw fault;
  } finally {
    secretsTo?.close();
  }
}

function told(count: number, secretsOut: string | undefined): string {
  const next = secretsOut === undefined ? "they have no credential yet: tollgate agent rotate NAME" : `their secrets are in ${secretsOut}`;
  return `${count} agents registered; ${next}`;
}

function rowsOf({ rows, faults }: Csv): { rows: readonly Row[]; faults: readonly LineFault[] } {
  const found = [...faults];
  const [head, ...rest] = rows;
  if (head === undefined) return { rows: [], faults: [...found, { line: 1, message: "there is no row that names the columns" }] };
  const columns = head.cells.map((cell) => cell.trim());
  for (const [i, column] of columns.entries()) {
    if (!COLUMNS.includes(column))
      found.push({ line: head.line, message: `column ${column || "without a name"}: there is ${COLUMNS.join(", ")}` });
    if (columns.indexOf(column) !== i) found.push({ line: head.line, message: `the column ${column} is there twice` });
  }
  if (!columns.includes("name")) found.push({ line: head.line, message: "there is no column name" });
  if (found.some(({ line }) => line === head.line)) return { rows: [], faults: found };
  if (rest.length === 0) found.push({ line: head.line, message: "there are no agents below it" });
  if (rest.length > AGENTS_MAX)
    found.push({ line: rest[AGENTS_MAX]?.line ?? 1, message: `more than ${AGENTS_MAX} agents: make it two files` });
  const fit = rest.slice(0, AGENTS_MAX).filter(({ line, cells }) => {
    if (cells.length !== columns.length) found.push({ line, message: `${cells.length} cells, but ${columns.length} columns` });
    return cells.length === columns.length;
  });
  return { rows: fit.map(({ line, cells }) => ({ line, agent: agentOf(columns, cells) })), faults: found };
}

/** An empty cell says nothing; a name is always said. */
function agentOf(columns: readonly string[], cells: readonly string[]): Record<string, string> {
  const pairs = columns.map((column, i): [string, string] => [column, (cells[i] ?? "").trim()]);
  return Object.fromEntries(pairs.filter(([column, cell]) => column === "name" || cell !== ""));
}

function problemsOf(fault: unknown, rows: readonly Row[]): { problems: LineFault[] } {
  if (!(fault instanceof Refused) || fault.problems === null) throw fault;
  return { problems: fault.problems.map(({ index, detail }) => ({ line: rows[index]?.line ?? 1, message: detail })) };
}

function readText(file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
  } catch {
    throw new Exit(EXIT.usage, `${file} is not a readable file of UTF-8 text`);
  }
}

/** Made before anything is asked for, so that no secret is made that nobody could keep. */
function openPrivate(file: string) {
  let handle: number;
  try {
    handle = openSync(file, "wx", 0o600);
  } catch (fault) {
    throw new Exit(
      EXIT.usage,
      `--secrets-out ${file}: ${fault instanceof Error && "code" in fault ? String(fault.code) : "cannot be made"}`,
    );
  }
  return {
    write({ agents }: Imported) {
      const lines = agents.map(({ name, client_id, client_secret }) => `${name},${client_id},${client_secret ?? ""}\n`);
      writeSync(handle, `name,client_id,client_secret\n${lines.join("")}`);
    },
    discard: () => rmSync(file, { force: true }),
    close: () => closeSync(handle),
  };
}
