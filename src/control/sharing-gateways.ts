/** The gateways that may hold in the shared ledger: each is written down before it does, so that none is forgotten when it is filled again. */
import { sql } from "kysely";
import { iso } from "./agents/profiles.ts";
import type { ControlStore } from "./store.ts";

export type SharingGateways = {
  /** `nowMs`: by the clock of the registry. */
  all(): Promise<{ readonly gateways: readonly string[]; readonly epoch: number; readonly nowMs: number }>;
  register(id: string): Promise<void>;
  /** It has told its share to that epoch. */
  told(id: string, epoch: number): Promise<void>;
  /** False: there was none of that name. */
  remove(id: string): Promise<boolean>;
};

export function sharingGateways(store: ControlStore, now: () => number): SharingGateways {
  const { db } = store;
  const registryMs = async (): Promise<number> => {
    if (!store.shared) return now();
    const { rows } = await sql<{ ms: unknown }>`SELECT floor(extract(epoch FROM clock_timestamp()) * 1000) AS ms`.execute(db);
    return Number(rows[0]?.ms);
  };
  return {
    async all() {
      const rows = await db.selectFrom("sharing_gateway").select(["id", "epoch"]).orderBy("id").execute();
      return { gateways: rows.map(({ id }) => id), epoch: Math.max(0, ...rows.map(({ epoch }) => epoch)), nowMs: await registryMs() };
    },
    async register(id) {
      const row = { id, epoch: 0, since: iso(now()) };
      await db
        .insertInto("sharing_gateway")
        .values(row)
        .onConflict((conflict) => conflict.column("id").doNothing())
        .execute();
    },
    async told(id, epoch) {
      // One that was forgotten, and was alive after all, is there again.
      await db
        .insertInto("sharing_gateway")
        .values({ id, epoch, since: iso(now()) })
        .onConflict((conflict) => conflict.column("id").doUpdateSet({ epoch }))
        .execute();
    },
    async remove(id) {
      const { numDeletedRows } = await db.deleteFrom("sharing_gateway").where("id", "=", id).executeTakeFirst();
      return numDeletedRows > 0n;
    },
  };
}
