/** The registry in memory: what every call looks at, brought up to date with what this gateway or another has written. */
import { setImmediate } from "node:timers/promises";
import type { AgentDirectory, AgentProfile, OpaqueKey } from "../../call/authenticate/agent.ts";
import type { ControlStore } from "../store.ts";
import type { AgentRow, ChangeKind, CredentialRow } from "../tables.ts";
import { type Customer, customerOf, opaqueKeyOf, profileOf } from "./profiles.ts";

export type Entry = { readonly row: AgentRow; readonly credentials: readonly CredentialRow[]; readonly profile: AgentProfile };

export type Directory = AgentDirectory & {
  entries(): IterableIterator<Entry>;
  entry(idOrName: string): Entry | undefined;
  customers(): IterableIterator<Customer>;
  customer(key: string): Customer | undefined;
  /** Everything committed before the call is seen after it. */
  catchUp(): Promise<void>;
  /** Hears of each thing that has changed, after the directory shows it. */
  onChange(heard: (kind: ChangeKind, id: string) => void): void;
  /** Keeps another part's own tables in memory as the registry's are: loaded anew with them, and at each change of its kind. */
  follow(mirror: Mirror): Promise<void>;
  /** When what is shown was last known to be all there is, milliseconds since the epoch. */
  heardAtMs(): number;
};

/** `loadAll` forgets what it knew; `load` reads again what a change of its kind names. */
export type Mirror = { readonly kind: ChangeKind; loadAll(): Promise<void>; load(id: string): Promise<void> };

/** Beyond a token's end: clocks differ, and it is accepted a little longer. */
export const REMEMBERED_MS = 120_000;
const CHANGES_A_READ = 1_000;
/** About a millisecond. */
const READS_A_TURN = 10;
/** Changes older than this are forgotten; whoever was away for half of it reads everything anew. */
export const CHANGES_KEPT_MS = 86_400_000;

export async function openDirectory(store: ControlStore, now: () => number): Promise<Directory> {
  const customers = new Map<string, Customer>();
  const byId = new Map<string, Entry>();
  const byName = new Map<string, Entry>();
  const byIdentity = new Map<string, Entry>();
  const byKey = new Map<string, OpaqueKey>();
  const revoked = new Map<string, number>();
  const mirrors: Mirror[] = [];
  const listeners: ((kind: ChangeKind, id: string) => void)[] = [];
  let seen = 0;
  let heardAtMs = now();

  function forget(id: string): void {
    const known = byId.get(id);
    if (known === undefined) return;
    byId.delete(id);
    if (byName.get(known.row.name) === known) byName.delete(known.row.name);
    if (known.row.issuer !== null) byIdentity.delete(pair(known.row.issuer, known.row.issuer_name ?? ""));
    for (const { hash } of known.credentials) if (hash !== null) byKey.delete(hash.toString("base64"));
  }

  function keep(row: AgentRow, credentials: readonly CredentialRow[]): void {
    forget(row.id);
    const entry: Entry = { row, credentials, profile: profileOf(row, customers.get(row.customer)) };
    byId.set(row.id, entry);
    byName.set(row.name, entry);
    if (row.issuer !== null) byIdentity.set(pair(row.issuer, row.issuer_name ?? ""), entry);
    for (const credential of credentials) {
      const key = opaqueKeyOf(credential, entry.profile);
      if (key !== null && credential.hash !== null) byKey.set(credential.hash.toString("base64"), key);
    }
  }

  /** In the order that makes what comes later right: an agent's profile holds its customer's bounds. */
  async function loadAll(): Promise<void> {
    const newest = await store.db
      .selectFrom("change")
      .select(({ fn }) => fn.max("seq").as("seq"))
      .executeTakeFirst();
    const rows = {
      customers: await store.db.selectFrom("customer").selectAll().execute(),
      agents: await store.db.selectFrom("agent").selectAll().execute(),
      credentials: await store.db.selectFrom("credential").selectAll().where("revoked_ms", "is", null).execute(),
      revoked: await store.db.selectFrom("revoked_token").selectAll().execute(),
    };
    for (const map of [customers, byId, byName, byIdentity, byKey, revoked]) map.clear();
    for (const row of rows.customers) customers.set(row.key, customerOf(row));
    const credentials = Map.groupBy(rows.credentials, (row) => row.agent_id);
    for (const row of rows.agents) keep(row, credentials.get(row.id) ?? []);
    for (const { issuer, jti, expires_ms } of rows.revoked) revoked.set(pair(issuer, jti), expires_ms);
    for (const mirror of mirrors) await mirror.loadAll();
    seen = Number(newest?.seq ?? 0);
  }

  async function reload(kind: ChangeKind, id: string): Promise<void> {
    if (kind === "agent") return await reloadAgent(id);
    for (const mirror of mirrors) if (mirror.kind === kind) await mirror.load(id);
    if (kind === "customer") {
      const row = await store.db.selectFrom("customer").selectAll().where("key", "=", id).executeTakeFirst();
      if (row === undefined) return;
      customers.set(id, customerOf(row));
      for (const entry of [...byId.values()]) if (entry.row.customer === id) keep(entry.row, entry.credentials);
    }
    if (kind === "revoked_token") {
      const [issuer = "", jti = ""] = JSON.parse(id) as string[];
      const row = await store.db
        .selectFrom("revoked_token")
        .selectAll()
        .where("issuer", "=", issuer)
        .where("jti", "=", jti)
        .executeTakeFirst();
      if (row !== undefined) revoked.set(pair(issuer, jti), row.expires_ms);
    }
  }

  async function reloadAgent(id: string): Promise<void> {
    const row = await store.db
      .selectFrom("agent")
      .selectAll()
      .where("id", "=", id as AgentRow["id"])
      .executeTakeFirst();
    if (row === undefined) return forget(id);
    const live = store.db.selectFrom("credential").selectAll().where("agent_id", "=", id).where("revoked_ms", "is", null);
    keep(row, await live.execute());
  }

  async function readChanges(): Promise<void> {
    const startedMs = now();
    if (startedMs - heardAtMs > CHANGES_KEPT_MS / 2) await loadAll();
    for (let more = true; more; ) {
      const changes = await store.db
        .selectFrom("change")
        .selectAll()
        .where("seq", ">", seen)
        .orderBy("seq")
        .limit(CHANGES_A_READ)
        .execute();
      const once = new Map(changes.map((change) => [`${change.kind} ${change.id}`, change]));
      let read = 0;
      for (const { kind, id } of once.values()) {
        await reload(kind, id);
        read += 1;
        // SQLite answers without a turn of the event loop: calls must not wait for a thousand agents.
        if (read % READS_A_TURN === 0) await setImmediate();
      }
      seen = changes.at(-1)?.seq ?? seen;
      for (const { kind, id } of once.values()) for (const heard of listeners) heard(kind, id);
      more = changes.length === CHANGES_A_READ;
    }
    for (const [key, expiresMs] of revoked) if (expiresMs + REMEMBERED_MS < startedMs) revoked.delete(key);
    heardAtMs = startedMs;
  }

  let last: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;
  await loadAll();
  return {
    byId: (id) => byId.get(id)?.profile,
    byName: (name) => byName.get(name)?.profile,
    byIdentity: (issuer, name) => byIdentity.get(pair(issuer, name))?.profile,
    byKey: (digest) => byKey.get(digest),
    isRevoked: (issuer, tokenId) => revoked.size > 0 && revoked.has(pair(issuer, tokenId)),
    entries: () => byId.values(),
    entry: (idOrName) => byId.get(idOrName) ?? byName.get(idOrName),
    customers: () => customers.values(),
    customer: (key) => customers.get(key),
    // A read that began before the write may have missed it: the next one has not, and serves all who wait.
    catchUp() {
      if (waiting !== null) return waiting;
      const started = last.then(() => {
        waiting = null;
        return readChanges();
      });
      waiting = started;
      last = started.catch(() => {});
      return started;
    },
    onChange: (heard) => void listeners.push(heard),
    async follow(mirror) {
      // In this order nothing falls between: what changes while it loads is heard after it.
      mirrors.push(mirror);
      await mirror.loadAll();
    },
    heardAtMs: () => heardAtMs,
  };
}

/** As a list: neither part has a character that could not stand in the other. */
export function pair(issuer: string, name: string): string {
  return JSON.stringify([issuer, name]);
}
