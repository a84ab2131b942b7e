/** The parts of budgets that are set aside for single tokens: in memory as the registry has them, of every gateway. */
import type { SubBudget } from "../../call/authenticate/agent.ts";
import type { HoldLine } from "../../call/budget/reservation.ts";
import type { Mirror } from "../agents/directory.ts";
import type { ControlStore } from "../store.ts";
import type { SubBudgetRow, SubBudgetState } from "../tables.ts";

/** One that has not been given back yet. */
export type Aside = SubBudget & {
  /** As last read. */
  readonly row: SubBudgetRow;
  /** What it was taken by. */
  readonly lines: readonly HoldLine[];
};

export type SubBudgets = {
  find(id: string): Aside | undefined;
  all(): readonly Aside[];
  insert(rows: readonly SubBudgetRow[]): Promise<void>;
  /** False: it was not in that state any more. Of several who try, one moves it. */
  move(id: string, from: SubBudgetState, to: SubBudgetState): Promise<boolean>;
};

export type SubBudgetsParts = {
  readonly store: ControlStore;
  readonly registry: {
    follow(mirror: Mirror): Promise<void>;
    catchUp(): Promise<void>;
    isRevoked(issuer: string, tokenId: string): boolean;
  };
  /** Our own, of the tokens. */
  readonly issuer: string;
  /** This gateway, as the rows name it. */
  readonly gateway: string;
  /** True where all gateways count on the same counters. Else each part counts where it was taken: elsewhere it would be there twice. */
  readonly shared: boolean;
  readonly now: () => number;
};

const PREFIX = "delegated:";

/** No policy can name a budget so. */
export function budgetNameOf(id: string): string {
  return `${PREFIX}${id}`;
}

export function isPart(budget: string): boolean {
  return budget.startsWith(PREFIX);
}

/** Those whose counters still matter: all that are not of parts, and of parts those that have not been given back. */
export async function withoutReturned<T extends { readonly budget: string }>(
  store: ControlStore,
  balances: readonly T[],
): Promise<readonly T[]> {
  if (!balances.some(({ budget }) => isPart(budget))) return balances;
  const rows = await store.db.selectFrom("sub_budget").select("id").where("state", "<>", "returned").execute();
  const kept = new Set(rows.map(({ id }) => budgetNameOf(id)));
  return balances.filter(({ budget }) => !isPart(budget) || kept.has(budget));
}

export async function openSubBudgets(parts: SubBudgetsParts): Promise<SubBudgets> {
  const { store, registry } = parts;
  const asides = new Map<string, MutableAside>();

  function keep(row: SubBudgetRow): void {
    const known = asides.get(row.id);
    // Whoever holds it sees the change.
    if (known !== undefined) known.row = row;
    else if (row.state !== "returned") asides.set(row.id, asideOf(parts, row));
    if (row.state === "returned") asides.delete(row.id);
  }

  await registry.follow({
    kind: "sub_budget",
    async loadAll() {
      const rows = await store.db.selectFrom("sub_budget").selectAll().where("state", "<>", "returned").execute();
      const open = new Set(rows.map(({ id }) => id));
      for (const { row } of [...asides.values()]) if (!open.has(row.id)) keep({ ...row, state: "returned" });
      rows.forEach(keep);
    },
    async load(id) {
      const row = await store.db.selectFrom("sub_budget").selectAll().where("id", "=", id).executeTakeFirst();
      if (row !== undefined) keep(row);
    },
  });
  return {
    find: (id) => asides.get(id),
    all: () => [...asides.values()],
    async insert(rows) {
      await store.write(async ({ db, changed }) => {
        await db
          .insertInto("sub_budget")
          .values([...rows])
          .execute();
        for (const { id } of rows) await changed("sub_budget", id);
      });
      await registry.catchUp();
    },
    async move(id, from, to) {
      const moved = await store.write(async ({ db, changed }) => {
        const answer = await db
          .updateTable("sub_budget")
          .set({ state: to })
          .where("id", "=", id)
          .where("state", "=", from)
          .executeTakeFirst();
        if (Number(answer.numUpdatedRows) === 0) return false;
        await changed("sub_budget", id);
        return true;
      });
      await registry.catchUp();
      return moved;
    },
  };
}

type MutableAside = Aside & { row: SubBudgetRow };

function asideOf({ registry, issuer, gateway, shared, now }: SubBudgetsParts, row: SubBudgetRow): MutableAside {
  return {
    row,
    lines: JSON.parse(row.lines) as HoldLine[],
    budget: budgetNameOf(row.id),
    meter: row.meter,
    limit: row.amount,
    takenFrom: new Set(JSON.parse(row.taken_from) as string[]),
    get isOpen() {
      const { state, expires_ms, jti } = this.row;
      return state === "open" && (shared || row.gateway === gateway) && now() < expires_ms && !registry.isRevoked(issuer, jti);
    },
  };
}
