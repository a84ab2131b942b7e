/** Who tells what of a window of a budget, where several gateways count it together: one of them, once. */
import { sql } from "kysely";
import { DATABASE_NOW_MS } from "../shared-clock.ts";
import type { ControlStore } from "../store.ts";
import type { Telling } from "./telling.ts";

/** Windows settle late: a call may end long after the window that it was held in. */
const KEPT_MS = 172_800_000;
/** A part of a budget has no window; its token does not live longer. */
const PART_KEPT_MS = 32 * 86_400_000;
const SWEEP_MS = 3_600_000;

/** True: this gateway is the one that tells it. Rejects where the registry is away. */
export function tellingOf({ db }: Pick<ControlStore, "db">, gateway: string, mono: () => number): (telling: Telling) => Promise<boolean> {
  let sweptMs = Number.NEGATIVE_INFINITY;
  return async ({ budget, scope, windowStartMs, windowEndMs, percent, lengthMs, isCrossing, isPart }) => {
    if (mono() - sweptMs >= SWEEP_MS) {
      sweptMs = mono();
      await db.deleteFrom("budget_told").where("expires_ms", "<", DATABASE_NOW_MS).execute();
    }
    const partEnd = isPart ? sql`${DATABASE_NOW_MS} + ${PART_KEPT_MS}::bigint` : null;
    // The next length of a rolling window looks at this one.
    const expires = windowEndMs === null ? partEnd : windowEndMs + lengthMs + KEPT_MS;
    const before = sql`SELECT 1 FROM budget_told WHERE budget = ${budget} AND scope = ${scope} AND percent = ${percent}
      AND window_start = ${windowStartMs - lengthMs}`;
    // One that has said so before may have stopped before its journal had it.
    const { rows } = await sql<{ told: number }>`
      INSERT INTO budget_told (budget, scope, window_start, percent, gateway, told, expires_ms)
      VALUES (${budget}, ${scope}, ${windowStartMs}, ${percent}, ${gateway},
        CASE WHEN ${isCrossing}::boolean OR NOT EXISTS (${before}) THEN 1 ELSE 0 END, ${expires})
      ON CONFLICT (budget, scope, window_start, percent) DO UPDATE SET told = 1, gateway = excluded.gateway
        WHERE (budget_told.told = 1 AND budget_told.gateway = excluded.gateway) OR (budget_told.told = 0 AND ${isCrossing}::boolean)
      RETURNING told`.execute(db);
    return Number(rows[0]?.told ?? 0) === 1;
  };
}
