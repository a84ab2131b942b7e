/** Tokens of ours by what they were made from, so that revoking one ends whatever was derived from it. */

import type { AgentId } from "../../ids.ts";
import type { IssuedTokenRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import { pair, REMEMBERED_MS } from "./directory.ts";
import type { Parts } from "./registry.ts";

export type Tokens = {
  /** Before the token leaves: what is not known cannot be revoked. False: what it is made from has ended meanwhile, and it must not leave. */
  issuedToken(row: IssuedTokenRow): Promise<boolean>;
  findToken(jti: string): Promise<IssuedTokenRow | undefined>;
  /** Tokens of an agent that have not ended, newest first: its instances, and what they were given. */
  tokensOf(agentId: string, limit: number): Promise<readonly IssuedTokenRow[]>;
  /** Ids of the tokens that a credential has obtained, as far as they are still known. */
  tokensOfCredential(credentialId: string): Promise<readonly string[]>;
  /** Ends a token, ours or an external issuer's, and everything derived from it; how many tokens of ours have ended. */
  revokeToken(issuer: string, jti: string, expiresMs: number, by: string): Promise<number>;
};

export function tokensOf({ store, directory, audit, now, issuer: own }: Parts): Tokens {
  return {
    issuedToken: (row) =>
      store.write(async ({ db }) => {
        if (await hasEnded(db, row, own)) return false;
        await db.insertInto("issued_token").values(row).execute();
        return true;
      }),
    findToken: (jti) => store.db.selectFrom("issued_token").selectAll().where("jti", "=", jti).executeTakeFirst(),
    tokensOf: (agentId, limit) =>
      store.db
        .selectFrom("issued_token")
        .selectAll()
        .where("agent_id", "=", agentId)
        .where("expires_ms", ">", now())
        .orderBy("issued_ms", "desc")
        .limit(limit)
        .execute(),
    async tokensOfCredential(credentialId) {
      const rows = await store.db.selectFrom("issued_token").select("jti").where("credential_id", "=", credentialId).execute();
      return rows.map(({ jti }) => jti);
    },
    async revokeToken(issuer, jti, expiresMs, by) {
      const ended = await store.write(async (writing) => {
        await audit("token.revoked", by, { issuer, token_id: jti });
        const token = { issuer, jti, expires_ms: expiresMs };
        return (await revoke(writing, token)) + (await revokeDerived(writing, [token], own));
      });
      await directory.catchUp();
      return ended;
    },
  };
}

/** Looked at under the lock of the writers: what was ended a moment ago, while the token was made, has not seen it. */
async function hasEnded(db: Writing["db"], row: IssuedTokenRow, own: string): Promise<boolean> {
  const agents = new Set<string>([row.agent_id]);
  const parents = [
    ...(row.parent_issuer !== null && row.parent_jti !== null ? [{ issuer: row.parent_issuer, jti: row.parent_jti }] : []),
    ...(row.actor_jti !== null ? [{ issuer: row.actor_issuer ?? own, jti: row.actor_jti }] : []),
  ];
  if (row.parent_agent_id !== null) agents.add(row.parent_agent_id);
  for (const { issuer, jti } of parents) {
    const ended = await db.selectFrom("revoked_token").select("jti").where("issuer", "=", issuer).where("jti", "=", jti).executeTakeFirst();
    if (ended !== undefined) return true;
    const parent =
      issuer === own ? await db.selectFrom("issued_token").select("agent_id").where("jti", "=", jti).executeTakeFirst() : undefined;
    if (parent !== undefined) agents.add(parent.agent_id);
  }
  if (row.credential_id !== null) {
    const credential = await db.selectFrom("credential").select("revoked_ms").where("id", "=", row.credential_id).executeTakeFirst();
    if (credential?.revoked_ms !== null) return true;
  }
  for (const id of agents) {
    const agent = await db
      .selectFrom("agent")
      .leftJoin("customer", "customer.key", "agent.customer")
      .select(["agent.state", "customer.state as account"])
      .where("agent.id", "=", id as AgentId)
      .executeTakeFirst();
    if (agent?.state !== "active" || (agent.account ?? "active") !== "active") return true;
  }
  return false;
}

type Ending = { readonly issuer: string; readonly jti: string; readonly expires_ms: number };

/** All tokens of one agent or one credential, and what was derived from them; with `derivedOnly` they themselves stay. */
export async function revokeWhere(
  writing: Writing,
  { own, nowMs }: { readonly own: string; readonly nowMs: number },
  column: "agent_id" | "credential_id",
  id: string,
  derivedOnly = false,
): Promise<void> {
  const rows = await writing.db
    .selectFrom("issued_token")
    .select(["jti", "expires_ms"])
    .where(column, "=", id)
    .where("expires_ms", ">", nowMs - REMEMBERED_MS)
    .execute();
  const tokens = rows.map((row): Ending => ({ issuer: own, ...row }));
  const others = column === "agent_id" ? await fromTokensOf(writing, id) : [];
  if (!derivedOnly) for (const token of tokens) await revoke(writing, token);
  for (const token of others) await revoke(writing, { issuer: own, ...token });
  await revokeDerived(writing, [...tokens, ...others.map((row): Ending => ({ issuer: own, ...row }))], own);
}

/** What another agent made from a token of this one that an external issuer gave: there is no row of that token. */
async function fromTokensOf({ db }: Writing, agentId: string) {
  return await db
    .selectFrom("issued_token")
    .select(["jti", "expires_ms"])
    .where("parent_agent_id", "=", agentId)
    .where("agent_id", "<>", agentId)
    .execute();
}

/** Level by level; a chain is at most four actors deep, and none ends later than what it was made from. */
async function revokeDerived(writing: Writing, from: readonly Ending[], own: string): Promise<number> {
  let ended = 0;
  const seen = new Set<string>();
  for (let level = from; level.length > 0; ) {
    const next: Ending[] = [];
    for (const { issuer, jti } of level) {
      for (const row of await derivedFrom(writing, issuer, jti, own)) {
        if (seen.has(row.jti)) continue;
        seen.add(row.jti);
        next.push({ issuer: own, ...row });
      }
    }
    for (const token of next) ended += await revoke(writing, token);
    level = next;
  }
  return ended;
}

async function derivedFrom({ db }: Writing, issuer: string, jti: string, own: string) {
  return await db
    .selectFrom("issued_token")
    .select(["jti", "expires_ms"])
    .where((token) =>
      token.or([
        token.and([token("parent_issuer", "=", issuer), token("parent_jti", "=", jti)]),
        token.and([token("actor_jti", "=", jti), token("actor_issuer", issuer === own ? "is" : "=", issuer === own ? null : issuer)]),
      ]),
    )
    .execute();
}

/** 1, or 0 where it had ended before. */
async function revoke(writing: Writing, token: Ending): Promise<number> {
  const added = await writing.db
    .insertInto("revoked_token")
    .values(token)
    .onConflict((conflict) => conflict.columns(["issuer", "jti"]).doNothing())
    .executeTakeFirst();
  if (Number(added.numInsertedOrUpdatedRows ?? 0) === 0) return 0;
  await writing.changed("revoked_token", pair(token.issuer, token.jti));
  return 1;
}
