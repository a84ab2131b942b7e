import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openRegistry, type Registry } from "../../src/control/agents/registry.ts";
import { hashSecret, matchesSecret } from "../../src/control/agents/secrets.ts";
import { type ControlStore, openControlStore } from "../../src/control/store.ts";
import { type Act, issued, newFolder } from "./plane.ts";

const open: ControlStore[] = [];
afterEach(() => {
  for (const store of open.splice(0)) store.close();
});

type Opened = { registry: Registry; store: ControlStore; acts: Act[]; folder: string; refuse: (fault: Error | null) => void };

/** `audit` takes a turn of the event loop, as the journal does. */
function openAt(folder = newFolder()): Opened {
  const store = openControlStore(folder);
  open.push(store);
  const acts: Act[] = [];
  let fault: Error | null = null;
  const audit = async (kind: string, by: string, details: Act["details"]) => {
    await new Promise((resolve) => setImmediate(resolve));
    if (fault !== null) throw fault;
    acts.push({ kind, by, details });
  };
  const registry = openRegistry(store, audit, Date.now);
  const refuse = (next: Error | null) => {
    fault = next;
  };
  return { registry, store, acts, folder, refuse };
}

const bot = (name: string, more: object = {}) => ({ name, owner: "owner@example.com", purpose: "testing", ...more });

/** Every byte that the control plane has on disk, the write-ahead log included. */
function bytesOf(folder: string): string {
  return readdirSync(folder)
    .map((file) => readFileSync(join(folder, file), "latin1"))
    .join("\n");
}

describe("an agent", () => {
  test("is found by id and by name, with defaults for what was not said", async () => {
    const { registry } = openAt();
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
    const { registry, acts, refuse } = openAt();
    refuse(new Error("the journal cannot write"));
    await expect(registry.create(bot("a"), "first")).rejects.toThrow("the journal cannot write");
    expect(registry.all()).toEqual([]);
    refuse(null);
    const { secret } = issued(await registry.create(bot("a"), "first"));
    expect(acts.map(({ kind, by }) => [kind, by])).toEqual([
      ["agent.created", "first"],
      ["credential.issued", "first"],
    ]);
    expect(JSON.stringify(acts)).not.toContain(secret);
  });

  test("that was made without its credential, because the journal went away between, gets it later", async () => {
    const { registry, store } = openAt();
    let calls = 0;
    const second = openRegistry(
      store,
      async () => {
        calls += 1;
        if (calls === 2) throw new Error("the journal cannot write");
      },
      Date.now,
    );
    await expect(second.create(bot("half"), "first")).rejects.toThrow();
    expect(registry.find("half")).toBeUndefined();
    expect(issued(await second.issueCredential("half", undefined, "first")).secret).toMatch(/^tgs_/);
  });

  test("survives a restart, with its credential", async () => {
    const first = openAt();
    const { profile, secret } = issued(await first.registry.create(bot("bot"), "first"));
    const keyed = issued(await first.registry.create(bot("keyed", { jwks: { keys: [{ kty: "EC" }] } }), "first"));
    for (const store of open.splice(0)) store.close();
    const { registry } = openAt(first.folder);
    // Two ids of one millisecond sort by chance.
    expect(
      registry
        .all()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(["bot", "keyed"]);
    expect(registry.find("bot")).toEqual(profile);
    const [credential] = registry.credentialsOf(profile.id);
    expect(matchesSecret(secret ?? "", credential?.secretHash ?? Buffer.alloc(32))).toBe(true);
    expect(keyed.secret).toBeNull();
    expect(registry.credentialsOf(keyed.profile.id)).toEqual([{ secretHash: null, jwks: '{"keys":[{"kty":"EC"}]}' }]);
  });

  test("keeps its secret to itself: the files hold only its hash", async () => {
    const { registry, folder } = openAt();
    const { secret } = issued(await registry.create(bot("bot"), "first"));
    const text = secret ?? "";
    const bytes = bytesOf(folder);
    expect(bytes.includes(hashSecret(text).toString("latin1"))).toBe(true);
    expect(bytes.includes(text.slice(4))).toBe(false);
    expect(bytes.includes(Buffer.from(text.slice(4), "base64url").toString("latin1"))).toBe(false);
  });

  test("is in a file that only its owner reads", () => {
    const { folder } = openAt();
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const file of readdirSync(folder)) expect([file, statSync(join(folder, file)).mode & 0o077]).toEqual([file, 0]);
  });
});

describe("refused", () => {
  test.each(["agt_01k9x3v7m2q8r5t1w4y6z0abcd", "agt_", "", "-a", "a b", "a/b", "a\n", "a\u0000", "é", "..", "a".repeat(129)])(
    "is the name %j",
    async (name) => {
      const { registry, acts } = openAt();
      expect(await registry.create(bot(name), "first")).toMatchObject({ fault: "invalid", detail: expect.stringContaining("name") });
      expect(acts).toEqual([]);
    },
  );

  test.each([
    ["without an owner", { owner: undefined }],
    ["with an empty owner", { owner: "" }],
    ["without a purpose", { purpose: undefined }],
    ["with an empty team", { team: "" }],
    ["with an owner that is too long", { owner: "o".repeat(513) }],
    ["with a line break in its purpose", { purpose: "one\ntwo" }],
    ["with an escape in its customer", { customer: "a\u001b[31m" }],
  ])("is an agent %s", async (_, changes) => {
    const { registry } = openAt();
    expect(await registry.create(bot("bot", changes), "first")).toMatchObject({ fault: "invalid" });
  });

  test("is a name that is taken, even by two requests at once", async () => {
    const { registry, store } = openAt();
    const answers = await Promise.all([1, 2, 3].map(() => registry.create(bot("bot"), "first")));
    expect(answers.filter((answer) => "fault" in answer)).toEqual([
      { fault: "conflict", detail: expect.stringContaining("bot") },
      { fault: "conflict", detail: expect.stringContaining("bot") },
    ]);
    expect(await registry.create(bot("bot"), "first")).toMatchObject({ fault: "conflict" });
    expect(store.prepare("SELECT count(*) FROM credential").pluck().get()).toBe(1);
  });

  test("is a second credential, even of two requests at once", async () => {
    const { registry, store } = openAt();
    await registry.declare(new Map([["bot", bot("bot")]]));
    const answers = await Promise.all([1, 2, 3].map(() => registry.issueCredential("bot", undefined, "first")));
    expect(answers.filter((answer) => "secret" in answer)).toHaveLength(1);
    expect(answers.filter((answer) => "fault" in answer)).toHaveLength(2);
    expect(store.prepare("SELECT count(*) FROM credential").pluck().get()).toBe(1);
  });

  test("is a credential for nobody", async () => {
    expect(await openAt().registry.issueCredential("nobody", undefined, "first")).toMatchObject({ fault: "absent" });
  });
});

describe("a declared agent", () => {
  const declared = (more: object = {}) => new Map([["bot", bot("bot", more)]]);

  test("keeps its id when its attributes change, and is recorded only then", async () => {
    const first = openAt();
    await first.registry.declare(declared());
    const id = first.registry.find("bot")?.id;
    for (const store of open.splice(0)) store.close();
    const { registry, acts } = openAt(first.folder);
    await registry.declare(declared());
    expect(acts).toEqual([]);
    await registry.declare(declared({ team: "billing" }));
    expect(registry.find("bot")).toMatchObject({ id, team: "billing" });
    expect(acts.map(({ kind }) => kind)).toEqual(["agent.declared"]);
  });

  test("gets its credential by create, which may not say what the file owns", async () => {
    const { registry } = openAt();
    await registry.declare(declared());
    expect(await registry.create({ name: "bot", team: "billing" }, "first")).toMatchObject({ fault: "conflict" });
    expect(issued(await registry.create({ name: "bot" }, "first")).secret).toMatch(/^tgs_/);
    expect(await registry.create({ name: "bot" }, "first")).toMatchObject({
      fault: "conflict",
      detail: expect.stringContaining("credential"),
    });
  });

  test("is suspended when no file declares it, across restarts, and active when one does again", async () => {
    const first = openAt();
    await first.registry.declare(declared());
    await first.registry.declare(new Map());
    expect(first.registry.find("bot")?.state).toBe("suspended");
    expect(await first.registry.issueCredential("bot", undefined, "first")).toMatchObject({ fault: "conflict" });
    for (const store of open.splice(0)) store.close();
    const { registry, acts } = openAt(first.folder);
    await registry.declare(new Map());
    expect([registry.find("bot")?.state, acts]).toEqual(["suspended", []]);
    await registry.declare(declared());
    expect(registry.find("bot")?.state).toBe("active");
  });

  test("takes over an agent of its name that was made at run time, with its credential", async () => {
    const { registry } = openAt();
    const { profile } = issued(await registry.create(bot("bot"), "first"));
    await registry.declare(declared({ team: "billing" }));
    expect(registry.find("bot")).toMatchObject({ id: profile.id, team: "billing" });
    expect(registry.isDeclared(profile.id)).toBe(true);
    expect(registry.credentialsOf(profile.id)).toHaveLength(1);
  });
});
