/** `budget list`: limit, committed, held and remaining of every counter in use. */
import type { Command } from "commander";
import { openBooks } from "./books.ts";
import { registerBudgetShared } from "./budget-shared.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import type { Io } from "./io.ts";
import { table } from "./table.ts";

export function registerBudget(program: Command, io: Io): void {
  const budget = branch(program, "budget", "budgets: how much is left");
  registerBudgetShared(budget, io);
  leaf(budget, "list", "every counter in use, and budgets nobody has drawn on", "tollgate budget list").action(
    async (options: CommonOptions) => {
      const rows = await openBooks(configOf(options, io), io).budgets();
      print(io, options, rows, () =>
        table(
          ["BUDGET", "SCOPE", "METER", "LIMIT", "COMMITTED", "HELD", "REMAINING", "RESETS"],
          rows.map((row) => [
            row.name,
            row.scope === "" ? "shared" : row.scope,
            row.meter,
            row.limit,
            row.committed,
            row.held,
            row.remaining,
            row.window.end,
          ]),
        ),
      );
    },
  );
}
