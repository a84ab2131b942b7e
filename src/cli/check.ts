/** `check`: config and policies, every problem at once, each where it stands. */
import type { Command } from "commander";
import { inspectAll } from "../check.ts";
import { type CommonOptions, leaf, problemLines } from "./command.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";

export function registerCheck(program: Command, io: Io): void {
  leaf(program, "check", "check the configuration and the policies; exit 78 if anything is wrong", "tollgate check -c tollgate.yaml")
    .alias("validate")
    .action((options: CommonOptions) => {
      const { problems, warnings } = inspectAll(options.config, io.env);
      if (options.json === true) io.out(JSON.stringify(problems));
      if (problems.length > 0) throw new Exit(EXIT.config, options.json === true ? `${problems.length} problems` : problemLines(problems));
      if (options.json !== true && warnings.length > 0) io.err(paint(io, "dim", problemLines(warnings)));
      if (options.json !== true) io.out(paint(io, "green", `${options.config}: nothing wrong`));
    });
}
