/** Agents as OAuth clients: whichever of its credentials an agent presents counts, and the one that did is known. */
import { compactVerify, decodeProtectedHeader, importJWK, type JWK } from "jose";
import type { Context } from "oidc-provider";
import type { Registry } from "../agents/registry.ts";
import { matchesSecret } from "../agents/secrets.ts";
import type { CredentialRow } from "../tables.ts";
import type { Payload } from "./adapter.ts";
import type { ClientKeys } from "./client-keys.ts";
import { GRANTS } from "./grant-request.ts";

export type Clients = {
  /** For the provider: the agent with the method that this request uses. One that is stopped or has no such credential is none. */
  find(id: string): Promise<Payload | undefined>;
  matches(id: string, presented: string): boolean;
  /** After the provider has verified the assertion: whose key it was. */
  verified(context: Context, id: string): Promise<void>;
  credentialOf(context: Context): CredentialRow | null;
};

export type ClientsOptions = {
  readonly registry: Registry;
  readonly keys: ClientKeys;
  /** The request under way. */
  readonly context: () => Context | undefined;
};

export function createClients({ registry, keys, context }: ClientsOptions): Clients {
  const proved = new WeakMap<Context, CredentialRow>();
  const ofKind = (id: string, ...kinds: CredentialRow["kind"][]) => registry.credentialsOf(id).filter(({ kind }) => kinds.includes(kind));
  const prove = (asked: Context | undefined, credential: CredentialRow) => {
    if (asked !== undefined) proved.set(asked, credential);
    if (credential.retired_ms !== null) registry.overlapUsed(credential.id);
  };

  return {
    async find(id) {
      // Another gateway may have registered it just now: one question serves all who wait for its answer.
      if (registry.byId(id) === undefined) await registry.catchUp().catch(() => {});
      const profile = registry.byId(id);
      if (profile === undefined || profile.state !== "active") return undefined;
      const common = {
        client_id: id,
        client_name: profile.name,
        grant_types: Object.values(GRANTS),
        response_types: [],
        redirect_uris: [],
        id_token_signed_response_alg: "ES256",
      };
      const assertion = textOf(context()?.oidc?.params?.client_assertion);
      if (assertion === null) {
        // The provider wants a secret to exist; ours is only a hash, and `matches` looks at that.
        return ofKind(id, "secret").length === 0
          ? undefined
          : { ...common, token_endpoint_auth_method: "client_secret_basic", client_secret: "only-a-hash-is-kept" };
      }
      const all = await Promise.all(ofKind(id, "jwks", "jwks_uri").map((row) => keys.of(row, keyIdOf(assertion))));
      const jwks = { keys: all.flat() };
      return jwks.keys.length === 0 ? undefined : { ...common, token_endpoint_auth_method: "private_key_jwt", jwks };
    },
    matches(id, presented) {
      const credential = ofKind(id, "secret").find(({ hash }) => hash !== null && matchesSecret(presented, hash));
      if (credential !== undefined) prove(context(), credential);
      return credential !== undefined;
    },
    async verified(asked, id) {
      const assertion = textOf(asked.oidc?.params?.client_assertion);
      if (assertion === null) return;
      for (const row of ofKind(id, "jwks", "jwks_uri")) {
        for (const key of await keys.of(row, null)) if (await verifies(assertion, key)) return prove(asked, row);
      }
    },
    credentialOf: (asked) => proved.get(asked) ?? null,
  };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function keyIdOf(assertion: string): string | null {
  try {
    const { kid } = decodeProtectedHeader(assertion);
    return typeof kid === "string" ? kid : null;
  } catch {
    return null;
  }
}

async function verifies(assertion: string, key: JWK): Promise<boolean> {
  try {
    const { alg, kid } = decodeProtectedHeader(assertion);
    if (alg === undefined || (kid !== undefined && key.kid !== undefined && kid !== key.kid)) return false;
    await compactVerify(assertion, await importJWK(key, alg), { algorithms: [alg] });
    return true;
  } catch {
    return false;
  }
}
