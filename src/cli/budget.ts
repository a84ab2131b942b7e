/** `budget list|show|create|change|end|credit|debit`: limit, committed, held and remaining of every counter in use, and corrections with a reason. */

import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { amountIn } from "../call/authorize/written.ts";
import type { BudgetRow } from "../control/admin/budget-rows.ts";
import { adminClient } from "./admin-client.ts";
import { openBooks } from "./books.ts";
import { registerBudgetLife } from "./budget-life.ts";
import { registerBudgetShared } from "./budget-shared.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { grouped, memberTable, table } from "./table.ts";

type AdjustOptions = CommonOptions & {
  readonly amount: string;
  readonly reason: string;
  readonly scope?: string;
  readonly key?: string;
};
type Adjusted = { readonly budget: string; readonly meter: string; readonly lines: readonly { posted: number; debt: number }[] };

const CHANGES = {
  credit: [
    "give back what was used of a counter",
    'tollgate budget credit support-month --scope team=support --amount 5000 --reason "outage"',
  ],
  debit: [
    "take from a counter: a debt, which blocks calls once nothing is left",
    'tollgate budget debit support-month --amount 5000 --reason "used elsewhere"',
  ],
} as const;

export function registerBudget(program: Command, io: Io): void {
  const budget = branch(program, "budget", "budgets: how much is left");
  registerBudgetShared(budget, io);
  leaf(budget, "list", "every counter in use, and budgets nobody has drawn on", "tollgate budget list").action(
    async (options: CommonOptions) => {
      const rows = await openBooks(configOf(options, io), io).budgets();
      print(io, options, rows, () => listOf(rows));
    },
  );
  leaf(budget, "show <name>", "what one budget says, and all that is known of its counters", "tollgate budget show support-month").action(
    async (name: string, options: CommonOptions) => {
      const found = await openBooks(configOf(options, io), io).budget(name);
      if (found === null) throw new Exit(EXIT.no, `there is no budget ${name}: budget list shows all`);
      const { terms, counters } = found;
      print(
        io,
        options,
        counters.map((row) => ({ ...row, terms })),
        () => [...(terms === null ? [] : [memberTable({ budget: name, ...terms })]), ...counters.map(counterText)].join("\n\n"),
      );
    },
  );
  registerBudgetLife(budget, io);
  for (const change of ["credit", "debit"] as const) {
    const [description, example] = CHANGES[change];
    leaf(budget, `${change} <name>`, description, example)
      .requiredOption("--amount <units>", "whole units of the budget's meter: 5000 or 5_000")
      .requiredOption("--reason <text>", "why, for the record")
      .option("--scope <scope>", "whose counter, as budget list shows it: team=support, agent=NAME")
      .option("--key <text>", "names this correction: given again within a day, it is not made twice")
      .action((name: string, options: AdjustOptions) => adjust(change, name, options, io));
  }
}

function counterText({ window, ...row }: BudgetRow): string {
  return memberTable({ ...row, from: window.start, until: window.end });
}

function listOf(rows: readonly BudgetRow[]): string {
  return table(
    ["BUDGET", "SCOPE", "METER", "LIMIT", "COMMITTED", "HELD", "DEBT", "REMAINING", "RESETS", "EXHAUSTED"],
    rows.map((row) => [
      row.name,
      row.scope === "" ? "shared" : row.scope,
      row.meter,
      row.limit,
      row.committed,
      row.held,
      row.debt,
      row.remaining,
      row.window.end,
      row.forecast,
    ]),
  );
}

async function adjust(change: "credit" | "debit", name: string, options: AdjustOptions, io: Io): Promise<void> {
  const amount = amountIn(options.amount);
  if (amount === null || amount === 0)
    throw new Exit(EXIT.usage, `--amount ${options.amount}: a whole number above 0, such as 5000 or 5_000`);
  const body = { amount, reason: options.reason, ...(options.scope === undefined ? {} : { scope: options.scope }) };
  const admin = adminClient(configOf(options, io), io);
  const made = await admin.post<Adjusted>(`/budgets/${encodeURIComponent(name)}/${change}`, body, undefined, options.key ?? randomUUID());
  const verb = change === "credit" ? "are given back on" : "are taken from";
  print(io, options, made, () => `${grouped(amount)} ${made.meter} ${verb} ${name}`);
}
