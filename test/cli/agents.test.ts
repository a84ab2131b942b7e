import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RECORDS_MAX } from "../../src/call/record/books.ts";
import { createAgent, type Plane, startPlane } from "../control/plane.ts";
import { configText, folderOf, tollgate } from "./terminal.ts";

/** JSON escapes C0 only. */
const EVIL_RECORD = {
  record: { request: { user_agent: "x\u009b2J\u202ey" } },
  proof: { leaf_index: 0, tree_size: 1, root: "r", hashes: [] },
};

let plane: Plane;
let folder: string;
let file: string;
const asked: unknown[][] = [];

beforeAll(async () => {
  plane = await startPlane({
    reader: {
      ask: (async (...question: unknown[]) => {
        asked.push(question);
        return question[0] === "record" ? EVIL_RECORD : [];
      }) as never,
    },
  });
  folder = folderOf({ "tollgate.yaml": configText([1, plane.adminPort, 3], `data: ${plane.dataDir}`) });
  file = join(folder, "tollgate.yaml");
});
afterAll(() => plane?.close());

describe("agent list", () => {
  test("is all of them, however many pages that takes", async () => {
    for (let i = 0; i < 1_001; i++) await createAgent(plane.registry, `bot-${i}`);
    const { out } = await tollgate(["agent", "list", "--json", "-c", file]);
    expect(JSON.parse(out)).toHaveLength(1_001);
  });
});

describe("agent create --jwks", () => {
  const create = (...more: string[]) => tollgate(["agent", "create", ...more, "--owner", "o", "--purpose", "p", "-c", file]);

  test("registers public keys, and there is no secret to show", async () => {
    const { publicKey } = await generateKeyPair("ES256", { extractable: true });
    writeFileSync(join(folder, "jwks.json"), JSON.stringify({ keys: [await exportJWK(publicKey)] }));
    const { code, out } = await create("keyed", "--jwks", join(folder, "jwks.json"));
    expect(code).toBe(0);
    expect(out).toContain("private_key_jwt");
    expect(out).not.toContain("secret");
  });

  test("refuses a private key: exit 1, and what to do", async () => {
    const { privateKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = await exportJWK(privateKey);
    writeFileSync(join(folder, "private.json"), JSON.stringify({ keys: [jwk] }));
    const { code, err } = await create("leaky", "--jwks", join(folder, "private.json"));
    expect(code).toBe(1);
    expect(err).toContain("private");
    expect(err).not.toContain(jwk.d);
  });

  test("of a file that is no JSON does not repeat what is in it", async () => {
    writeFileSync(join(folder, "broken.json"), "CANARY-secret");
    const { code, err } = await create("broken", "--jwks", join(folder, "broken.json"));
    expect(code).toBe(2);
    expect(err).toContain("broken.json");
    expect(err).not.toContain("CANARY");
  });
});

test("audit tail asks for as many records as it was told, or refuses the number", async () => {
  await tollgate(["audit", "tail", "--limit", String(RECORDS_MAX), "-c", file]);
  expect(asked.at(-1)).toEqual(["tail", RECORDS_MAX, null, null]);
  expect((await tollgate(["audit", "tail", "--limit", String(RECORDS_MAX + 1), "-c", file])).code).toBe(2);
});

test("a gateway that cannot record is exit 69", async () => {
  plane.world.auditFault = new Error("the journal cannot write");
  const { code, err } = await tollgate(["agent", "create", "unrecorded", "--owner", "o", "--purpose", "p", "-c", file]);
  plane.world.auditFault = null;
  expect(code).toBe(69);
  expect(err).not.toContain("journal cannot write");
});

test("audit show does not let a record steer the terminal", async () => {
  const { out } = await tollgate(["audit", "show", "call_evil", "-c", file]);
  expect(out).toContain("\\u009b2J\\u202ey");
  expect(out).toMatch(/^[\x20-\x7e\n]*$/);
});
