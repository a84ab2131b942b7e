/** `check`: config and policies, every problem at once, each where it stands. */
import type { Command } from "commander";
import { inspectAll } from "../check.ts";
import type { Problem } from "../document.ts";
import { type CommonOptions, leaf, problemLines } from "./command.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { plain } from "./table.ts";

type CheckOptions = CommonOptions & { readonly strict?: boolean };

export function registerCheck(program: Command, io: Io): void {
  leaf(
    program,
    "check",
    "check the configuration and the policies, also against the tools that the servers are known to have; exit 78 if anything is wrong",
    "tollgate check -c tollgate.yaml --strict",
  )
    .alias("validate")
    .option("--strict", "warnings are errors")
    .action((options: CheckOptions) => check(options, io));
}

async function check({ config, json, strict }: CheckOptions, io: Io): Promise<void> {
  const { problems, warnings, notes } = await inspectAll(config, io.env);
  if (json === true) io.out(JSON.stringify([...problems, ...warnings.map(as("warning")), ...notes.map(as("note"))]));
  else for (const line of [...linesOf(warnings, "warning"), ...linesOf(notes, "note")]) io.err(paint(io, "yellow", line));
  const failing = strict === true ? [...problems, ...warnings] : problems;
  const summary = summaryOf(problems.length, warnings.length);
  if (failing.length > 0) throw new Exit(EXIT.config, json === true || problems.length === 0 ? summary : plainLines(problems));
  if (json !== true) io.out(paint(io, "green", `${config}: ${warnings.length === 0 ? "nothing wrong" : summary}`));
}

/** An entry without a severity is an error. */
const as = (severity: "warning" | "note") => (problem: Problem) => ({ ...problem, severity });

function linesOf(problems: readonly Problem[], severity: string): string[] {
  return problems.map(({ file, line, column, message }) => plain(`${file}:${line}:${column}: ${severity}: ${message}`));
}

/** Names of tools come from servers: none of them may steer the terminal. */
function plainLines(problems: readonly Problem[]): string {
  return problemLines(problems).split("\n").map(plain).join("\n");
}

function summaryOf(problems: number, warnings: number): string {
  const counted = (count: number, word: string) => `${count} ${word}${count === 1 ? "" : "s"}`;
  return warnings === 0 ? counted(problems, "problem") : `${counted(problems, "problem")}, ${counted(warnings, "warning")}`;
}
