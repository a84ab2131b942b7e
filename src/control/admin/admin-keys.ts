/** Keys of those who administer: hashed at rest, each with a role; the first one is made at the first start and left in `admin.key`. */
import { existsSync, lstatSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mintId } from "../../ids.ts";
import type { RegistryFault } from "../agents/registry.ts";
import { ADMIN_KEY_PREFIX, hashSecret, mintSecret } from "../agents/secrets.ts";
import type { ControlStore } from "../store.ts";
import type { AdminKeyRow, Role } from "../tables.ts";

/** Who administers: the name stands in the record of every act. */
export type Administrator = { readonly name: string; readonly role: Role; readonly customer: string | null };

export type NewAdminKey = {
  readonly name: string;
  readonly role: Role;
  readonly customer?: string | undefined;
  readonly expiresInMs?: number | undefined;
};

export type AdminKeys = {
  /** Null: not one of ours, or ended. */
  identify(presented: string): Promise<Administrator | null>;
  /** One of ours by its text, ended or not. */
  byText(presented: string): Promise<AdminKeyRow | undefined>;
  /** By the name of its key; null: there is none that counts now. */
  standing(name: string): Promise<Administrator | null>;
  list(): Promise<readonly AdminKeyRow[]>;
  create(key: NewAdminKey, by: string): Promise<{ readonly row: AdminKeyRow; readonly key: string } | RegistryFault>;
  revoke(idOrName: string, by: string): Promise<AdminKeyRow | RegistryFault>;
};

export type AdminKeysOptions = {
  readonly store: ControlStore;
  readonly dataDir: string;
  /** Names the first key where several gateways share a registry. */
  readonly gatewayId: string;
  readonly audit: (
    kind: "admin_key.created" | "admin_key.revoked",
    by: string,
    details: Readonly<Record<string, string | number | null>>,
  ) => Promise<void>;
  readonly now: () => number;
};

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$/;
/** Authors of acts that no key stands behind. */
const RESERVED = /^(agent|config|gateway|agt_.*)$/i;
const KEYS_MAX = 1_000;
/** So that whoever administers one customer cannot take the places of all others. */
const KEYS_OF_CUSTOMER_MAX = 100;

export async function openAdminKeys(options: AdminKeysOptions): Promise<AdminKeys> {
  const { store, dataDir, audit, now } = options;
  const file = join(dataDir, "admin.key");
  await makeFirst(options, file);
  if ((lstatSync(file).mode & 0o077) !== 0) throw new Error(`${file} can be read by others: chmod 600 ${file}`);
  const byText = (presented: string) =>
    store.db.selectFrom("admin_key").selectAll().where("hash", "=", hashSecret(presented)).executeTakeFirst();
  const countingNow = (row: AdminKeyRow | undefined): Administrator | null => {
    if (row === undefined || row.revoked_ms !== null || (row.expires_ms !== null && row.expires_ms <= now())) return null;
    return { name: row.name, role: row.role, customer: row.customer };
  };
  return {
    byText,
    async identify(presented) {
      if (!presented.startsWith(ADMIN_KEY_PREFIX)) return null;
      // Looked up by digest: what a timing could tell is a prefix of a hash, which leads nowhere.
      return countingNow(await byText(presented));
    },
    standing: async (name) => countingNow(await store.db.selectFrom("admin_key").selectAll().where("name", "=", name).executeTakeFirst()),
    list: () => store.db.selectFrom("admin_key").selectAll().orderBy("id").execute(),
    async create({ name, role, customer, expiresInMs }, by) {
      if (!NAME.test(name)) return { fault: "invalid", detail: "name: 1 to 128 of letters, digits, . _ @ : -" };
      if (RESERVED.test(name)) return { fault: "invalid", detail: `name: ${name} stands for another author in the audit log` };
      return await store.write(async ({ db }) => {
        const standing = await db
          .selectFrom("admin_key")
          .select("customer")
          .where("revoked_ms", "is", null)
          .where((one) => one.or([one("expires_ms", "is", null), one("expires_ms", ">", now())]))
          .execute();
        if (standing.length >= KEYS_MAX) return { fault: "conflict", detail: `there are ${KEYS_MAX} admin keys already` } as const;
        const theirs = customer === undefined ? 0 : standing.filter((row) => row.customer === customer).length;
        if (theirs >= KEYS_OF_CUSTOMER_MAX)
          return { fault: "conflict", detail: `the customer ${customer} has ${KEYS_OF_CUSTOMER_MAX} admin keys already` } as const;
        if ((await db.selectFrom("admin_key").select("id").where("name", "=", name).executeTakeFirst()) !== undefined)
          return { fault: "conflict", detail: `an admin key is named ${name} already` } as const;
        const key = mintSecret(ADMIN_KEY_PREFIX);
        const row = rowOf(
          name,
          key,
          { role, customer: customer ?? null, expiresMs: expiresInMs === undefined ? null : now() + expiresInMs },
          by,
          now(),
        );
        await audit("admin_key.created", by, { admin_key_id: row.id, name, role, customer: row.customer });
        await db.insertInto("admin_key").values(row).execute();
        return { row, key };
      });
    },
    async revoke(idOrName, by) {
      return await store.write(async ({ db }) => {
        const row = await db
          .selectFrom("admin_key")
          .selectAll()
          .where((key) => key.or([key("id", "=", idOrName), key("name", "=", idOrName)]))
          .executeTakeFirst();
        if (row === undefined) return { fault: "absent", detail: `there is no admin key ${idOrName}` } as const;
        if (row.revoked_ms !== null) return row;
        if (await isLast(db, row)) return { fault: "conflict", detail: "this is the last key that may administer everything" } as const;
        await audit("admin_key.revoked", by, { admin_key_id: row.id, name: row.name, customer: row.customer });
        await db.updateTable("admin_key").set({ revoked_ms: now() }).where("id", "=", row.id).execute();
        return { ...row, revoked_ms: now() };
      });
    },
  };
}

/** Without one, nobody could make another; one that ends by itself is no remedy. */
async function isLast(db: ControlStore["db"], row: AdminKeyRow): Promise<boolean> {
  if (row.role !== "admin" || row.customer !== null) return false;
  const others = await db
    .selectFrom("admin_key")
    .select("id")
    .where("role", "=", "admin")
    .where("customer", "is", null)
    .where("revoked_ms", "is", null)
    .where("expires_ms", "is", null)
    .where("id", "<>", row.id)
    .execute();
  return others.length === 0;
}

type Bounds = { readonly role: Role; readonly customer: string | null; readonly expiresMs: number | null };

function rowOf(name: string, key: string, { role, customer, expiresMs }: Bounds, by: string, nowMs: number): AdminKeyRow {
  const created_at = new Date(nowMs).toISOString();
  const id = mintId("key", nowMs);
  return { id, name, hash: hashSecret(key), role, customer, expires_ms: expiresMs, revoked_ms: null, created_at, created_by: by };
}

/** Also where the file was deleted or its key is gone: whoever may delete it may read the database as well, so a new key takes the old one's place. */
async function makeFirst({ store, gatewayId, now }: AdminKeysOptions, file: string): Promise<void> {
  const name = store.shared ? `first:${gatewayId}` : "first";
  await store.write(async ({ db }) => {
    const known = await db
      .selectFrom("admin_key")
      .select("hash")
      .where("name", "=", name)
      .where("revoked_ms", "is", null)
      .executeTakeFirst();
    const others = await db
      .selectFrom("admin_key")
      .select("id")
      .where("role", "=", "admin")
      .where("customer", "is", null)
      .where("revoked_ms", "is", null)
      .execute();
    if (existsSync(file) && (known !== undefined || others.length > 0)) return;
    const key = mintSecret(ADMIN_KEY_PREFIX);
    await db.deleteFrom("admin_key").where("name", "=", name).execute();
    await db
      .insertInto("admin_key")
      .values(rowOf(name, key, { role: "admin", customer: null, expiresMs: null }, "gateway", now()))
      .execute();
    // What waits under the name, a file that others may read or a link, must not receive the key.
    rmSync(file, { force: true });
    writeFileSync(file, `${key}\n`, { mode: 0o600, flag: "wx" });
  });
}
