/** Keeps the balances: the moves of one transaction are summed and written once each, beside the posted lines they came from. */
import { LRUCache } from "lru-cache";
import type { Move } from "./rows.ts";
import type { Store } from "./store.ts";

/** Balances whose row number is remembered, about 100 bytes each; the others cost a look-up. */
const REMEMBERED = 10_000;

type Sum = { windowEnd: number | null; committed: number; held: number; debt: number };

export function balanceWriter(store: Store) {
  const find = store.prepare("SELECT id FROM balance WHERE budget = ? AND scope = ? AND window_start = ?").pluck();
  const insert = store.prepare("INSERT INTO balance (budget, scope, window_start, window_end) VALUES (?, ?, ?, ?)");
  const change = store.prepare(
    "UPDATE balance SET committed = committed + ?, held = held + ?, debt = debt + ?, window_end = ? WHERE id = ?",
  );
  const insertLine = store.prepare("INSERT INTO posted_line (balance, record, posted, debt) VALUES (?, ?, ?, ?)");
  const ids = new LRUCache<string, number>({ max: REMEMBERED });
  const sums = new Map<number, Sum>();

  const idOf = ([budget, scope, start, end]: Move): number => {
    const key = `${budget}\0${scope}\0${start}`;
    const known = ids.get(key) ?? (find.get(budget, scope, start) as number | undefined);
    const id = known ?? Number(insert.run(budget, scope, start, end).lastInsertRowid);
    ids.set(key, id);
    return id;
  };
  const move = (each: Move): number => {
    const [, , , windowEnd, committed, held, debt] = each;
    const id = idOf(each);
    const sum = sums.get(id) ?? { windowEnd, committed: 0, held: 0, debt: 0 };
    // A window's end follows the newest policy.
    sum.windowEnd = windowEnd;
    sum.committed += committed;
    sum.held += held;
    sum.debt += debt;
    sums.set(id, sum);
    return id;
  };
  return {
    move,
    post(each: Move, record: number): void {
      const [, , , , posted, , debt] = each;
      insertLine.run(move(each), record, posted, debt);
    },
    flush(): void {
      for (const [id, { committed, held, debt, windowEnd }] of sums) change.run(committed, held, debt, windowEnd, id);
      sums.clear();
    },
    /** After a rollback: rows that were new are gone. */
    forget(): void {
      sums.clear();
      ids.clear();
    },
  };
}
