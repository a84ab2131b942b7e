/** The registry over time: who is stopped, what is replaced, what a customer may have, and who hears of it. */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { openControlStore } from "../../src/control/store.ts";
import { issued, newFolder } from "./plane.ts";
import { ISSUER, onBoth, tokenOf } from "./registries.ts";

const bot = (name: string, more: object = {}) => ({ name, owner: "owner@example.com", purpose: "testing", ...more });
const digest = (secret: string) => createHash("sha256").update(secret).digest("base64");
const MINUTE = 60_000;

/** As the first release made it; its digest keys are adopted by another file. */
const FIRST_SCHEMA = `CREATE TABLE agent (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
  customer   TEXT NOT NULL,
  team       TEXT,
  workflow   TEXT,
  owner      TEXT NOT NULL CHECK (owner <> ''),
  purpose    TEXT NOT NULL CHECK (purpose <> ''),
  risk_class TEXT NOT NULL,
  declared   INTEGER NOT NULL CHECK (declared IN (0, 1)),
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
  id          TEXT PRIMARY KEY,
  agent_id    TEXT NOT NULL REFERENCES agent (id),
  secret_hash BLOB,
  jwks        TEXT,
  created_at  TEXT NOT NULL,
  CHECK ((secret_hash IS NULL) <> (jwks IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_by_agent ON credential (agent_id);

CREATE TABLE oauth_item (
  model       TEXT NOT NULL,
  id          TEXT NOT NULL,
  payload     TEXT NOT NULL,
  expires_at  INTEGER,
  consumed_at INTEGER,
  PRIMARY KEY (model, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_item_by_expiry ON oauth_item (expires_at);

CREATE TABLE digest_key (
  owner TEXT PRIMARY KEY,
  key   BLOB NOT NULL CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE admin_key (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  hash       BLOB NOT NULL UNIQUE,
  role       TEXT NOT NULL CHECK (role = 'admin'),
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotent_post (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  made        TEXT NOT NULL,
  expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;`;

onBoth("over time", (openAt) => {
  test("an agent is suspended, reinstated and revoked for good; each is recorded before it is so, and to repeat it is no fault", async () => {
    const { registry, acts, refuse } = await openAt();
    const { profile } = issued(await registry.create(bot("worker"), "first"));
    refuse(new Error("away"), "agent.suspended");
    await expect(registry.changeState("worker", "suspend", null, "ops")).rejects.toThrow("away");
    expect(registry.byId(profile.id)?.state).toBe("active");
    refuse(null);
    for (const _ of [1, 2])
      expect(await registry.changeState("worker", "suspend", "odd calls", "ops")).toMatchObject({ state: "suspended" });
    expect(acts.filter(({ kind }) => kind === "agent.suspended")).toEqual([
      { kind: "agent.suspended", by: "ops", details: expect.objectContaining({ agent: "worker", cause: "odd calls" }) },
    ]);
    expect(await registry.changeState(profile.id, "reinstate", null, "ops")).toMatchObject({ state: "active" });
    expect(await registry.changeState("worker", "revoke", "retired", "ops")).toMatchObject({ state: "revoked" });
    expect(await registry.changeState("worker", "reinstate", null, "ops")).toMatchObject({ fault: "conflict" });
    expect(await registry.issueCredential("worker", { kind: "secret" }, null, "ops")).toMatchObject({ fault: "conflict" });
    expect(await registry.changeState("nobody", "suspend", null, "ops")).toMatchObject({ fault: "absent" });
  });

  test("to suspend an agent ends what others derived from its tokens; to revoke it ends its tokens too", async () => {
    const { registry } = await openAt();
    const [parent, child] = [issued(await registry.create(bot("parent"), "a")), issued(await registry.create(bot("child"), "a"))];
    const jti = await tokenOf(registry, parent.profile.id);
    const derived = await tokenOf(registry, child.profile.id, { parent_issuer: ISSUER, parent_jti: jti });
    const further = await tokenOf(registry, child.profile.id, { parent_issuer: ISSUER, parent_jti: derived });
    await registry.changeState("parent", "suspend", null, "ops");
    expect([jti, derived, further].map((each) => registry.isRevoked(ISSUER, each))).toEqual([false, true, true]);
    await registry.changeState("parent", "revoke", null, "ops");
    expect(registry.isRevoked(ISSUER, jti)).toBe(true);
  });

  test("a token of another issuer that is revoked takes what was made from it along, and no token of the same id elsewhere", async () => {
    const { registry } = await openAt();
    const { profile } = issued(await registry.create(bot("delegate"), "a"));
    const derived = await tokenOf(registry, profile.id, { parent_issuer: "https://login.example.com", parent_jti: "shared-id" });
    const other = await tokenOf(registry, profile.id, { parent_issuer: "https://other.example.com", parent_jti: "shared-id" });
    expect(await registry.revokeToken("https://login.example.com", "shared-id", Date.now() + MINUTE, "ops")).toBeGreaterThan(0);
    expect([derived, other].map((each) => registry.isRevoked(ISSUER, each))).toEqual([true, false]);
  });

  test("a revoked token stays revoked past its end, for as long as clocks may differ, also over a sweep and a restart", async () => {
    let nowMs = Date.now();
    const opened = await openAt(undefined, () => nowMs);
    const { profile } = issued(await opened.registry.create(bot("ending"), "a"));
    const jti = await tokenOf(opened.registry, profile.id, { expires_ms: nowMs + 1_000 });
    await opened.registry.revokeToken(ISSUER, jti, nowMs + 1_000, "ops");
    nowMs += 31_000;
    await opened.registry.sweep();
    await opened.registry.catchUp();
    const again = await openAt(opened, () => nowMs);
    for (const { registry } of [opened, again]) expect(registry.isRevoked(ISSUER, jti)).toBe(true);
  });

  test("what is rotated counts for its overlap and no longer; without one it and its tokens end at once", async () => {
    let nowMs = Date.now();
    const { registry } = await openAt(undefined, () => nowMs);
    const first = issued(await registry.create(bot("rotating"), "a"));
    const old = await tokenOf(registry, first.profile.id, { credential_id: first.credentialId, expires_ms: nowMs + 60 * MINUTE });
    const second = issued(await registry.issueCredential("rotating", { kind: "secret" }, { overlapMs: 10 * MINUTE }, "ops"));
    const ids = () => registry.credentialsOf(first.profile.id).map(({ id }) => id);
    expect(ids().toSorted()).toEqual([first.credentialId, second.credentialId].toSorted());
    expect(registry.isRevoked(ISSUER, old)).toBe(false);
    nowMs += 11 * MINUTE;
    expect(ids()).toEqual([second.credentialId]);
    const third = issued(await registry.issueCredential("rotating", { kind: "secret" }, { overlapMs: 0 }, "ops"));
    expect(ids()).toEqual([third.credentialId]);
    await registry.revokeCredential("rotating", first.credentialId, "leaked", "ops");
    expect(registry.isRevoked(ISSUER, old)).toBe(true);
  });

  test("of 50 rotations at once exactly one wins, and exactly one credential stands", async () => {
    const { registry, acts } = await openAt();
    const { profile } = issued(await registry.create(bot("contended"), "a"));
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => registry.issueCredential("contended", { kind: "secret" }, { overlapMs: 0 }, `ops-${index}`)),
    );
    expect(answers.filter((answer) => !("fault" in answer))).toHaveLength(1);
    expect(registry.credentialsOf(profile.id)).toHaveLength(1);
    expect(acts.filter(({ kind }) => kind === "credential.issued")).toHaveLength(2);
  });

  test("an opaque key is found by its digest alone, as long as it and its agent count; its text is nowhere", async () => {
    let nowMs = Date.now();
    const { registry, store } = await openAt(undefined, () => nowMs);
    const { profile } = issued(await registry.create(bot("keyed"), "a"));
    const spec = { kind: "api_key", environment: "test", scopes: ["read"], servers: ["up"], expiresInMs: MINUTE } as const;
    const { secret, credentialId } = issued(await registry.issueCredential("keyed", spec, null, "a"));
    expect(secret).toMatch(/^tg_test_/);
    const key = registry.byKey(digest(secret ?? ""));
    expect(key).toMatchObject({
      id: credentialId,
      environment: "test",
      scopes: new Set(["read"]),
      servers: new Set(["up"]),
      expiresAtMs: nowMs + MINUTE,
    });
    expect(JSON.stringify(await store.db.selectFrom("credential").selectAll().execute())).not.toContain(secret);
    await registry.changeState("keyed", "suspend", null, "ops");
    expect(registry.byKey(digest(secret ?? ""))?.profile.state).toBe("suspended");
    await registry.revokeCredential(profile.id, credentialId, null, "ops");
    expect(registry.byKey(digest(secret ?? ""))).toBeUndefined();
    nowMs += 2 * MINUTE;
  });

  test("a customer bounds its agents: how many, which scopes; its suspension is theirs, and its end is final", async () => {
    const { registry } = await openAt();
    await registry.createCustomer("acme", { tools: ["up/*"], scopes: ["read"], agentsMax: 1, owner: "owner@acme.example" }, "ops");
    const { profile } = issued(await registry.create({ name: "theirs", customer: "acme" }, "ops"));
    expect(profile).toMatchObject({ owner: "owner@acme.example", account: { tools: ["up/*"], scopes: ["read"] } });
    expect(await registry.create({ name: "one-too-many", customer: "acme" }, "ops")).toMatchObject({ fault: "conflict" });
    const beyond = { kind: "api_key", environment: "live", scopes: ["write"] } as const;
    expect(await registry.issueCredential("theirs", beyond, null, "ops")).toMatchObject({ fault: "invalid" });
    const stopped = await registry.changeCustomer("acme", "suspended", "unpaid", "ops");
    expect(stopped).toMatchObject({ agents: [{ name: "theirs", state: "suspended" }] });
    await registry.changeCustomer("acme", "active", null, "ops");
    expect(registry.find("theirs")?.state).toBe("active");
    await registry.updateCustomer("acme", { tools: null }, "ops");
    expect(registry.find("theirs")?.account.tools).toBeNull();
    await registry.changeCustomer("acme", "ended", null, "ops");
    expect(registry.find("theirs")?.state).toBe("suspended");
    expect(await registry.changeCustomer("acme", "active", null, "ops")).toMatchObject({ fault: "conflict" });
    expect(await registry.createCustomer("other", { tools: ["no-server"] }, "ops")).toMatchObject({ fault: "invalid" });
  });

  test("an identity is registered once at first sight, however many see it, under a name that a policy can write", async () => {
    const { registry, acts } = await openAt();
    const issuer = "https://kubernetes.example";
    const name = "system:serviceaccount:shop:cart";
    const seen = await Promise.all(Array.from({ length: 20 }, () => registry.sighted(issuer, name, { team: "shop" })));
    const ids = new Set(seen.map((each) => ("fault" in each ? each.detail : each.id)));
    expect(ids.size).toBe(1);
    expect(registry.byIdentity(issuer, name)).toMatchObject({ team: "shop", issuer, name: "system-serviceaccount-shop-cart" });
    expect(registry.byIdentity("https://other.example", name)).toBeUndefined();
    expect(acts.filter(({ kind }) => kind === "agent.created")).toHaveLength(1);
    // The same name of another issuer is another agent.
    const other = await registry.sighted("https://other.example", name, {});
    expect(other).not.toMatchObject({ id: [...ids][0] });
  });

  test("who leaves has all agents suspended, and nobody else's", async () => {
    const { registry } = await openAt();
    for (const [name, owner] of [
      ["a1", "ann@example.com"],
      ["a2", "ann@example.com"],
      ["b1", "bob@example.com"],
    ] as const)
      issued(await registry.create(bot(name, { owner }), "ops"));
    const cut = await registry.offboard("ann@example.com", "left the company", "ops");
    expect(cut.map(({ name }) => name).toSorted()).toEqual(["a1", "a2"]);
    expect(registry.find("b1")?.state).toBe("active");
  });

  test("a listener hears of each change once the directory shows it", async () => {
    const { registry } = await openAt();
    const heard: unknown[] = [];
    const { profile } = issued(await registry.create(bot("watched"), "a"));
    registry.onChange((kind, id) => heard.push([kind, id, registry.byId(profile.id)?.state]));
    await registry.changeState("watched", "suspend", null, "ops");
    expect(heard).toContainEqual(["agent", profile.id, "suspended"]);
  });
});

test("a registry of the first schema is adopted: agents, credentials and what they are, then it is of this one for good", async () => {
  const folder = newFolder();
  mkdirSync(folder, { recursive: true });
  const old = new Database(join(folder, "control.db"));
  old.exec(FIRST_SCHEMA);
  old.exec(`
    INSERT INTO agent VALUES ('agt_1', 'veteran', 'autonomous', 'active', 'acme', 'support', NULL, 'o@example.com', 'served long', 'minimal', 0, '2026-01-01T00:00:00.000Z', 'first');
    INSERT INTO credential VALUES ('cred_1', 'agt_1', x'00ff', NULL, '2026-01-01T00:00:00.000Z');
    INSERT INTO admin_key VALUES ('key_1', 'first', x'01', 'admin', '2026-01-01T00:00:00.000Z');
    PRAGMA user_version = 1`);
  old.close();
  const adopt = async () => {
    const store = await openControlStore(folder);
    const rows = await store.db.selectFrom("agent").innerJoin("credential", "credential.agent_id", "agent.id").selectAll().execute();
    const customers = await store.db.selectFrom("customer").select("key").execute();
    await store.close();
    return { rows, customers };
  };
  const first = await adopt();
  expect(first.rows).toEqual([
    expect.objectContaining({ name: "veteran", customer: "acme", hash: Buffer.from([0, 255]), environment: "live" }),
  ]);
  expect(first.customers).toContainEqual({ key: "acme" });
  expect(await adopt()).toEqual(first);
});
