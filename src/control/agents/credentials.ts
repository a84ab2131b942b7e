/** What an agent proves itself with: issued, rotated with an overlap, ended at once when it has leaked. */
import { mintId } from "../../ids.ts";
import type { AgentRow, CredentialRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import type { Issued } from "./agent-life.ts";
import { absent, detailsOf, find } from "./agent-row.ts";
import { iso, listOf } from "./profiles.ts";
import type { Parts, RegistryFault } from "./registry.ts";
import { hashSecret, mintSecret } from "./secrets.ts";
import { revokeWhere } from "./tokens.ts";

export type CredentialSpec = (
  | { readonly kind: "secret" }
  | { readonly kind: "jwks"; readonly jwks: { readonly keys: readonly object[] } }
  | { readonly kind: "jwks_uri"; readonly jwksUri: string }
  /** `servers`: names of servers and views, `""` for `/mcp`; absent: every route. */
  | { readonly kind: "api_key"; readonly environment: "live" | "test"; readonly servers?: readonly string[] | undefined }
) & { readonly scopes?: readonly string[] | undefined; readonly expiresInMs?: number | undefined };

export type Rotation = {
  /** How long the old ones still count, milliseconds; 0 ends them and every token that they obtained. */
  readonly overlapMs: number;
  /** The one credential that the new one replaces; absent: all of the same use (OAuth client, or opaque keys). */
  readonly replaces?: string | undefined;
};

export type Credentials = {
  /** Of an agent: what counts now, what still counts for an overlap; never a secret. */
  credentialsOf(id: string): readonly CredentialRow[];
  /** By the SHA-256 of its text, revoked or not. */
  credentialByDigest(digest: Buffer): Promise<CredentialRow | undefined>;
  /** One more credential; with `rotation` in the place of others. Of several rotations at once exactly one wins. */
  issueCredential(idOrName: string, spec: CredentialSpec, rotation: Rotation | null, by: string): Promise<Issued | RegistryFault>;
  /** Ends it now, and every token that it obtained. */
  revokeCredential(idOrName: string, credentialId: string, cause: string | null, by: string): Promise<CredentialRow | RegistryFault>;
  /** Told once a minute at most for each credential: somebody still uses what was replaced. */
  overlapUsed(credentialId: string): void;
};

const CREDENTIALS_MAX = 50;
const TOLD_AGAIN_MS = 60_000;

export function credentialsOf(parts: Parts): Credentials {
  const { store, directory, audit, now } = parts;
  const told = new Map<string, number>();
  const current = (id: string) =>
    (directory.entry(id)?.credentials ?? []).filter((row) => row.expires_ms === null || row.expires_ms > now());

  return {
    credentialsOf: current,
    credentialByDigest: (digest) => store.db.selectFrom("credential").selectAll().where("hash", "=", digest).executeTakeFirst(),
    async issueCredential(idOrName, spec, rotation, by) {
      // What this rotation replaces is what stood when it was asked for: the second of two at once finds it replaced.
      const entry = directory.entry(idOrName);
      const replaced = rotation === null || entry === undefined ? [] : replacedBy(current(entry.row.id), spec, rotation);
      if (rotation?.replaces !== undefined && replaced.length === 0)
        return { fault: "absent", detail: `${idOrName} has no credential ${rotation.replaces} that could be replaced` };
      const answer = await store.write(async (writing) => {
        const row = await find(writing, idOrName);
        if (row === undefined) return absent(idOrName);
        if (row.state !== "active") return { fault: "conflict", detail: `${row.name} is ${row.state}` } as const;
        const ids = replaced.map(({ id }) => id);
        const standing = ids.length === 0 ? [] : await standingAmong(writing, ids);
        if (standing.length < ids.length)
          return { fault: "conflict", detail: `${row.name} was given another credential a moment ago` } as const;
        if (rotation === null) {
          const fault = await faultOfAnother(writing, row, spec, now());
          if (fault !== null) return fault;
        }
        const issued = await insertCredential(parts, writing, row, spec, by);
        if ("fault" in issued) return issued;
        for (const id of [...ids, ...lingering(current(row.id), spec, rotation)])
          await retire(parts, writing, row, id, rotation?.overlapMs ?? 0, issued.credentialId, by);
        return { id: row.id, ...issued };
      });
      if ("fault" in answer) return answer;
      await directory.catchUp();
      const profile = directory.byId(answer.id);
      return profile === undefined ? absent(idOrName) : { profile, credentialId: answer.credentialId, secret: answer.secret };
    },
    async revokeCredential(idOrName, credentialId, cause, by) {
      const answer = await store.write(async (writing) => {
        const row = await find(writing, idOrName);
        if (row === undefined) return absent(idOrName);
        const credential = await writing.db
          .selectFrom("credential")
          .selectAll()
          .where("agent_id", "=", row.id)
          .where("id", "=", credentialId)
          .executeTakeFirst();
        if (credential === undefined) return { fault: "absent", detail: `${row.name} has no credential ${credentialId}` } as const;
        if (credential.revoked_ms !== null) return credential;
        await audit("credential.revoked", by, {
          agent_id: row.id,
          agent: row.name,
          customer: row.customer,
          credential_id: credentialId,
          kind: credential.kind,
          cause,
        });
        await end(parts, writing, row, credentialId);
        return { ...credential, revoked_ms: now() };
      });
      await directory.catchUp();
      return answer;
    },
    overlapUsed(credentialId) {
      const nowMs = now();
      if (nowMs - (told.get(credentialId) ?? Number.NEGATIVE_INFINITY) < TOLD_AGAIN_MS) return;
      told.set(credentialId, nowMs);
      const entry = [...directory.entries()].find(({ credentials }) => credentials.some(({ id }) => id === credentialId));
      if (entry === undefined) return;
      const { id, name, customer } = entry.row;
      void audit("credential.overlap_used", "agent", { agent_id: id, agent: name, customer, credential_id: credentialId }).catch(() => {});
    },
  };
}

const isKey = (kind: CredentialRow["kind"]) => kind === "api_key";

/** Which of them a rotation takes out of use: those of the same use, or the one that it names. */
export function replacedBy(
  rows: readonly CredentialRow[],
  spec: Pick<CredentialSpec, "kind">,
  { replaces }: Rotation,
): readonly CredentialRow[] {
  const standing = rows.filter((row) => row.retired_ms === null && isKey(row.kind) === (spec.kind === "api_key"));
  return replaces === undefined ? standing : standing.filter(({ id }) => id === replaces);
}

/** A rotation that ends at once what it replaces also ends what an earlier one still lets count. */
function lingering(rows: readonly CredentialRow[], spec: Pick<CredentialSpec, "kind">, rotation: Rotation | null): readonly string[] {
  if (rotation === null || rotation.overlapMs > 0 || rotation.replaces !== undefined) return [];
  return rows.filter((row) => row.retired_ms !== null && isKey(row.kind) === (spec.kind === "api_key")).map(({ id }) => id);
}

async function standingAmong({ db }: Writing, ids: readonly string[]) {
  return await db
    .selectFrom("credential")
    .select("id")
    .where("id", "in", ids)
    .where("retired_ms", "is", null)
    .where("revoked_ms", "is", null)
    .execute();
}

/** An agent has one way to be an OAuth client, and as many opaque keys as it needs. */
async function faultOfAnother(writing: Writing, row: AgentRow, spec: CredentialSpec, nowMs: number): Promise<RegistryFault | null> {
  const rows = await writing.db
    .selectFrom("credential")
    .select(["kind", "retired_ms"])
    .where("agent_id", "=", row.id)
    .where("revoked_ms", "is", null)
    .where((one) => one.or([one("expires_ms", "is", null), one("expires_ms", ">", nowMs)]))
    .execute();
  if (rows.length >= CREDENTIALS_MAX) return { fault: "conflict", detail: `${row.name} has ${CREDENTIALS_MAX} credentials: revoke some` };
  const has = spec.kind !== "api_key" && rows.some(({ kind, retired_ms }) => !isKey(kind) && retired_ms === null);
  return has ? { fault: "conflict", detail: `${row.name} has a credential already: rotate it instead` } : null;
}

async function retire(
  parts: Parts,
  writing: Writing,
  row: AgentRow,
  id: string,
  overlapMs: number,
  by: string,
  who: string,
): Promise<void> {
  const nowMs = parts.now();
  const until = { overlap_ms: overlapMs, replaced_by: by };
  await parts.audit("credential.retired", who, { agent_id: row.id, agent: row.name, customer: row.customer, credential_id: id, ...until });
  if (overlapMs === 0) return await end(parts, writing, row, id);
  const { expires_ms } = await writing.db.selectFrom("credential").select("expires_ms").where("id", "=", id).executeTakeFirstOrThrow();
  const ends = Math.min(expires_ms ?? Number.MAX_SAFE_INTEGER, nowMs + overlapMs);
  await writing.db.updateTable("credential").set({ retired_ms: nowMs, expires_ms: ends }).where("id", "=", id).execute();
  await writing.changed("agent", row.id);
}

async function end(parts: Parts, writing: Writing, row: AgentRow, credentialId: string): Promise<void> {
  const nowMs = parts.now();
  await writing.db.updateTable("credential").set({ revoked_ms: nowMs, retired_ms: nowMs }).where("id", "=", credentialId).execute();
  await writing.changed("agent", row.id);
  await revokeWhere(writing, { own: parts.issuer, nowMs }, "credential_id", credentialId);
}

/** An agent that moves to another account: whoever administers the one may hold a secret of it, and has no business with the other. */
export async function endCredentials({ now, issuer }: Parts, writing: Writing, id: AgentRow["id"]): Promise<void> {
  const nowMs = now();
  await writing.db
    .updateTable("credential")
    .set({ revoked_ms: nowMs, retired_ms: nowMs })
    .where("agent_id", "=", id)
    .where("revoked_ms", "is", null)
    .execute();
  await revokeWhere(writing, { own: issuer, nowMs }, "agent_id", id);
}

/** Within what its customer may have: more would be a promise that no call could keep. */
export async function insertCredential(
  { audit, directory, now }: Parts,
  writing: Writing,
  row: AgentRow,
  spec: CredentialSpec,
  by: string,
): Promise<{ credentialId: string; secret: string | null } | RegistryFault> {
  const allowed = directory.customer(row.customer)?.scopes ?? null;
  const beyond = (spec.scopes ?? []).find((scope) => allowed !== null && scope !== "mcp" && !allowed.includes(scope));
  if (beyond !== undefined) return { fault: "invalid", detail: `the customer ${row.customer} may not have the scope ${beyond}` };
  const { credential, secret } = mintCredential(row, spec, by, now());
  await audit("credential.issued", by, issueDetails(row, credential));
  await writing.db.insertInto("credential").values(credential).execute();
  await writing.changed("agent", row.id);
  return { credentialId: credential.id, secret };
}

export function issueDetails(row: AgentRow, { id, kind, environment }: CredentialRow): Record<string, string | null> {
  return { ...detailsOf(row), kind, credential_id: id, environment };
}

/** The secret is nowhere but in the answer. */
export function mintCredential(
  row: AgentRow,
  spec: CredentialSpec,
  by: string,
  nowMs: number,
): { readonly credential: CredentialRow; readonly secret: string | null } {
  const secret = spec.kind === "secret" ? mintSecret() : spec.kind === "api_key" ? mintSecret(`tg_${spec.environment}_`) : null;
  const credential: CredentialRow = {
    id: mintId("cred", nowMs),
    agent_id: row.id,
    kind: spec.kind,
    hash: secret === null ? null : hashSecret(secret),
    jwks: spec.kind === "jwks" ? JSON.stringify(spec.jwks) : null,
    jwks_uri: spec.kind === "jwks_uri" ? spec.jwksUri : null,
    scopes: spec.scopes === undefined ? null : JSON.stringify(spec.scopes),
    servers: spec.kind === "api_key" && spec.servers !== undefined ? JSON.stringify(spec.servers) : null,
    environment: spec.kind === "api_key" ? spec.environment : "live",
    expires_ms: spec.expiresInMs === undefined ? null : nowMs + spec.expiresInMs,
    retired_ms: null,
    revoked_ms: null,
    created_at: iso(nowMs),
    created_by: by,
  };
  return { credential, secret };
}

/** The scopes that a credential may hold at most; null: no bound of its own. */
export function scopesOf(row: CredentialRow): readonly string[] | null {
  return listOf(row.scopes);
}
