/** Budgets made at run time: kept in the registry, recorded before they count, and known to every gateway that shares it. */
import { type BudgetFile, budget as budgetSchema } from "../../call/authorize/budget-file.ts";
import type { Budget } from "../../call/authorize/policy-set.ts";
import { canonicalJson } from "../../call/record/canonical.ts";
import { iso } from "../agents/profiles.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import type { ControlStore } from "../store.ts";
import type { BudgetTableRow } from "../tables.ts";
import { definitionOf, fileOf } from "./kept-budgets.ts";

export type MadeBudget = {
  readonly file: BudgetFile;
  /** Whose keys may change it; null: of no customer. */
  readonly customer: string | null;
  readonly createdAt: string;
  readonly createdBy: string;
};

export type BudgetChanges = {
  readonly limit?: BudgetFile["limit"] | undefined;
  readonly hard?: boolean | undefined;
  readonly notify?: readonly string[] | undefined;
  /** Null takes it away. */
  readonly overage?: BudgetFile["overage"] | null | undefined;
  readonly hint?: string | null | undefined;
};

export type MadeBudgets = {
  find(name: string): MadeBudget | undefined;
  create(file: BudgetFile, customer: string | null, by: string): Promise<MadeBudget | RegistryFault>;
  change(name: string, changes: BudgetChanges, by: string): Promise<MadeBudget | RegistryFault>;
  /** It counts no more; what was counted stays in the books. */
  end(name: string, reason: string | null, by: string): Promise<RegistryFault | null>;
};

export type MadeBudgetsParts = {
  readonly store: ControlStore;
  readonly registry: Pick<Registry, "follow" | "catchUp">;
  readonly audit: (
    kind: "budget.created" | "budget.changed" | "budget.ended",
    by: string,
    details: Readonly<Record<string, string | null>>,
  ) => Promise<void>;
  readonly now: () => number;
  readonly compile: (file: BudgetFile) => Budget | { readonly problem: string };
  /** Null: it means what it says. */
  readonly faultOf: (file: BudgetFile) => string | null;
  /** Where a policy file has a budget of that name. */
  readonly isInFile: (name: string) => boolean;
  /** Whether a budget of that name was counted before. */
  readonly isCounted: (name: string) => Promise<boolean>;
  /** Of what is kept and cannot be read: it does not count. */
  readonly unreadable: (name: string, why: string) => void;
  /** All of them, by name, whenever one has changed. */
  readonly count: (made: readonly Budget[]) => void;
};

/** Each is asked once for every agent and tool: as many as a policy folder of reasonable size holds. */
const BUDGETS_MAX = 10_000;

export async function openMadeBudgets(parts: MadeBudgetsParts): Promise<MadeBudgets> {
  const { store, registry, audit, now, faultOf, isInFile } = parts;
  const known = new Map<string, { readonly made: MadeBudget; readonly compiled: Budget }>();

  function keep(row: BudgetTableRow): void {
    const file = fileOf(row);
    const compiled = "problem" in file ? file : parts.compile(file);
    if ("problem" in file || "problem" in compiled) {
      known.delete(row.name);
      return parts.unreadable(row.name, "problem" in compiled ? compiled.problem : "");
    }
    const { customer, created_at: createdAt, created_by: createdBy } = row;
    known.set(row.name, { made: { file, customer, createdAt, createdBy }, compiled });
  }
  const tell = () => parts.count([...known].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, { compiled }]) => compiled));

  await registry.follow({
    kind: "budget",
    async loadAll() {
      const rows = await store.db.selectFrom("budget").selectAll().execute();
      known.clear();
      for (const row of rows) keep(row);
      tell();
    },
    async load(name) {
      const row = await store.db.selectFrom("budget").selectAll().where("name", "=", name).executeTakeFirst();
      if (row === undefined) known.delete(name);
      else keep(row);
      tell();
    },
  });

  const shown = async (name: string): Promise<MadeBudget | RegistryFault> => {
    await registry.catchUp();
    return known.get(name)?.made ?? absent(name);
  };
  return {
    find: (name) => known.get(name)?.made,

    async create(file, customer, by) {
      const { name } = file;
      const wrong = faultOf(file);
      if (wrong !== null) return { fault: "invalid", detail: wrong };
      if (isInFile(name)) return { fault: "conflict", detail: `a policy file has a budget ${name}` };
      // Counters go by name: another customer's use must neither show nor count.
      if (customer !== null && (await parts.isCounted(name)))
        return { fault: "conflict", detail: `a budget ${name} was counted before: choose another name` };
      const fault = await store.write(async (writing): Promise<RegistryFault | null> => {
        const { db } = writing;
        const found = await db.selectFrom("budget").select("name").where("name", "=", name).executeTakeFirst();
        if (found !== undefined) return { fault: "conflict", detail: `there is a budget ${name} already` };
        const { count } = await db
          .selectFrom("budget")
          .select(({ fn }) => fn.countAll<number>().as("count"))
          .executeTakeFirstOrThrow();
        if (Number(count) >= BUDGETS_MAX) return { fault: "conflict", detail: `there are ${BUDGETS_MAX} budgets already: end some` };
        const definition = canonicalJson(file);
        await audit("budget.created", by, { budget: name, customer, definition });
        await db
          .insertInto("budget")
          .values({ name, customer, definition, created_at: iso(now()), created_by: by })
          .execute();
        await writing.changed("budget", name);
        return null;
      });
      return fault ?? (await shown(name));
    },

    async change(name, changes, by) {
      const fault = await store.write(async (writing): Promise<RegistryFault | null> => {
        const row = await writing.db.selectFrom("budget").selectAll().where("name", "=", name).executeTakeFirst();
        if (row === undefined) return absent(name);
        const changed = budgetSchema.safeParse(changedBy(definitionOf(row), changes));
        if (!changed.success) return { fault: "invalid", detail: changed.error.issues.map(wordsOf).join("; ") };
        const wrong = faultOf(changed.data);
        if (wrong !== null) return { fault: "invalid", detail: wrong };
        const definition = canonicalJson(changed.data);
        await audit("budget.changed", by, { budget: name, customer: row.customer, definition, was: row.definition });
        await writing.db.updateTable("budget").set({ definition }).where("name", "=", name).execute();
        await writing.changed("budget", name);
        return null;
      });
      return fault ?? (await shown(name));
    },

    async end(name, reason, by) {
      const fault = await store.write(async (writing): Promise<RegistryFault | null> => {
        const row = await writing.db.selectFrom("budget").selectAll().where("name", "=", name).executeTakeFirst();
        if (row === undefined) return absent(name);
        await audit("budget.ended", by, { budget: name, customer: row.customer, was: row.definition, reason });
        await writing.db.deleteFrom("budget").where("name", "=", name).execute();
        await writing.changed("budget", name);
        return null;
      });
      if (fault === null) await registry.catchUp();
      return fault;
    },
  };
}

function absent(name: string): RegistryFault {
  return { fault: "absent", detail: `no budget ${name} was made at run time` };
}

function changedBy(definition: object, changes: BudgetChanges): object {
  const said = Object.entries(changes).filter(([, value]) => value !== undefined);
  return Object.fromEntries(Object.entries({ ...definition, ...Object.fromEntries(said) }).filter(([, value]) => value !== null));
}

function wordsOf({ path, message }: { readonly path: readonly PropertyKey[]; readonly message: string }): string {
  return path.length === 0 ? message : `${path.join(".")}: ${message}`;
}
