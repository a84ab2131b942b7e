/** Posted lines and balances must be the sums of what the records say was posted. */
import type { AuditRecord } from "./audit-record.ts";
import { PURGED_BODY } from "./schema.ts";
import type { Store } from "./store.ts";
import type { Complain } from "./verify.ts";

export type Sums = { posted: number; debt: number };
type Stored = {
  readonly budget: string;
  readonly scope: string;
  readonly window_start: number;
  readonly committed: number;
  readonly debt: number;
  readonly lines_posted: number;
  readonly lines_debt: number;
};

/** By balance; one pair of numbers each, about 150 bytes. */
export type BalanceSums = Map<string, Sums>;

/** Records of acts that post to budgets. */
const MOVES_MONEY: ReadonlySet<AuditRecord["kind"]> = new Set([
  "budget.adjusted",
  "budget.delegated",
  "budget.returned",
  "usage.reported",
  "usage.adjusted",
]);

export function addRecord(sums: BalanceSums, record: AuditRecord): void {
  if (record.settlement === null && !MOVES_MONEY.has(record.kind)) return;
  for (const line of record.budget)
    add(sums, keyOf(line.budget, line.scope, Date.parse(line.window_start)), { posted: line.posted, debt: line.debt });
}

export function addSums(sums: BalanceSums, more: BalanceSums): void {
  for (const [key, each] of more) add(sums, key, each);
}

function add(sums: BalanceSums, key: string, { posted, debt }: Sums): void {
  const sum = sums.get(key);
  if (sum === undefined) sums.set(key, { posted, debt });
  else {
    sum.posted += posted;
    sum.debt += debt;
  }
}

/** Uses the sums up. */
export function checkBalances(store: Store, sums: BalanceSums, complain: Complain): void {
  // What purged records had posted is known from the lines alone.
  for (const { budget, scope, window_start, posted, debt } of linesOfPurged(store))
    add(sums, keyOf(budget, scope, window_start), { posted, debt });
  for (const row of storedBalances(store)) {
    const key = keyOf(row.budget, row.scope, row.window_start);
    const { posted, debt } = sums.get(key) ?? { posted: 0, debt: 0 };
    sums.delete(key);
    const what = `budget ${row.budget}${row.scope === "" ? "" : ` (${row.scope})`}`;
    if (row.lines_posted !== posted || row.lines_debt !== debt)
      complain(null, `${what}: its lines say ${row.lines_posted} posted and ${row.lines_debt} debt, the records ${posted} and ${debt}`);
    if (row.committed !== posted || row.debt !== debt)
      complain(null, `${what}: its balance says ${row.committed} committed and ${row.debt} debt, the records ${posted} and ${debt}`);
  }
  if (sums.size > 0) complain(null, `${sums.size} balances that the records speak of are missing`);
}

function keyOf(budget: string, scope: string, windowStartMs: number): string {
  return `${budget}\0${scope}\0${windowStartMs}`;
}

function storedBalances(store: Store): Iterable<Stored> {
  return store
    .prepare(
      `SELECT b.budget, b.scope, b.window_start, b.committed, b.debt,
              coalesce(sum(p.posted), 0) AS lines_posted, coalesce(sum(p.debt), 0) AS lines_debt
       FROM balance AS b LEFT JOIN posted_line AS p ON p.balance = b.id GROUP BY b.id`,
    )
    .iterate() as Iterable<Stored>;
}

type Line = {
  readonly budget: string;
  readonly scope: string;
  readonly window_start: number;
  readonly posted: number;
  readonly debt: number;
};

function linesOfPurged(store: Store): Iterable<Line> {
  return store
    .prepare(
      `SELECT b.budget, b.scope, b.window_start, sum(p.posted) AS posted, sum(p.debt) AS debt
       FROM posted_line AS p JOIN audit_record AS r ON r.sequence = p.record JOIN balance AS b ON b.id = p.balance
       WHERE r.body = '${PURGED_BODY}' GROUP BY b.id`,
    )
    .iterate() as Iterable<Line>;
}
