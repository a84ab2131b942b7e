import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hashSecret, matchesSecret } from "../../src/control/agents/secrets.ts";
import { issued } from "./plane.ts";
import { closeAll, onBoth } from "./registries.ts";

const bot = (name: string, more: object = {}) => ({ name, owner: "owner@example.com", purpose: "testing", ...more });

/** Every byte that the control plane has on disk, the write-ahead log included. */
function bytesOf(folder: string): string {
  return readdirSync(folder)
    .map((file) => readFileSync(join(folder, file), "latin1"))
    .join("\n");
}

onBoth("the registry", (openAt, kind) => {
  describe("an agent", () => {
    test("is found by id and by name, with defaults for what was not said", async () => {
      const { registry } = await openAt();
      const { profile, secret } = issued(await registry.create(bot("triage-bot", { team: "support" }), "first"));
      expect(secret).toMatch(/^tgs_[A-Za-z0-9_-]{43}$/);
      expect(registry.find("triage-bot")).toEqual(profile);
      expect(registry.find(profile.id)).toEqual(profile);
      expect(profile).toEqual({
        id: expect.stringMatching(/^agt_/),
        name: "triage-bot",
        kind: "autonomous",
        state: "active",
        customer: "default",
        team: "support",
        workflow: null,
        owner: "owner@example.com",
        purpose: "testing",
        riskClass: "unclassified",
        issuer: null,
        account: { tools: null, scopes: null },
      });
    });

    test("and its credential are recorded before they are there, under the name of the key that made them", async () => {
      const { registry, acts, refuse } = await openAt();
      refuse(new Error("the journal cannot write"));
      await expect(registry.create(bot("a"), "first")).rejects.toThrow("the journal cannot write");
      expect(registry.all()).toEqual([]);
      refuse(null);
      const { secret } = issued(await registry.create(bot("a"), "first"));
      expect(acts.map(({ kind, by }) => [kind, by])).toEqual([
        ["customer.created", "first"],
        ["agent.created", "first"],
        ["credential.issued", "first"],
      ]);
      expect(JSON.stringify(acts)).not.toContain(secret);
    });

    test("is not made without its credential, when the journal goes away between", async () => {
      const { registry, refuse, acts } = await openAt();
      refuse(new Error("the journal cannot write"), "credential.issued");
      await expect(registry.create(bot("half"), "first")).rejects.toThrow("the journal cannot write");
      expect(acts.map((act) => act.kind)).toEqual(["customer.created", "agent.created"]);
      expect(registry.find("half")).toBeUndefined();
      refuse(null);
      expect(issued(await registry.create(bot("half"), "first")).secret).toMatch(/^tgs_/);
    });

    test("survives a restart, with its credential", async () => {
      const first = await openAt();
      const { profile, secret } = issued(await first.registry.create(bot("bot"), "first"));
      const keyed = issued(
        await first.registry.create(bot("keyed", { credential: { kind: "jwks", jwks: { keys: [{ kty: "EC" }] } } }), "first"),
      );
      await closeAll();
      const { registry } = await openAt(first);
      // Two ids of one millisecond sort by chance.
      expect(
        registry
          .all()
          .map(({ name }) => name)
          .toSorted(),
      ).toEqual(["bot", "keyed"]);
      expect(registry.find("bot")).toEqual(profile);
      const [credential] = registry.credentialsOf(profile.id);
      expect(matchesSecret(secret ?? "", credential?.hash ?? Buffer.alloc(32))).toBe(true);
      expect(keyed.secret).toBeNull();
      expect(registry.credentialsOf(keyed.profile.id)).toMatchObject([{ kind: "jwks", hash: null, jwks: '{"keys":[{"kty":"EC"}]}' }]);
    });

    test.skipIf(kind !== "sqlite")("keeps its secret to itself: the files hold only its hash", async () => {
      const { registry, folder } = await openAt();
      const { secret } = issued(await registry.create(bot("bot"), "first"));
      const text = secret ?? "";
      const bytes = bytesOf(folder);
      expect(bytes.includes(hashSecret(text).toString("latin1"))).toBe(true);
      expect(bytes.includes(text.slice(4))).toBe(false);
      expect(bytes.includes(Buffer.from(text.slice(4), "base64url").toString("latin1"))).toBe(false);
    });

    test.skipIf(kind !== "sqlite")("is in a file that only its owner reads", async () => {
      const { folder } = await openAt();
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      for (const file of readdirSync(folder)) expect([file, statSync(join(folder, file)).mode & 0o077]).toEqual([file, 0]);
    });
  });

  describe("refused", () => {
    test.each(["agt_01k9x3v7m2q8r5t1w4y6z0abcd", "agt_", "", "-a", "a b", "a/b", "a\n", "a\u0000", "é", "..", "a".repeat(129)])(
      "is the name %j",
      async (name) => {
        const { registry, acts } = await openAt();
        expect(await registry.create(bot(name), "first")).toMatchObject({ fault: "invalid", detail: expect.stringContaining("name") });
        expect(acts).toEqual([]);
      },
    );

    test.each([
      ["with an empty owner", { owner: "" }],
      ["with an empty team", { team: "" }],
      ["with an owner that is too long", { owner: "o".repeat(513) }],
      ["with a line break in its purpose", { purpose: "one\ntwo" }],
      ["with an escape in its customer", { customer: "a\u001b[31m" }],
    ])("is an agent %s", async (_, changes) => {
      const { registry } = await openAt();
      expect(await registry.create(bot("bot", changes), "first")).toMatchObject({ fault: "invalid" });
    });

    test("is a name that is taken, even by two requests at once", async () => {
      const { registry, store } = await openAt();
      const answers = await Promise.all([1, 2, 3].map(() => registry.create(bot("bot"), "first")));
      expect(answers.filter((answer) => "fault" in answer)).toEqual([
        { fault: "conflict", detail: expect.stringContaining("bot") },
        { fault: "conflict", detail: expect.stringContaining("bot") },
      ]);
      expect(await registry.create(bot("bot"), "first")).toMatchObject({ fault: "conflict" });
      expect(await store.db.selectFrom("credential").selectAll().execute()).toHaveLength(1);
    });

    test("is a second credential, even of two requests at once", async () => {
      const { registry, store } = await openAt();
      await registry.declare(new Map([["bot", bot("bot")]]));
      const answers = await Promise.all([1, 2, 3].map(() => registry.issueCredential("bot", { kind: "secret" }, null, "first")));
      expect(answers.filter((answer) => "secret" in answer)).toHaveLength(1);
      expect(answers.filter((answer) => "fault" in answer)).toHaveLength(2);
      expect(await store.db.selectFrom("credential").selectAll().execute()).toHaveLength(1);
    });

    test("is a credential for nobody", async () => {
      expect(await (await openAt()).registry.issueCredential("nobody", { kind: "secret" }, null, "first")).toMatchObject({
        fault: "absent",
      });
    });
  });

  describe("a declared agent", () => {
    const declared = (more: object = {}) => new Map([["bot", bot("bot", more)]]);

    test("keeps its id when its attributes change, and is recorded only then", async () => {
      const first = await openAt();
      await first.registry.declare(declared());
      const id = first.registry.find("bot")?.id;
      await closeAll();
      const { registry, acts } = await openAt(first);
      await registry.declare(declared());
      expect(acts).toEqual([]);
      await registry.declare(declared({ team: "billing" }));
      expect(registry.find("bot")).toMatchObject({ id, team: "billing" });
      expect(acts.map(({ kind }) => kind)).toEqual(["agent.declared"]);
    });

    test("gets its credential by create, which may not say what the file owns", async () => {
      const { registry } = await openAt();
      await registry.declare(declared());
      expect(await registry.create({ name: "bot", team: "billing" }, "first")).toMatchObject({ fault: "conflict" });
      expect(issued(await registry.create({ name: "bot" }, "first")).secret).toMatch(/^tgs_/);
      expect(await registry.create({ name: "bot" }, "first")).toMatchObject({
        fault: "conflict",
        detail: expect.stringContaining("credential"),
      });
    });

    test("is suspended when no file declares it, across restarts, and active when one does again", async () => {
      const first = await openAt();
      await first.registry.declare(declared());
      await first.registry.declare(new Map());
      expect(first.registry.find("bot")?.state).toBe("suspended");
      expect(await first.registry.issueCredential("bot", { kind: "secret" }, null, "first")).toMatchObject({ fault: "conflict" });
      await closeAll();
      const { registry, acts } = await openAt(first);
      await registry.declare(new Map());
      expect([registry.find("bot")?.state, acts]).toEqual(["suspended", []]);
      await registry.declare(declared());
      expect(registry.find("bot")?.state).toBe("active");
    });

    test("takes over an agent of its name that was made at run time, with its credential", async () => {
      const { registry } = await openAt();
      const { profile } = issued(await registry.create(bot("bot"), "first"));
      await registry.declare(declared({ team: "billing" }));
      expect(registry.find("bot")).toMatchObject({ id: profile.id, team: "billing" });
      expect(registry.isDeclared(profile.id)).toBe(true);
      expect(registry.credentialsOf(profile.id)).toHaveLength(1);
    });
  });
});
