/** What the provider stores, over our own tables: agents are its clients, ids of assertions are used once, the rest expires. */
import type { ControlStore } from "../store.ts";

export type Payload = Record<string, unknown>;

export type Adapter = {
  upsert(id: string, payload: Payload, expiresIn?: number): Promise<void>;
  find(id: string): Promise<Payload | undefined>;
  findByUserCode(userCode: string): Promise<undefined>;
  findByUid(uid: string): Promise<undefined>;
  consume(id: string): Promise<void>;
  destroy(id: string): Promise<void>;
  revokeByGrantId(grantId: string): Promise<void>;
};

export type AdapterOptions = {
  readonly store: ControlStore;
  readonly now: () => number;
  readonly client: (id: string) => Promise<Payload | undefined>;
  /** Thrown for the second of two uses of what may be used once. */
  readonly usedBefore: () => Error;
};

export function createAdapter(model: string, { store, now, client, usedBefore }: AdapterOptions): Adapter {
  const { db } = store;
  return {
    async upsert(id, payload, expiresIn) {
      const row = { payload: JSON.stringify(payload), expires_ms: expiresIn === undefined ? null : now() + expiresIn * 1000 };
      const insert = db.insertInto("oauth_item").values({ model, id, ...row });
      if (model !== "ReplayDetection") {
        await insert.onConflict((conflict) => conflict.columns(["model", "id"]).doUpdateSet(row)).execute();
        return;
      }
      // The provider looks first and writes then: of two at once, on one gateway or on two, only the row decides.
      const added = await insert.onConflict((conflict) => conflict.columns(["model", "id"]).doNothing()).executeTakeFirst();
      if (Number(added.numInsertedOrUpdatedRows ?? 0) === 0) throw usedBefore();
    },
    async find(id) {
      if (model === "Client") return await client(id);
      const row = await db.selectFrom("oauth_item").selectAll().where("model", "=", model).where("id", "=", id).executeTakeFirst();
      if (row === undefined || (row.expires_ms !== null && row.expires_ms < now())) return undefined;
      return JSON.parse(row.payload) as Payload;
    },
    async findByUserCode() {
      return undefined;
    },
    async findByUid() {
      return undefined;
    },
    async consume(id) {
      const found = db.updateTable("oauth_item").set({ consumed_ms: now() }).where("model", "=", model).where("id", "=", id);
      await found.where("consumed_ms", "is", null).execute();
    },
    async destroy(id) {
      await db.deleteFrom("oauth_item").where("model", "=", model).where("id", "=", id).execute();
    },
    async revokeByGrantId() {},
  };
}
