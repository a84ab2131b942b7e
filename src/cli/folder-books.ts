/** The books in a data folder, read while no gateway runs. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { withMade } from "../call/authorize/made-budget.ts";
import { openBooks } from "../call/record/books.ts";
import type { UsageAnswer } from "../call/record/queries.ts";
import { JOURNAL_FILE, openReader } from "../call/record/store.ts";
import type { Config } from "../config.ts";
import { type BudgetRow, budgetRows } from "../control/admin/budget-rows.ts";
import { type BudgetTerms, termsOf } from "../control/admin/budget-terms.ts";
import { usageQuestion } from "../control/admin/usage-question.ts";
import { type KeptBudget, keptBudgets } from "../control/budgets/kept-budgets.ts";
import { loadPolicies } from "../policy-load.ts";
import type { CallRecord, UsageQuery } from "./books.ts";
import { problemLines } from "./command.ts";
import { EXIT, Exit } from "./io.ts";

export function hasBooks(config: Config): boolean {
  return existsSync(join(config.data, JOURNAL_FILE));
}

export function inFolder<T>(config: Config, read: (books: ReturnType<typeof openBooks>) => T): T {
  const file = join(config.data, JOURNAL_FILE);
  try {
    const store = openReader(file);
    try {
      return read(openBooks(store));
    } finally {
      store.close();
    }
  } catch (fault) {
    throw new Exit(EXIT.away, `${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

/** As the admin API says it. */
function purgedText(callId: string): string {
  return `the record of ${callId} was purged: its leaf stays, its words are gone`;
}

export function recordInFolder(config: Config, callId: string): CallRecord {
  const [found, isPurged] = inFolder(config, (books) => [books.record(callId), books.isPurged(callId)] as const);
  if (found === null) throw new Exit(EXIT.no, isPurged ? purgedText(callId) : `there is no record of ${callId}`);
  return found;
}

/** `unknown`: why budgets made at run time are not among them; null where they are. */
export type FolderBudgets = {
  readonly rows: readonly BudgetRow[];
  readonly termsOf: (name: string) => BudgetTerms | null;
  readonly unknown: string | null;
};

export async function budgetsInFolder(config: Config): Promise<FolderBudgets> {
  const policies = loadPolicies(config.policies, config.servers);
  if ("problems" in policies) throw new Exit(EXIT.config, problemLines(policies.problems));
  const { made, unknown } = await madeInFolder(config);
  const ofFiles = policies.policySet.budgets;
  const { budgets } = withMade(
    policies.policySet,
    made.map(({ compiled }) => compiled),
  );
  const balances = inFolder(config, (books) => books.balances());
  return {
    rows: budgetRows(budgets, balances, Date.now()),
    termsOf(name) {
      const budget = budgets.find(({ draw }) => draw.budget === name);
      const own = budget === undefined || ofFiles.includes(budget) ? undefined : made.find(({ compiled }) => compiled === budget);
      return budget === undefined ? null : termsOf(budget, own?.file ?? null);
    },
    unknown,
  };
}

async function madeInFolder(config: Config): Promise<{ readonly made: readonly KeptBudget[]; readonly unknown: string | null }> {
  if (config.shared.postgres !== null) return { made: [], unknown: "are kept in shared.postgres" };
  try {
    const made = await keptBudgets(config.data);
    return { made: made ?? [], unknown: made === null ? "are kept by another version, until the gateway has started once" : null };
  } catch (fault) {
    return { made: [], unknown: `cannot be read: ${fault instanceof Error ? fault.message : String(fault)}` };
  }
}

export function usageInFolder(config: Config, query: UsageQuery): UsageAnswer {
  const question = usageQuestion(query, Date.now());
  if ("fault" in question) throw new Exit(EXIT.usage, question.fault);
  return inFolder(config, (books) => books.usage(question));
}
