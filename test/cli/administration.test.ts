import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgent, type Plane, startPlane } from "../control/plane.ts";
import { configText, folderOf, tollgate } from "./terminal.ts";

let plane: Plane;
let folder: string;
let file: string;

beforeAll(async () => {
  plane = await startPlane({
    reader: {
      ask: (async () => [
        { call_id: "call_1", time_start: "2026-11-01", server: "tickets", target: { name: "search" }, token: null },
      ]) as never,
    },
  });
  folder = folderOf({ "tollgate.yaml": configText([1, plane.adminPort, 3], `data: ${plane.dataDir}`) });
  file = join(folder, "tollgate.yaml");
});
afterAll(() => plane?.close());

const at = (...args: string[]) => tollgate([...args, "-c", file]);

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, err } = await at(...args, "--json");
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as T;
}

describe("an agent's life", () => {
  test("is suspended, reinstated and revoked, with a reason for the record; revoked is final", async () => {
    await createAgent(plane.registry, "living");
    expect((await at("agent", "suspend", "living", "--reason", "loops")).out).toBe("living is suspended");
    expect(plane.acts.at(-1)).toMatchObject({ kind: "agent.suspended", by: "first", details: { cause: "loops" } });
    expect(await json("agent", "reinstate", "living")).toMatchObject({ name: "living", state: "active" });
    expect((await at("agent", "revoke", "living")).code).toBe(0);
    const { code, err } = await at("agent", "reinstate", "living");
    expect([code, err]).toEqual([1, expect.stringContaining("final")]);
    expect((await at("agent", "suspend", "nobody")).code).toBe(1);
  });

  test("has new credentials in the place of old ones; keys of its own are not replaced by a secret in passing", async () => {
    const { id } = await createAgent(plane.registry, "rotating");
    const made = await json<{ client_secret: string }>("agent", "rotate", "rotating", "--overlap", "10m");
    expect(made.client_secret).toMatch(/^tgs_/);
    expect(plane.registry.credentialsOf(id)).toHaveLength(2);
    await json("agent", "rotate", "rotating", "--overlap", "0");
    expect(plane.registry.credentialsOf(id).filter(({ retired_ms }) => retired_ms === null)).toHaveLength(1);
    const { publicKey } = await generateKeyPair("ES256", { extractable: true });
    writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys: [await exportJWK(publicKey)] }));
    expect((await at("agent", "rotate", "rotating", "--jwks", join(folder, "keys.json"))).code).toBe(0);
    const { code, err } = await at("agent", "rotate", "rotating");
    expect([code, err]).toEqual([2, expect.stringContaining("--jwks")]);
    await createAgent(plane.registry, "bounded");
    expect((await at("agent", "rotate", "bounded", "--overlap", "soon")).code).toBe(1);
  });

  test("may begin with an opaque key, whose bounds a rotation keeps", async () => {
    const made = await json<{ id: string; api_key: string }>("agent", "create", "keyed", "--api-key", "test", "--server", "tickets");
    expect(made.api_key).toMatch(/^tg_test_/);
    const rotated = await json<{ api_key: string }>("agent", "rotate", "keyed", "--api-key", "test", "--overlap", "0");
    expect(rotated.api_key).toMatch(/^tg_test_/);
    expect(plane.registry.credentialsOf(made.id)).toMatchObject([{ environment: "test", servers: '["tickets"]' }]);
    expect((await at("agent", "create", "x", "--api-key", "prod")).code).toBe(2);
    expect((await at("agent", "create", "x", "--api-key", "live", "--jwks-uri", "https://a.example/jwks")).code).toBe(2);
  });

  test("ends with its owner's: those that were cut are listed", async () => {
    await plane.registry.create({ name: "sams", owner: "sam@example.com", purpose: "testing", team: "left" }, "test");
    expect((await at("agent", "offboard", "sam@example.com", "--reason", "left")).out).toMatch(/^suspended {2}sams {2}agt_/);
    expect((await at("agent", "offboard", "nobody@example.com")).out).toContain("no active agent");
    expect(await json("agent", "list", "--owner", "sam@example.com", "--state", "suspended")).toMatchObject([{ name: "sams" }]);
    expect(await json("agent", "list", "--team", "nothing-like-it")).toEqual([]);
  });
});

describe("agent import", () => {
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test("registers every row, with secrets in a private file and nowhere else", async () => {
    const csv = write(
      "good.csv",
      '\uFEFFname,owner,purpose,team,kind\r\nrow-1,o@example.com,"sort, and file",support,fleet\r\nrow-2,,,,\r\n',
    );
    const secrets = join(folder, "secrets.csv");
    const { code, out } = await at("agent", "import", csv, "--secrets-out", secrets, "--json");
    expect([code, JSON.parse(out).agents]).toEqual([
      0,
      [expect.objectContaining({ name: "row-1" }), expect.objectContaining({ name: "row-2" })],
    ]);
    expect(out).not.toContain("tgs_");
    expect(statSync(secrets).mode & 0o777).toBe(0o600);
    expect(readFileSync(secrets, "utf8")).toMatch(/^name,client_id,client_secret\nrow-1,agt_\w+,tgs_\S+\nrow-2,agt_\w+,tgs_\S+\n$/);
    expect(plane.registry.find("row-1")).toMatchObject({ purpose: "sort, and file", team: "support", kind: "fleet" });
    expect(plane.registry.find("row-2")).toMatchObject({ owner: "first" });
  });

  test("without a file for secrets makes no credential", async () => {
    expect((await at("agent", "import", write("bare.csv", "name\nno-secret\n"))).code).toBe(0);
    const id = plane.registry.find("no-secret")?.id ?? "";
    expect(plane.registry.credentialsOf(id)).toEqual([]);
    expect((await at("agent", "rotate", "no-secret")).out).toContain("tgs_");
  });

  test("tells everything that is wrong by its line, and registers nobody", async () => {
    const csv = write("bad.csv", 'name,kind,owner\nfine,,o\nagt_x,,o\nfine,,o\nx,robot,o\ny,,"o\n');
    const before = plane.registry.all().length;
    const secrets = join(folder, "never.csv");
    const { code, out, err } = await at("agent", "import", csv, "--secrets-out", secrets);
    expect([code, out]).toEqual([1, ""]);
    expect(err.split("\n").map((line) => line.replace(csv, ""))).toEqual([
      expect.stringMatching(/^:3: name: /),
      expect.stringMatching(/^:4: name: another row/),
      expect.stringMatching(/^:5: kind: there is/),
      expect.stringMatching(/^:6: a quoted cell does not end/),
    ]);
    expect(plane.registry.all()).toHaveLength(before);
    expect(existsSync(secrets)).toBe(false);
    for (const [text, words] of [
      ["", "names the columns"],
      ["owner\nx\n", "no column name"],
      ["name,secret\nx,y\n", "column secret"],
      ["name,name\nx,y\n", "twice"],
      ["name\n", "no agents"],
      ["name,owner\nx\n", "1 cells, but 2 columns"],
    ] as const) {
      const answer = await at("agent", "import", write("wrong.csv", text));
      expect([answer.code, answer.err]).toEqual([1, expect.stringContaining(words)]);
    }
    expect((await at("agent", "import", join(folder, "nothing.csv"))).code).toBe(2);
  });

  test("with --dry-run registers nobody, and says whether it could", async () => {
    const csv = write("dry.csv", "name,customer\ndry-1,dry\ndry-2,dry\n");
    const acts = plane.acts.length;
    expect((await at("agent", "import", csv, "--dry-run")).out).toBe("2 agents could be registered");
    expect([plane.registry.find("dry-1"), plane.registry.customer("dry"), plane.acts.length]).toEqual([undefined, undefined, acts]);
    await at("customer", "create", "dry", "--agents-max", "1");
    const { code, err } = await at("agent", "import", csv, "--dry-run");
    expect([code, err]).toEqual([1, expect.stringMatching(/dry\.csv:2: .*1 more, not 2/)]);
  });

  test("never writes secrets over a file that is there, and leaves nothing behind where nothing can be recorded", async () => {
    const kept = write("kept.csv", "mine");
    const csv = write("again.csv", "name\nnever-made\n");
    expect((await at("agent", "import", csv, "--secrets-out", kept)).code).toBe(2);
    expect(readFileSync(kept, "utf8")).toBe("mine");
    plane.world.auditFault = new Error("the journal cannot write");
    expect((await at("agent", "import", csv, "--secrets-out", join(folder, "none.csv"))).code).toBe(69);
    plane.world.auditFault = null;
    expect([existsSync(join(folder, "none.csv")), plane.registry.find("never-made")]).toEqual([false, undefined]);
  });

  test("takes ten thousand rows at once, and not one more", async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => `many-${i},owner@example.com,testing,fleet`).join("\n");
    const csv = write("many.csv", `name,owner,purpose,kind\n${rows}\n`);
    expect((await at("agent", "import", csv)).out).toContain("10000 agents registered");
    expect(plane.registry.all().filter(({ kind }) => kind === "fleet").length).toBeGreaterThanOrEqual(10_000);
    expect((await at("agent", "import", write("more.csv", `name\n${"x\n".repeat(10_001)}`))).err).toContain(":10002: more than 10000");
  }, 60_000);
});

describe("customers", () => {
  test("are described, listed, shown, suspended, reinstated and ended", async () => {
    const made = await json("customer", "create", "acme", "--owner", "ops@acme.example", "--tool", "tickets/*", "--agents-max", "5");
    expect(made).toMatchObject({ key: "acme", state: "active", tools: ["tickets/*"], agents_max: 5, owner: "ops@acme.example" });
    await at("agent", "create", "acme-bot", "--customer", "acme");
    expect((await at("customer", "list")).out).toMatch(/acme +active +ops@acme\.example +5 +tickets\/\*/);
    expect(await json("customer", "show", "acme")).toMatchObject({ agents: 1 });
    expect((await at("customer", "suspend", "acme", "--reason", "unpaid")).out).toBe("acme is suspended\nconcerns  acme-bot");
    expect((await at("customer", "reinstate", "acme")).out).toContain("acme is active");
    expect((await at("customer", "end", "acme")).out).toContain("acme is ended");
    expect((await at("customer", "reinstate", "acme")).code).toBe(1);
    expect((await at("customer", "create", "x", "--agents-max", "-1")).code).toBe(2);
  });
});

describe("admin keys", () => {
  test("are made with a role, used from the environment, listed without their text, and revoked", async () => {
    const made = await json<{ key: string }>("admin-key", "create", "looker", "--role", "viewer", "--expires-in", "90d");
    const env = { TOLLGATE_ADMIN_KEY: made.key };
    expect((await tollgate(["agent", "list", "--team", "x", "-c", file], env)).code).toBe(0);
    const { code, err } = await tollgate(["agent", "suspend", "row-1", "-c", file], env);
    expect([code, err]).toEqual([1, expect.stringContaining("agents:stop")]);
    const list = await at("admin-key", "list");
    expect(list.out).toMatch(/looker +key_\w+ +viewer/);
    expect(list.out).not.toContain("tga_");
    expect((await at("admin-key", "revoke", "looker")).out).toBe("looker is revoked");
    expect((await tollgate(["agent", "list", "-c", file], env)).code).toBe(1);
    expect(await at("admin-key", "revoke", "first")).toMatchObject({ code: 1, err: expect.stringContaining("last key") });
    expect((await at("admin-key", "create", "x", "--role", "king")).code).toBe(1);
  });
});

describe("leak report", () => {
  test("reads the text from standard input, ends the credential, lists its use, and repeats nothing", async () => {
    const { secret } = await createAgent(plane.registry, "leaky");
    const { code, out, err } = await tollgate(["leak", "report", "-c", file], {}, `${secret}\n`);
    expect(code, err).toBe(0);
    expect(out).toMatch(/^revoked {2}the credential cred_\w+ of leaky\n/);
    expect(out).toContain("call_1");
    expect(out + JSON.stringify(plane.acts)).not.toContain(secret);
    expect(plane.acts.at(-1)).toMatchObject({ kind: "credential.revoked", details: { cause: "leaked" } });
    expect((await tollgate(["leak", "report", "-c", file], {}, "tgs_nothing-like-it")).code).toBe(1);
    expect((await tollgate(["leak", "report", "-c", file], {}, "")).code).toBe(2);
    expect((await tollgate(["leak", "report", secret, "-c", file])).code).toBe(2);
  });
});
