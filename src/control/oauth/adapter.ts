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
  const upsert = store.prepare(
    `INSERT INTO oauth_item (model, id, payload, expires_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
  );
  const sweep = store.prepare("DELETE FROM oauth_item WHERE expires_at < ?");
  const get = store.prepare("SELECT payload, expires_at FROM oauth_item WHERE model = ? AND id = ?");
  const consume = store.prepare("UPDATE oauth_item SET consumed_at = ? WHERE model = ? AND id = ? AND consumed_at IS NULL");
  const destroy = store.prepare("DELETE FROM oauth_item WHERE model = ? AND id = ?");
  return {
    async upsert(id, payload, expiresIn) {
      sweep.run(now());
      upsert.run(model, id, JSON.stringify(payload), expiresIn === undefined ? null : now() + expiresIn * 1000);
    },
    async find(id) {
      if (model === "Client") return clientOf(id, registry);
      const row = get.get(model, id) as { payload: string; expires_at: number | null } | undefined;
      if (row === undefined || (row.expires_at !== null && row.expires_at < now())) return undefined;
      return JSON.parse(row.payload) as Payload;
    },
    async findByUserCode() {
      return undefined;
    },
    async findByUid() {
      return undefined;
    },
    async consume(id) {
      consume.run(now(), model, id);
    },
    async destroy(id) {
      destroy.run(model, id);
    },
    async revokeByGrantId() {},
  };
}

/** An agent as an OAuth client. One that is suspended, revoked or without a credential is none. */
function clientOf(id: string, registry: Registry): Payload | undefined {
  const profile = registry.byId(id);
  const [credential] = registry.credentialsOf(id);
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
