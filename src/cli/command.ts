/** One leaf command: its help with an example, `-c` and `--json`, and the config it works on. */
import type { Command } from "commander";
import type { Config } from "../config.ts";
import { loadConfig } from "../config-load.ts";
import type { Problem } from "../document.ts";
import { EXIT, Exit, type Io } from "./io.ts";

export type CommonOptions = { readonly config: string; readonly json?: boolean };

export function leaf(parent: Command, usage: string, description: string, example: string): Command {
  return parent
    .command(usage)
    .description(description)
    .option("-c, --config <file>", "the configuration file", "./tollgate.yaml")
    .option("--json", "print JSON instead of text")
    .addHelpText("after", `\nExample:\n  $ ${example}`);
}

/** A command with nested ones, such as `agent create`. */
export function branch(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description);
}

/** The loaded config, or exit 78 with every problem. */
export function configOf(options: CommonOptions, io: Io): Config {
  const loaded = loadConfig(options.config, io.env);
  if ("config" in loaded) return loaded.config;
  throw new Exit(EXIT.config, problemLines(loaded.problems));
}

export function problemLines(problems: readonly Problem[]): string {
  return problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`).join("\n");
}

export function print(io: Io, options: CommonOptions, value: unknown, text: () => string): void {
  io.out(options.json === true ? JSON.stringify(value) : text());
}
