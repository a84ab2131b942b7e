/** Budgets made at run time, as they are kept: read from a row, or from the data folder of a gateway that does not run. */
import { type BudgetFile, budget as budgetSchema } from "../../call/authorize/budget-file.ts";
import { compileMade } from "../../call/authorize/made-budget.ts";
import type { Budget } from "../../call/authorize/policy-set.ts";
import { openSqliteToRead } from "../store.ts";
import type { BudgetTableRow } from "../tables.ts";

export type KeptBudget = { readonly file: BudgetFile; readonly compiled: Budget };

/** By name, as the gateway counts them; what cannot be read does not count there either. Null: no registry of this version is there. */
export async function keptBudgets(dataDir: string): Promise<readonly KeptBudget[] | null> {
  const db = openSqliteToRead(dataDir);
  if (db === null) return null;
  try {
    const rows = await db.selectFrom("budget").selectAll().orderBy("name").execute();
    return rows.flatMap((row) => {
      const file = fileOf(row);
      const compiled = "problem" in file ? file : compileMade(file);
      return "problem" in file || "problem" in compiled ? [] : [{ file, compiled }];
    });
  } finally {
    await db.destroy();
  }
}

export function fileOf(row: BudgetTableRow): BudgetFile | { readonly problem: string } {
  const file = budgetSchema.safeParse(definitionOf(row));
  return file.success ? file.data : { problem: file.error.issues[0]?.message ?? "" };
}

/** Made before a lease was refused with `rolling`: without it the budget counts, and all of it can be spent. */
export function definitionOf(row: BudgetTableRow): object {
  const { lease, ...definition } = JSON.parse(row.definition) as { readonly lease?: unknown; readonly rolling?: unknown };
  return lease === undefined || definition.rolling !== undefined ? definition : { ...definition, lease };
}
