import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { createLocalJWKSet, jwtVerify } from "jose";
import { describe, expect, test } from "vitest";
import { openAdminKeys } from "../../src/control/admin/admin-keys.ts";
import { openDigestKeys } from "../../src/control/agents/digest-keys.ts";
import { openKeys } from "../../src/control/keys.ts";
import { type ControlStore, openControlStore } from "../../src/control/store.ts";
import { newFolder } from "./plane.ts";

function folder(): string {
  const made = newFolder();
  mkdirSync(made, { mode: 0o700 });
  return made;
}

describe("the signing key", () => {
  test("is made once, for its owner alone, and read again at the next start", async () => {
    const dataDir = folder();
    const { signingKey: first } = await openKeys(dataDir);
    expect(statSync(join(dataDir, "keys.json")).mode & 0o777).toBe(0o600);
    const bytes = readFileSync(join(dataDir, "keys.json"), "utf8");
    const { signingKey: second } = await openKeys(dataDir);
    expect(readFileSync(join(dataDir, "keys.json"), "utf8")).toBe(bytes);
    expect(second.kid).toBe(first.kid);
    const keys = createLocalJWKSet({ keys: [...first.publicKeys] });
    await jwtVerify(await second.sign({ sub: "a" }, "at+jwt"), keys, { typ: "at+jwt" });
  });

  test("leaves nothing beside its file", async () => {
    const dataDir = folder();
    await openKeys(dataDir);
    expect(readdirSync(dataDir)).toEqual(["keys.json"]);
  });

  test("differs from folder to folder, and shows its public half only", async () => {
    const [{ signingKey: one }, { signingKey: two }] = [await openKeys(folder()), await openKeys(folder())];
    expect(one.kid).not.toBe(two.kid);
    expect(JSON.stringify(one.publicKeys)).not.toContain(one.privateKey.d);
  });

  test.each<[string, (written: string) => string]>([
    ["empty", () => ""],
    ["cut off", (written) => written.slice(0, -20)],
    ["no JSON", () => "CANARY-not-json"],
    ["null", () => "null"],
    ["a list", () => "[]"],
    ["without a key", () => "{}"],
    ["with a public key only", (written) => written.replace(/"d":"[^"]*",?/, "")],
    ["with a key of another kind", () => JSON.stringify({ signing: { kty: "oct", k: "CANARY", d: "CANARY", kid: "x" } })],
    ["with a key that is none", (written) => written.replace(/"d":"[^"]*"/, '"d":"CANARY"')],
  ])("in a file that is %s refuses the start by the file's name, and shows nothing of it", async (_, spoil) => {
    const dataDir = folder();
    await openKeys(dataDir);
    const file = join(dataDir, "keys.json");
    const spoilt = spoil(readFileSync(file, "utf8"));
    writeFileSync(file, spoilt);
    const fault = await openKeys(dataDir).then(
      () => new Error("it was taken"),
      (thrown: Error) => thrown,
    );
    expect(fault.message).toContain(file);
    const shown = `${fault.message} ${fault.stack}`;
    expect(shown).not.toContain("CANARY");
    for (const secret of spoilt.match(/[A-Za-z0-9_-]{16,}/g) ?? []) expect(shown).not.toContain(secret.slice(0, 12));
    expect(readFileSync(file, "utf8")).toBe(spoilt);
  });

  test("in a file that others can read, or behind a link, is refused", async () => {
    const dataDir = folder();
    await openKeys(dataDir);
    const file = join(dataDir, "keys.json");
    chmodSync(file, 0o644);
    await expect(openKeys(dataDir)).rejects.toThrow(`chmod 600 ${file}`);
    const linked = folder();
    symlinkSync(file, join(linked, "keys.json"));
    await expect(openKeys(linked)).rejects.toThrow("not a regular file");
  });
});

describe("the sealing key", () => {
  const sealingOf = (dataDir: string): unknown => JSON.parse(readFileSync(join(dataDir, "keys.json"), "utf8")).sealing;

  test("is the same after a restart, and another one in another folder", async () => {
    const dataDir = folder();
    const sealed = (await openKeys(dataDir)).seal.seal("session", "holder", "text");
    expect((await openKeys(dataDir)).seal.open("session", "holder", sealed)).toBe("text");
    expect((await openKeys(folder())).seal.open("session", "holder", sealed)).toBeNull();
  });

  test("comes to a file from before there was one, which keeps its signing key; gateways that add it at once add the same", async () => {
    const dataDir = folder();
    const { signingKey } = await openKeys(dataDir);
    const file = join(dataDir, "keys.json");
    const { signing } = JSON.parse(readFileSync(file, "utf8"));
    const older = () => writeFileSync(file, `${JSON.stringify({ signing })}\n`);
    older();
    const one = await openKeys(dataDir);
    const added = sealingOf(dataDir);
    older();
    const two = await openKeys(dataDir);
    expect(sealingOf(dataDir)).toBe(added);
    expect(two.seal.open("cursor", "h", one.seal.seal("cursor", "h", "text"))).toBe("text");
    expect([one.signingKey.kid, two.signingKey.kid]).toEqual([signingKey.kid, signingKey.kid]);
    expect([statSync(file).mode & 0o777, readdirSync(dataDir)]).toEqual([0o600, ["keys.json"]]);
  });

  test.each(["", "AAAA", 7, null, {}])("that is none (%j) refuses the start, and the file stays as it is", async (sealing) => {
    const dataDir = folder();
    await openKeys(dataDir);
    const file = join(dataDir, "keys.json");
    const spoilt = JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), sealing });
    writeFileSync(file, spoilt);
    await expect(openKeys(dataDir)).rejects.toThrow(`${file} holds no sealing key`);
    expect(readFileSync(file, "utf8")).toBe(spoilt);
  });
});

describe("a folder that several gateways share", () => {
  test("gives all of them the same keys, also where they start at once on an empty one", async () => {
    const shared = folder();
    const opened = await Promise.all(Array.from({ length: 16 }, () => openKeys(shared)));
    expect(new Set(opened.map(({ signingKey }) => signingKey.kid)).size).toBe(1);
    const sealed = opened[0]?.seal.seal("session", "holder", "text") ?? "";
    expect(opened.map(({ seal }) => seal.open("session", "holder", sealed))).toEqual(opened.map(() => "text"));
    expect(readdirSync(shared)).toEqual(["keys.json"]);
  });
});

describe("admin keys", () => {
  test("are never named as another author of records, and only those that count have places", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    let nowMs = Date.now();
    const keys = await openAdminKeys({ store, dataDir, gatewayId: "gw", audit: async () => {}, now: () => nowMs });
    for (const name of ["agent", "config", "Gateway", "agt_01"])
      expect(await keys.create({ name, role: "viewer" }, "first")).toMatchObject({ fault: "invalid" });
    const make = (name: string, more: object = {}) => keys.create({ name, role: "viewer", customer: "acme", ...more }, "first");
    for (let i = 0; i < 100; i++) expect(await make(`short-${i}`, { expiresInMs: 1_000 })).not.toHaveProperty("fault");
    expect(await make("beyond")).toMatchObject({ fault: "conflict", detail: "the customer acme has 100 admin keys already" });
    expect(await make("of-another", { customer: "globex" })).not.toHaveProperty("fault");
    await keys.revoke("short-7", "first");
    expect(await make("in-its-place")).not.toHaveProperty("fault");
    expect(await make("beyond")).toMatchObject({ fault: "conflict" });
    nowMs += 2_000;
    expect(await make("after-they-ended")).not.toHaveProperty("fault");
    await store.close();
  });
});

describe("the first admin key", () => {
  const openFirst = (store: ControlStore, dataDir: string) =>
    openAdminKeys({ store, dataDir, gatewayId: "gw", audit: async () => {}, now: Date.now });
  const read = (dataDir: string) => readFileSync(join(dataDir, "admin.key"), "utf8").trim();

  test("is made once, for its owner alone; the database holds its hash", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    const keys = await openFirst(store, dataDir);
    const key = read(dataDir);
    expect(key).toMatch(/^tga_[A-Za-z0-9_-]{43}$/);
    expect(statSync(join(dataDir, "admin.key")).mode & 0o777).toBe(0o600);
    expect(await keys.identify(key)).toEqual({ name: "first", role: "admin", customer: null });
    await openFirst(store, dataDir);
    expect(read(dataDir)).toBe(key);
    for (const file of readdirSync(dataDir).filter((name) => name !== "admin.key")) {
      expect([file, readFileSync(join(dataDir, file), "latin1").includes(key.slice(4))]).toEqual([file, false]);
    }
    await store.close();
  });

  test("opens nothing when it is not exact", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    const keys = await openFirst(store, dataDir);
    const key = read(dataDir);
    for (const wrong of ["", "tga_", key.slice(0, -1), `${key}A`, key.toUpperCase(), key.slice(4), `tgs_${key.slice(4)}`]) {
      expect(await keys.identify(wrong)).toBeNull();
    }
    await store.close();
  });

  test("that was deleted is replaced, and the old one opens nothing any more", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    await openFirst(store, dataDir);
    const old = read(dataDir);
    rmSync(join(dataDir, "admin.key"));
    const keys = await openFirst(store, dataDir);
    expect([await keys.identify(old), (await keys.identify(read(dataDir)))?.name]).toEqual([null, "first"]);
    await store.close();
  });

  test("in a file that others can read refuses the start", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    await openFirst(store, dataDir);
    chmodSync(join(dataDir, "admin.key"), 0o644);
    await expect(openFirst(store, dataDir)).rejects.toThrow("chmod 600");
    await store.close();
  });

  test("is never written into a file or through a link that waited for it", async () => {
    const planted = folder();
    writeFileSync(join(planted, "admin.key"), "", { mode: 0o644 });
    const linked = folder();
    const elsewhere = join(folder(), "elsewhere");
    symlinkSync(elsewhere, join(linked, "admin.key"));
    for (const dataDir of [planted, linked]) {
      const store = await openControlStore(dataDir);
      await openFirst(store, dataDir);
      expect(statSync(join(dataDir, "admin.key")).mode & 0o777).toBe(0o600);
      await store.close();
    }
    expect(() => statSync(elsewhere)).toThrow("ENOENT");
  });
});

describe("digest keys", () => {
  test("are one a customer or subject, and the same after a restart", () => {
    const dataDir = folder();
    const keys = openDigestKeys(dataDir);
    const made = [keys.keyFor("acme", null), keys.keyFor("acme", "alice"), keys.keyFor("other", "alice"), keys.keyFor("acme alice", null)];
    expect(new Set(made.map((key) => key.export().toString("hex"))).size).toBe(4);
    expect(made.every((key) => key.symmetricKeySize === 32)).toBe(true);
    keys.close();
    expect(openDigestKeys(dataDir).keyFor("acme", "alice").export().toString("hex")).toBe(made[1]?.export().toString("hex"));
  });

  test("of different customers and subjects never share a name, wherever the space is", () => {
    const keys = openDigestKeys(folder());
    expect(keys.keyFor("a b", "c").equals(keys.keyFor("a", "b c"))).toBe(false);
  });

  test("are on disk before their first use, and the table names nobody", () => {
    const dataDir = folder();
    const key = openDigestKeys(dataDir).keyFor("acme-corporation", "alice-the-subject");
    const bytes = readdirSync(dataDir)
      .map((file) => readFileSync(join(dataDir, file), "latin1"))
      .join();
    expect(bytes.includes(key.export().toString("latin1"))).toBe(true);
    expect(bytes.includes("alice-the-subject") || bytes.includes("acme-corporation")).toBe(false);
  });
});

describe("control.db", () => {
  test("of a newer tollgate, or that is no database, refuses the start by its name", async () => {
    const dataDir = folder();
    const store = await openControlStore(dataDir);
    await store.close();
    const file = new Database(join(dataDir, "control.db"));
    file.pragma("user_version = 99");
    file.close();
    await expect(openControlStore(dataDir)).rejects.toThrow("control.db was written by a newer tollgate");
    const broken = folder();
    writeFileSync(join(broken, "control.db"), "this is no database at all, and long enough to be looked at ".repeat(20));
    await expect(openControlStore(broken)).rejects.toThrow("control.db");
  });
});
