/** What ends with what: tokens with those they were made from, credentials with the account, and a name with its first bearer. */
import { sql } from "kysely";
import { expect, test } from "vitest";
import { issued } from "./plane.ts";
import { closeAll, ISSUER, onBoth, tokenOf } from "./registries.ts";

const bot = (name: string, more: object = {}) => ({ name, owner: "owner@example.com", purpose: "testing", ...more });
const declared = (name: string, more: object = {}) => new Map([[name, { ...bot(name), ...more }]]);
const ELSEWHERE = "https://login.example.com";
const MINUTE = 60_000;
/** Tables that versions 4 to 6 brought. */
const NEW_SINCE_3 = [
  "DROP TABLE sub_budget",
  "DROP TABLE call_key",
  "DROP TABLE budget",
  "DROP TABLE budget_told",
  "DROP TABLE sharing_gateway",
  "DROP TABLE approval",
  "DROP TABLE tool_pin",
  "DROP TABLE pinned_server",
];

onBoth("what ends", (openAt, kind) => {
  test("with an agent that is suspended ends what others made of tokens that another issuer gave it, and not what itself made of them", async () => {
    const { registry } = await openAt();
    const [first, second] = [issued(await registry.create(bot("first"), "a")), issued(await registry.create(bot("second"), "a"))];
    const parent = { parent_issuer: ELSEWHERE, parent_jti: "theirs", parent_agent_id: first.profile.id };
    const unnamed = { parent_issuer: ELSEWHERE, parent_agent_id: first.profile.id };
    const own = await tokenOf(registry, first.profile.id, parent);
    const derived = await tokenOf(registry, second.profile.id, parent);
    const ofUnnamed = await tokenOf(registry, second.profile.id, unnamed);
    const further = await tokenOf(registry, second.profile.id, { parent_issuer: ISSUER, parent_jti: derived });
    await registry.changeState("first", "suspend", null, "ops");
    const ended = [own, derived, ofUnnamed, further].map((jti) => registry.isRevoked(ISSUER, jti));
    expect(ended).toEqual([false, true, true, true]);
    // And none is made of them from now on.
    const late = { issued_ms: Date.now(), expires_ms: Date.now() + MINUTE, audience: ISSUER, scope: "mcp", instance: null };
    const nobody = { credential_id: null, actor_issuer: null, actor_jti: null };
    expect(await registry.issuedToken({ jti: "late", agent_id: second.profile.id, ...parent, ...nobody, ...late })).toBe(false);
  });

  test("with an actor's token of another issuer ends what was made with it, and nothing that a token of the same id made here", async () => {
    const { registry } = await openAt();
    const { profile } = issued(await registry.create(bot("delegate"), "a"));
    const theirs = await tokenOf(registry, profile.id, { actor_issuer: ELSEWHERE, actor_jti: "same" });
    const ours = await tokenOf(registry, profile.id, { actor_jti: "same" });
    expect(await registry.revokeToken(ELSEWHERE, "same", Date.now() + MINUTE, "ops")).toBe(2);
    expect([theirs, ours].map((jti) => registry.isRevoked(ISSUER, jti))).toEqual([true, false]);
    await registry.revokeToken(ISSUER, "same", Date.now() + MINUTE, "ops");
    expect(registry.isRevoked(ISSUER, ours)).toBe(true);
  });

  test("with a customer that is suspended no token is made of its agents' tokens", async () => {
    const { registry } = await openAt();
    const theirs = issued(await registry.create(bot("theirs", { customer: "acme" }), "a")).profile;
    const helper = issued(await registry.create(bot("helper"), "a")).profile;
    const jti = await tokenOf(registry, theirs.id);
    await registry.changeCustomer("acme", "suspended", "unpaid", "ops");
    const times = { issued_ms: Date.now(), expires_ms: Date.now() + MINUTE };
    const of = { parent_issuer: ISSUER, parent_jti: jti, parent_agent_id: null, credential_id: null, actor_issuer: null, actor_jti: null };
    const rest = { audience: ISSUER, scope: "mcp", instance: null };
    expect(await registry.issuedToken({ jti: "late", agent_id: helper.id, ...of, ...rest, ...times })).toBe(false);
    expect(await registry.findToken("late")).toBeUndefined();
  });

  test("with a rotation that has no overlap ends what an earlier one still let count", async () => {
    const { registry } = await openAt();
    const first = issued(await registry.create(bot("rotating"), "a"));
    const old = await tokenOf(registry, first.profile.id, { credential_id: first.credentialId });
    issued(await registry.issueCredential("rotating", { kind: "secret" }, { overlapMs: 24 * 60 * MINUTE }, "ops"));
    expect(registry.credentialsOf(first.profile.id)).toHaveLength(2);
    const last = issued(await registry.issueCredential("rotating", { kind: "secret" }, { overlapMs: 0 }, "ops"));
    expect(registry.credentialsOf(first.profile.id).map(({ id }) => id)).toEqual([last.credentialId]);
    expect(registry.isRevoked(ISSUER, old)).toBe(true);
  });

  test("with the end of its declaration ends what others made of an agent's tokens", async () => {
    const { registry } = await openAt();
    await registry.declare(declared("filed"));
    const helper = issued(await registry.create(bot("helper"), "a")).profile;
    const own = await tokenOf(registry, registry.find("filed")?.id ?? "");
    const derived = await tokenOf(registry, helper.id, { parent_issuer: ISSUER, parent_jti: own });
    await registry.declare(new Map());
    expect([own, derived].map((jti) => registry.isRevoked(ISSUER, jti))).toEqual([false, true]);
  });

  test.each(["a policy file", "an administrator"])("with a move to another customer, by %s, end credentials and tokens", async (mover) => {
    const { registry } = await openAt();
    const { profile } = issued(await registry.create(bot("mover", { customer: "acme" }), "a"));
    const jti = await tokenOf(registry, profile.id);
    if (mover === "a policy file") await registry.declare(declared("mover", { customer: "globex" }));
    else await registry.update("mover", { customer: "globex" }, "ops");
    expect(registry.find("mover")).toMatchObject({ id: profile.id, customer: "globex", state: "active" });
    expect(registry.credentialsOf(profile.id)).toEqual([]);
    expect(registry.isRevoked(ISSUER, jti)).toBe(true);
  });

  test("with its first bearer ends the use of a name: by create, rename, file, import and first sight", async () => {
    const { registry } = await openAt();
    const { profile } = issued(await registry.create(bot("given"), "a"));
    issued(await registry.create(bot("other"), "a"));
    await registry.update("given", { name: "anew" }, "a");
    expect(await registry.create(bot("given", { customer: "globex" }), "b")).toMatchObject({ fault: "conflict" });
    expect(await registry.update("other", { name: "given" }, "b")).toMatchObject({ fault: "conflict" });
    await expect(registry.declare(declared("given"))).rejects.toThrow("agent given: an agent was named given once");
    const imported = await registry.importAgents([bot("given")], { dryRun: false, secrets: false }, "b");
    expect(imported).toMatchObject({ problems: [{ index: 0, detail: expect.stringContaining("named so once") }] });
    const seen = await registry.sighted(ELSEWHERE, "given", {});
    expect(seen).toMatchObject({ name: expect.stringMatching(/^given-/) });
    // It may have its own name again, and then the other is nobody else's either.
    expect(await registry.update(profile.id, { name: "given" }, "a")).toMatchObject({ name: "given" });
    expect(await registry.create(bot("anew"), "b")).toMatchObject({ fault: "conflict" });
  });

  test("expired credentials take no places", async () => {
    let nowMs = Date.now();
    const { registry } = await openAt(undefined, () => nowMs);
    const { profile } = issued(await registry.create(bot("many"), "a"));
    const key = { kind: "api_key", environment: "live", expiresInMs: MINUTE } as const;
    for (let i = 0; i < 49; i += 1) issued(await registry.issueCredential("many", key, null, "a"));
    expect(await registry.issueCredential("many", key, null, "a")).toMatchObject({ fault: "conflict" });
    nowMs += 2 * MINUTE;
    issued(await registry.issueCredential("many", key, null, "a"));
    expect(registry.credentialsOf(profile.id)).toHaveLength(2);
  });

  test("a registry of the third schema gets what is new in this one", async () => {
    const first = await openAt();
    const version = kind === "sqlite" ? "PRAGMA user_version = 3" : "UPDATE tollgate_schema SET version = 3";
    for (const statement of [...NEW_SINCE_3, version]) await sql.raw(statement).execute(first.store.db);
    await closeAll();
    const { store } = await openAt(first);
    for (const table of ["approval", "tool_pin", "pinned_server", "sharing_gateway", "call_key"] as const)
      expect(await store.db.selectFrom(table).selectAll().execute()).toEqual([]);
  });

  test.skipIf(kind === "sqlite")(
    "a gateway whose clock is days ahead makes no revoked token count again where others share the registry",
    async () => {
      const right = await openAt();
      const { profile } = issued(await right.registry.create(bot("bot"), "a"));
      const jti = await tokenOf(right.registry, profile.id);
      await right.registry.revokeToken(ISSUER, jti, Date.now() + MINUTE, "ops");
      const ahead = await openAt(right, () => Date.now() + 2 * 24 * 60 * MINUTE);
      await ahead.registry.sweep();
      expect((await openAt(right)).registry.isRevoked(ISSUER, jti)).toBe(true);
    },
  );

  test("a registry of the second schema becomes one of this schema, with its tokens and requests", async () => {
    const first = await openAt();
    const { profile } = issued(await first.registry.create(bot("old"), "a"));
    const jti = await tokenOf(first.registry, profile.id);
    const { db } = first.store;
    const version = kind === "sqlite" ? "PRAGMA user_version = 2" : "UPDATE tollgate_schema SET version = 2";
    for (const statement of [
      "DROP INDEX issued_token_by_parent_agent",
      "ALTER TABLE issued_token DROP COLUMN parent_agent_id",
      "ALTER TABLE issued_token DROP COLUMN actor_issuer",
      "DROP TABLE former_name",
      ...NEW_SINCE_3,
      `INSERT INTO access_request VALUES ('req_1', '${profile.id}', 'default', '[]', 'needs it', NULL, 'pending', 'now', NULL, NULL, NULL)`,
      version,
    ])
      await sql.raw(statement).execute(db);
    await closeAll();
    const { registry, store } = await openAt(first);
    expect(await registry.findToken(jti)).toMatchObject({ jti, parent_agent_id: null, actor_issuer: null });
    await store.db.updateTable("access_request").set({ state: "approved" }).where("id", "=", "req_1").execute();
    await registry.update("old", { name: "renamed" }, "a");
    expect(await registry.create(bot("old"), "a")).toMatchObject({ fault: "conflict" });
  });
});
