import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blankRecord } from "../../src/call/record/compose.ts";
import { openReaderThread } from "../../src/call/record/reader.ts";
import { isRecordOf } from "../../src/call/record/record-owner.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { newFolder, open } from "../record/journal-fixture.ts";
import { type Plane, startPlane } from "./plane.ts";
import { proveFrontDoor, proveVisibility } from "./prove-isolation.ts";

describe("across customers", () => {
  test("nothing is let through in 100,000 questions to the pure functions", () => {
    const { crossed, violations } = proveVisibility(1, 100_000);
    expect([violations, crossed > 50_000]).toEqual([[], true]);
  });

  test("nothing is told in 2,000 questions at the front door: not yours and not there are the same bytes, and nothing has changed", async () => {
    const { crossed, violations } = await proveFrontDoor(2, 2_000);
    expect([violations, crossed > 1_000]).toEqual([[], true]);
  });

  test("the proof sees a function that lets one through", () => {
    const careless = (caller: { customer: string | null }, customer: string) =>
      caller.customer === null || customer.toLowerCase() === caller.customer.toLowerCase();
    const judges = { isTheirs: careless, agentOf: () => null, isRecordOf };
    expect(proveVisibility(1, 5_000, judges).violations.join()).toMatch(/row: key of (Acme|acme), thing of (Acme|acme)/);
    expect(proveVisibility(1, 5_000, judges).violations.join()).toContain("agent by id");
  });
});

const BY = "ops";

test("the journal lists exactly the records that are the customer's, as the pure function has it", async () => {
  const dataDir = newFolder();
  const journal = await open(dataDir);
  const random = seededRandom(3);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const customers = ["acme", "Acme", "globex", "o'brien"];
  const agents = new Map(Array.from({ length: 12 }, (_, i) => [`agt_${i}`, customers[i % 4] as string]));
  for (let i = 0; i < 400; i++) {
    const details = {
      ...(random() < 0.6 ? { customer: pick(customers) } : {}),
      ...(random() < 0.6 ? { agent_id: pick([...agents.keys()]) } : {}),
      ...(random() < 0.3 ? { was: JSON.stringify({ customer: pick(customers) }) } : {}),
    };
    const time = new Date(i).toISOString();
    const agent = random() < 0.3 ? ({ id: pick([...agents.keys()]), customer: pick(customers) } as never) : null;
    await journal.append({
      ...blankRecord("agent.changed"),
      time_start: time,
      time_end: time,
      agent,
      administrator: BY,
      details: agent === null ? details : null,
    });
  }
  const reader = openReaderThread(dataDir);
  const all = await reader.ask("tail", 1_000, null);
  for (const customer of customers) {
    const only = { customer, agent: null, kind: null, agents: [...agents].flatMap(([id, of]) => (of === customer ? [id] : [])) };
    const theirs = all.filter((record) => isRecordOf(record, customer, (id) => agents.get(id)));
    expect(theirs.length).toBeGreaterThan(20);
    const sequences = theirs.map(({ sequence }) => sequence);
    expect((await reader.ask("tail", 1_000, null, only)).map(({ sequence }) => sequence)).toEqual(sequences);
    const beyond = sequences[5] ?? 0;
    expect((await reader.ask("tail", 3, beyond, only)).map(({ sequence }) => sequence)).toEqual(sequences.slice(6, 9));
    // What a leak was used for: none of it in another's account, though an agent may have worked for both.
    const leaked = { tokens: [], agent: null, issuer: "", administrator: BY };
    const uses = await reader.ask("usesOf", leaked, "1970-01-01T00:00:00.000Z", 1_000, customer);
    const accounts = new Set(uses.map(({ agent, details }) => agent?.customer ?? details?.customer ?? customer));
    expect([...accounts]).toEqual([customer]);
    expect(uses.length).toBeGreaterThan(20);
    expect(uses.length).toBeLessThan((await reader.ask("usesOf", leaked, "1970-01-01T00:00:00.000Z", 1_000, null)).length);
  }
  await reader.close();
  await journal.close();
});

describe("a key that is bound to a customer", () => {
  let plane: Plane;
  const asked: unknown[][] = [];
  const keys: string[] = [];
  beforeAll(async () => {
    plane = await startPlane({
      reader: {
        ask: (async (...question: unknown[]) => {
          asked.push(question);
          return [];
        }) as never,
      },
    });
    for (const customer of ["acme", "globex"]) {
      const made = await plane.admin("POST", "/api/v1/admin-keys", { name: `admin-${customer}`, role: "admin", customer });
      keys.push(((await made.json()) as { key: string }).key);
    }
  });
  afterAll(() => plane?.close());
  const as = (i: number, method: string, path: string, body?: object, key?: string) =>
    plane.admin(method, `/api/v1${path}`, body, {
      authorization: `Bearer ${keys[i]}`,
      ...(key === undefined ? {} : { "idempotency-key": key }),
    });

  test("makes agents for its own customer without saying so, and no customer's account wider", async () => {
    expect((await as(0, "POST", "/agents", { name: "acme-bot" })).status).toBe(201);
    expect(plane.registry.find("acme-bot")?.customer).toBe("acme");
    expect((await as(0, "PATCH", "/agents/acme-bot", { customer: "globex" })).status).toBe(403);
    expect((await as(0, "PATCH", "/customers/acme", { tools: null })).status).toBe(403);
    expect((await as(0, "GET", "/customers/acme")).status).toBe(200);
    expect((await as(0, "POST", "/agents/import", { agents: [{ name: "imported" }] })).status).toBe(201);
    expect(plane.registry.find("imported")?.customer).toBe("acme");
  });

  test("is not told who has a name that is taken, nor given the credential of another's declared agent", async () => {
    await plane.registry.declare(new Map([["declared", { customer: "acme", team: undefined, owner: "o", purpose: "p" } as never]]));
    const answers = await Promise.all(["acme-bot", "declared"].map(async (name) => (await as(1, "POST", "/agents", { name })).text()));
    expect(answers[0]).toBe(answers[1]);
    expect(plane.registry.credentialsOf(plane.registry.find("declared")?.id ?? "")).toEqual([]);
    const importing = await (await as(1, "POST", "/agents/import", { agents: [{ name: "acme-bot" }], dry_run: true })).text();
    expect(importing).not.toContain('acme"');
  });

  test("reads usage and records of its own alone, whatever dimensions or filters it asks for", async () => {
    asked.length = 0;
    await as(0, "GET", "/metering/usage?by=customer,agent&customer=globex");
    await as(0, "GET", "/audit/records?limit=5&customer=globex");
    expect(asked).toMatchObject([
      ["usage", { customer: "acme" }],
      ["tail", 5, null, { customer: "acme", agents: expect.any(Array), agent: null }],
    ]);
  });

  test("shares no Idempotency-Key with another", async () => {
    const first = await as(0, "POST", "/agents", { name: "by-key-0" }, "one-key");
    const second = await as(1, "POST", "/agents", { name: "by-key-1" }, "one-key");
    expect([first.status, second.status]).toEqual([201, 201]);
  });
});
