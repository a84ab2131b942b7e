import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, cloudEvent, type Desk, openDesk, type Taken, tokens } from "./desk.ts";

const ONE = { "content-type": "application/cloudevents+json" };
let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
  await desk.agent("bot");
});
afterAll(() => desk?.gateway.stop());

const many = (count: number, value: unknown = null) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`m${i}`, value]));
type Problem = { readonly index: number; readonly reason: string; readonly detail: string };
const problemsOf = ({ json }: Answer) => json.problems as never as readonly Problem[];

describe("what is said of a bad report never grows with it", () => {
  test.each([
    ["metadata", tokens({ metadata: many(20_000, {}) }), {}, "metadata: at most 64 members"],
    ["quantity", tokens({ quantity: many(20_000, "x") }), {}, "quantity: at most 64 members"],
    ["unknown members", tokens(many(20_000)), {}, "event: at most 64 members"],
    ["a CloudEvent's metadata", cloudEvent({}, { metadata: many(20_000, {}) }), ONE, "data.metadata: at most 64 members"],
    ["a CloudEvent's quantity", cloudEvent({}, { quantity: many(20_000, "x") }), ONE, "data.quantity: at most 64 members"],
    ["a CloudEvent's data", cloudEvent({}, many(20_000)), ONE, "data: at most 64 members"],
    ["a CloudEvent's extensions", cloudEvent(many(20_000, {})), ONE, "event: at most 64 members"],
    ["a long name", tokens({ metadata: { ["m".repeat(129)]: "x" } }), {}, "metadata: a member's name has at most 128 characters"],
  ])("too many members, or too long: %s", async (_, event, headers, detail) => {
    const answer = await desk.report(event, headers as Record<string, string>);
    expect(answer.status).toBe(422);
    expect(problemsOf(answer)).toEqual([{ index: 0, reason: "malformed", detail }]);
  });

  test("five faults of a usual size are told, and how many more there are", async () => {
    const answer = await desk.report(tokens({ metadata: many(64, {}) }));
    const detail = problemsOf(answer)[0]?.detail ?? "";
    expect(detail.split("; ")).toHaveLength(6);
    expect(detail).toMatch(/; and 59 more$/);
    const long = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`${i}`.padEnd(128, "m"), {}]));
    expect((problemsOf(await desk.report(tokens({ metadata: long })))[0]?.detail ?? "").length).toBe(500);
  });

  test("the neighbours of such an event are taken", async () => {
    const answer = await desk.report([tokens(), tokens({ metadata: many(65, "x") }), tokens()]);
    expect(answer).toMatchObject({ status: 201, json: { accepted: 2, rejected: [{ index: 1, reason: "malformed" }] } });
  });

  test("of a correction, and of any other body, neither", async () => {
    const correction = { event_id: "evt_1", reason: "r", id: "c" };
    expect(await desk.ask("POST", "/metering/corrections", { ...correction, quantity: many(65, 1) })).toMatchObject({
      status: 422,
      json: { detail: "quantity: at most 64 members" },
    });
    const stray = await desk.ask("POST", "/metering/corrections", { ...correction, quantity: { llm_tokens: 1 }, ...many(4_000) });
    expect(stray.status).toBe(422);
    expect(String(stray.json.detail).length).toBeLessThanOrEqual(500);
  });
});

test.each([
  ["metadata", '"quantity": 1, "metadata": {"__proto__": "x"}', "metadata"],
  ["quantity", '"quantity": {"llm_tokens": 1, "__proto__": 5}', "quantity"],
  ["the event", '"quantity": 1, "__proto__": 5', "event"],
])("a member of %s that would be dropped without a word is refused", async (_, members, where) => {
  const answer = await desk.report(`{"agent_id": "bot", "event_type": "tokens.consumed", "id": "p", ${members}}`);
  expect(answer.status).toBe(422);
  expect(problemsOf(answer)).toMatchObject([{ detail: `${where}: a member may not be named __proto__` }]);
});

describe("a key that is bound to a customer takes no name that another's event will have", () => {
  test.each(["urn:tollgate:admin-key:root", "urn:tollgate:corrections", "URN:Tollgate:corrections", "urn:tollgate:gw-1"])(
    "a source that the gateway gives is refused: %s",
    async (source) => {
      await desk.agent("evil-bot", "evil").catch(() => {});
      const evil = await desk.key(`evil-${Math.random()}`, "operator", "evil");
      const answer = await desk.report(cloudEvent({ source }, { agent_id: "evil-bot" }), ONE, evil);
      expect(answer.status).toBe(422);
      expect(problemsOf(answer)).toMatchObject([{ reason: "malformed", detail: expect.stringContaining("source: urn:tollgate: is for") }]);
      expect((await desk.report(tokens({ source, agent_id: "evil-bot" }), {}, evil)).status).toBe(422);
    },
  );

  test("so the other's report and correction of that name are taken", async () => {
    await desk.agent("thief-bot", "thief");
    const thief = await desk.key("thief", "operator", "thief");
    const op = await desk.key("op", "operator");
    await desk.report(cloudEvent({ source: "urn:tollgate:admin-key:op", id: "run-1" }, { agent_id: "thief-bot" }), ONE, thief);
    await desk.report(cloudEvent({ source: "urn:tollgate:corrections", id: "fix-1" }, { agent_id: "thief-bot" }), ONE, thief);
    const report = await desk.report(tokens({ id: "run-1" }), {}, op);
    expect(report).toMatchObject({ status: 201, json: { accepted: 1 } });
    const [event_id] = (report.json as never as Taken).event_ids;
    const correction = { event_id, quantity: { llm_tokens: -1 }, reason: "one too many", id: "fix-1" };
    expect((await desk.ask("POST", "/metering/corrections", correction)).status).toBe(201);
    // Its own default, written out, is what it would be named anyway.
    expect(await desk.report(tokens({ id: "run-1", source: "urn:tollgate:admin-key:op" }), {}, op)).toMatchObject({
      json: { duplicates: 1, rejected: [] },
    });
  });
});

test("a body of a million levels is refused, with an Idempotency-Key too", async () => {
  const deep = `${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`;
  const tooDeep = { status: 400, json: { detail: expect.stringContaining("levels") } };
  expect(await desk.report(deep)).toMatchObject(tooDeep);
  expect(await desk.report(deep, { "idempotency-key": "deep" })).toMatchObject(tooDeep);
});
