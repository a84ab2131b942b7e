/** `usage`: the meters, by any dimension of the usage events. */
import type { Command } from "commander";
import { instantOf } from "../call/authorize/written.ts";
import { openBooks } from "./books.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { type Cell, table } from "./table.ts";

type UsageOptions = CommonOptions & { readonly by: string; readonly since?: string; readonly until?: string };

const DIMENSIONS = ["agent", "tool", "server", "team", "workflow", "customer", "outcome", "day"];

export function registerUsage(program: Command, io: Io): void {
  leaf(program, "usage", "what was used, from the usage events", "tollgate usage --by agent,tool --since 2026-11-01")
    .option("--by <dimensions>", `comma-separated: ${DIMENSIONS.join(", ")}`, "agent,server,tool")
    .option("--since <time>", "RFC 3339 time or date, UTC, inclusive")
    .option("--until <time>", "RFC 3339 time or date, UTC, exclusive")
    .action(async (options: UsageOptions) => {
      const by = options.by.split(",").map((name) => name.trim());
      const wrong = by.find((name) => !DIMENSIONS.includes(name));
      if (wrong !== undefined) throw new Exit(EXIT.usage, `--by ${wrong}: there is ${DIMENSIONS.join(", ")}`);
      const usage = await openBooks(configOf(options, io), io).usage({ by, since: timeOf(options.since), until: timeOf(options.until) });
      print(io, options, usage, () => {
        const columns = [...by, "calls", "tool_tokens"];
        return table(
          columns.map((name) => name.toUpperCase()),
          usage.rows.map((row) => columns.map((name): Cell => row[name])),
        );
      });
    });
}

function timeOf(written: string | undefined): string | null {
  if (written === undefined) return null;
  const instant = instantOf(written);
  if (instant === null) throw new Exit(EXIT.usage, `${written} is not a time: 2026-11-01 or 2026-11-01T12:00:00Z`);
  return instant;
}
