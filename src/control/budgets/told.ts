/** Who tells what of a window of a budget, where several gateways count it together: one of them, once. */
import type { NoticeRow } from "../../call/record/rows.ts";
import { DATABASE_NOW_MS } from "../shared-clock.ts";
import type { ControlStore } from "../store.ts";

/** Windows settle late: a call may end long after the window that it was held in. */
const KEPT_MS = 172_800_000;
const SWEEP_MS = 3_600_000;

export type Told = Pick<NoticeRow, "budget" | "scope" | "windowStartMs" | "percent"> & { readonly windowEndMs: number | null };

/** True: this gateway is the one that tells it. Rejects where the registry is away. */
export function tellingOf({ db }: Pick<ControlStore, "db">, gateway: string, mono: () => number): (told: Told) => Promise<boolean> {
  let sweptMs = Number.NEGATIVE_INFINITY;
  return async ({ budget, scope, windowStartMs, windowEndMs, percent }) => {
    if (mono() - sweptMs >= SWEEP_MS) {
      sweptMs = mono();
      await db.deleteFrom("budget_told").where("expires_ms", "<", DATABASE_NOW_MS).execute();
    }
    const expires_ms = windowEndMs === null ? null : windowEndMs + KEPT_MS;
    const rows = await db
      .insertInto("budget_told")
      .values({ budget, scope, window_start: windowStartMs, percent, gateway, expires_ms })
      .onConflict((conflict) =>
        conflict
          .columns(["budget", "scope", "window_start", "percent"])
          // One that has said so before may have stopped before its journal had it.
          .doUpdateSet({ gateway })
          .where("budget_told.gateway", "=", gateway),
      )
      .returning("gateway")
      .execute();
    return rows.length === 1;
  };
}
