/** What the authorization server stores, over our own tables: agents are its clients, the rest expires. */
import type { Registry } from "../agents/registry.ts";
import type { ControlStore } from "../store.ts";

type Payload = Record<string, unknown>;

export type Adapter = {
  upsert(id: string, payload: Payload, expiresIn?: number): Promise<void>;
  find(id: string): Promise<Payload | undefined>;
  findByUserCode(userCode: string): Promise<undefined>;
  findByUid(uid: string): Promise<undefined>;
  consume(id: string): Promise<void>;
  destroy(id: string): Promise<void>;
  revokeByGrantId(grantId: string): Promise<void>;
};

export function createAdapter(model: string, store: ControlStore, registry: Registry, now: () => number): Adapter {
  const { db } = store;
  return {
    async upsert(id, payload, expiresIn) {
      const row = { payload: JSON.stringify(payload), expires_ms: expiresIn === undefined ? null : now() + expiresIn * 1000 };
      await db
        .insertInto("oauth_item")
        .values({ model, id, ...row })
        .onConflict((conflict) => conflict.columns(["model", "id"]).doUpdateSet(row))
        .execute();
    },
    async find(id) {
      if (model === "Client") return clientOf(id, registry);
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

/** An agent as an OAuth client. One that is suspended, revoked or without a credential is none. */
function clientOf(id: string, registry: Registry): Payload | undefined {
  const profile = registry.byId(id);
  const credential = registry.credentialsOf(id).findLast(({ kind }) => kind !== "api_key");
  if (profile === undefined || profile.state !== "active" || credential === undefined) return undefined;
  const common = {
    client_id: id,
    client_name: profile.name,
    grant_types: ["client_credentials"],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: "ES256",
  };
  if (credential.jwks !== null) return { ...common, token_endpoint_auth_method: "private_key_jwt", jwks: JSON.parse(credential.jwks) };
  // The provider wants a secret to exist; ours is only a hash, and compareClientSecret looks at that.
  return { ...common, token_endpoint_auth_method: "client_secret_basic", client_secret: "only-a-hash-is-kept" };
}
