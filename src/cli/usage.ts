/** `usage` and `usage correct`: the meters, by any dimension of the usage events, and what sets an event right. */
import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { amountIn, instantOf } from "../call/authorize/written.ts";
import { USAGE_DIMENSIONS, USAGE_FILTERS, type UsageAnswer } from "../call/record/queries.ts";
import { adminClient } from "./admin-client.ts";
import { openBooks, type UsageQuery } from "./books.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { csvText } from "./csv-text.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { type Cell, table } from "./table.ts";

type UsageOptions = CommonOptions & {
  readonly by: string;
  readonly since?: string;
  readonly until?: string;
  readonly period?: string;
  readonly zone?: string;
  readonly where: readonly string[];
  readonly format: string;
};
type CorrectOptions = CommonOptions & { readonly meter: string; readonly delta: string; readonly reason: string; readonly key?: string };

export function registerUsage(program: Command, io: Io): void {
  const usage = leaf(program, "usage", "what was used, from the usage events", "tollgate usage --by agent,tool --since 2026-11-01")
    .option("--by <dimensions>", `comma-separated: ${USAGE_DIMENSIONS.join(", ")}`, "agent,server,tool")
    .option("--since <time>", "RFC 3339 time or date, UTC, inclusive")
    .option("--until <time>", "RFC 3339 time or date, UTC, exclusive")
    .option("--period <name>", "instead of both: hour, day, week, month or year that is now, or last- and one of them")
    .option("--zone <name>", "whose calendar --period means: an IANA time zone (default: UTC)")
    .option("--where <name=value>", "only events of this dimension's value; may stand several times", collect, [])
    .option("--format <format>", "table, or csv with every meter", "table")
    // What stands behind `correct` is its own.
    .enablePositionalOptions()
    .action((options: UsageOptions) => show(options, io));
  leaf(
    usage,
    "correct <event-id>",
    "set an event right by another one; nothing is overwritten",
    'tollgate usage correct call_01jd8....settled --meter tool_tokens --delta -500 --reason "counted twice"',
  )
    .requiredOption("--meter <name>", "tool_tokens, calls, llm_tokens ...")
    .requiredOption("--delta <amount>", "what is added; less than nothing takes away")
    .requiredOption("--reason <text>", "why, for the record")
    .option("--key <text>", "names this correction: given again, it is not made twice")
    .action((id: string, options: CorrectOptions) => correct(id, options, io));
}

async function show(options: UsageOptions, io: Io): Promise<void> {
  const by = options.by.split(",").map((name) => name.trim());
  const wrong = by.find((name) => !(USAGE_DIMENSIONS as readonly string[]).includes(name));
  if (wrong !== undefined) throw new Exit(EXIT.usage, `--by ${wrong}: there is ${USAGE_DIMENSIONS.join(", ")}`);
  if (options.format !== "table" && options.format !== "csv") throw new Exit(EXIT.usage, `--format ${options.format}: there is table, csv`);
  const answer = await openBooks(configOf(options, io), io).usage(queryOf(by, options));
  print(io, options, answer, () => (options.format === "csv" ? csvOf(by, answer) : tableOf(by, answer)));
}

function collect(written: string, before: readonly string[]): readonly string[] {
  return [...before, written];
}

function queryOf(by: readonly string[], { since, until, period, zone, where }: UsageOptions): UsageQuery {
  const times = { since: timeOf(since), until: timeOf(until), period, zone };
  return { by: by.join(","), ...definedOf(times), ...Object.fromEntries(where.map(filterOf)) };
}

function definedOf(members: Readonly<Record<string, string | undefined>>): UsageQuery {
  return Object.fromEntries(Object.entries(members).filter((pair): pair is [string, string] => pair[1] !== undefined));
}

function filterOf(written: string): [string, string] {
  const at = written.indexOf("=");
  const name = written.slice(0, at);
  if (at === -1 || !(USAGE_FILTERS as readonly string[]).includes(name))
    throw new Exit(EXIT.usage, `--where ${written}: NAME=VALUE, with a name of ${USAGE_FILTERS.join(", ")}`);
  return [name, written.slice(at + 1)];
}

function timeOf(written: string | undefined): string | undefined {
  if (written === undefined) return undefined;
  const instant = instantOf(written);
  if (instant === null) throw new Exit(EXIT.usage, `${written} is not a time: 2026-11-01 or 2026-11-01T12:00:00Z`);
  return instant;
}

/** Columns of every answer that are shown only where they are asked for: in JSON and CSV. */
const DETAILS = new Set(["input_tokens", "output_tokens", "bytes_in", "bytes_out", "duration_ms", "events", "provisional"]);

function tableOf(by: readonly string[], { rows }: UsageAnswer): string {
  const further = Object.keys(rows[0] ?? { calls: 0, tool_tokens: 0 }).filter((name) => !by.includes(name) && !DETAILS.has(name));
  const columns = [...by, ...further];
  return table(
    columns.map((name) => name.toUpperCase()),
    rows.map((row) => columns.map((name): Cell => row[name])),
  );
}

function csvOf(by: readonly string[], { rows }: UsageAnswer): string {
  const columns = [...by, ...Object.keys(rows[0] ?? {}).filter((name) => !by.includes(name))];
  return csvText(
    columns,
    rows.map((row) => columns.map((name): Cell => row[name])),
  );
}

async function correct(eventId: string, options: CorrectOptions, io: Io): Promise<void> {
  const sign = options.delta.startsWith("-") ? -1 : 1;
  const amount = amountIn(sign < 0 ? options.delta.slice(1) : options.delta);
  const delta = sign * (amount ?? 0);
  if (delta === 0) throw new Exit(EXIT.usage, `--delta ${options.delta}: a whole number other than 0: -500`);
  const body = { event_id: eventId, quantity: { [options.meter]: delta }, reason: options.reason, id: options.key ?? randomUUID() };
  const made = await adminClient(configOf(options, io), io).post<{ event_id: string; duplicate: boolean }>("/metering/corrections", body);
  print(io, options, made, () => `${made.event_id} ${made.duplicate ? "stood there already" : "corrects"} ${eventId}`);
}
