import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { query } from "../record/journal-fixture.ts";
import { type Desk, openDesk, type Taken, tokens } from "./desk.ts";

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
  for (const name of ["bot", "second"]) await desk.agent(name);
});
afterAll(async () => {
  await desk?.gateway.stop();
  expect(await verifyLog(desk.journal)).toMatchObject({ ok: true, problems: [] });
});

const reported = async (more: Readonly<Record<string, unknown>> = {}) =>
  String(((await desk.report(tokens(more))).json as never as Taken).event_ids[0]);
const correct = (event_id: string, delta: number, more: object = {}, headers: Record<string, string> = {}) =>
  desk.ask(
    "POST",
    "/metering/corrections",
    { event_id, quantity: { llm_tokens: delta }, reason: "counted twice", id: `c-${Math.random()}`, ...more },
    headers,
  );

test("a correction is a new event in the dimensions of the old one, with its reason and who made it; the old one stays", async () => {
  const id = await reported({ quantity: 500, metadata: { model: "m-correct" } });
  const before = (await desk.ask("GET", `/metering/events/${id}`)).json;
  const made = await correct(id, -200);
  expect(made).toMatchObject({ status: 201, json: { duplicate: false } });
  expect((await desk.ask("GET", `/metering/events/${id}`)).json).toEqual(before);
  const { event } = (await desk.ask("GET", `/metering/events/${made.json.event_id}`)).json as never as { event: { record: number } };
  expect(event).toMatchObject({
    type: "io.tollgate.usage.adjusted.v1",
    subject: "acme",
    data: {
      adjusts: id,
      adjusts_type: "io.tollgate.llm.tokens.v1",
      reason: "counted twice",
      model: "m-correct",
      quantity: { llm_tokens: -200 },
    },
  });
  const { record } = (await desk.ask("GET", `/audit/records/${event.record}`)).json as never as { record: object };
  expect(record).toMatchObject({
    kind: "usage.adjusted",
    administrator: "first",
    details: { customer: "acme", adjusts: id, event_id: made.json.event_id, reason: "counted twice" },
    usage_event: expect.stringMatching(/^sha256:/),
  });
  expect(await desk.usage("by=model&model=m-correct")).toMatchObject([{ llm_tokens: 300, events: 2 }]);
});

test("the sum of an event and its corrections never falls below zero", async () => {
  const id = await reported({ quantity: 100 });
  expect((await correct(id, -101)).status).toBe(422);
  expect((await correct(id, -60)).status).toBe(201);
  expect(await correct(id, -41)).toMatchObject({ status: 422, json: { detail: expect.stringContaining("below zero") } });
  expect((await correct(id, 10)).status).toBe(201);
  expect((await correct(id, -50)).status).toBe(201);
  expect((await correct(id, -1)).status).toBe(422);
  expect((await correct(id, -1, { quantity: { tool_tokens: -1 } })).status).toBe(422);
});

test("sent again it is the same one, for ever; the same name for another one is a conflict", async () => {
  const id = await reported({ quantity: 100 });
  const first = await correct(id, -10, { id: "once" });
  expect(await correct(id, -10, { id: "once" })).toEqual({ status: 200, json: { ...first.json, duplicate: true } });
  expect((await correct(id, -11, { id: "once" })).status).toBe(409);
  const key = { "idempotency-key": "by-header" };
  expect((await correct(id, -5, { id: undefined }, key)).status).toBe(201);
  expect((await correct(id, -5, { id: undefined })).status).toBe(400);
});

test.each([
  ["no reason", { reason: " " }, 422],
  ["nothing to change", { quantity: {} }, 422],
  ["a change by nothing", { quantity: { llm_tokens: 0 } }, 422],
  ["half a token", { quantity: { llm_tokens: 0.5 } }, 422],
  ["an unknown meter", { quantity: { tokens: 5 } }, 422],
  ["an event that is not there", { event_id: "evt_none" }, 404],
])("%s is refused", async (_, more, status) => {
  expect((await correct(await reported(), -1, more)).status).toBe(status);
});

test("a correction is not corrected, and whoever is bound to a customer corrects nothing", async () => {
  const id = await reported();
  const made = await correct(id, -10);
  expect(await correct(String(made.json.event_id), 1)).toMatchObject({
    status: 422,
    json: { detail: expect.stringContaining("not corrected") },
  });
  const bound = await desk.key("admin-acme", "admin", "acme");
  const operator = await desk.key("operator", "operator");
  const body = { event_id: id, quantity: { llm_tokens: -1 }, reason: "x", id: "y" };
  for (const key of [bound, operator]) expect((await desk.ask("POST", "/metering/corrections", body, {}, key)).status).toBe(403);
});

test("the command line corrects by the same way, and tells usage by period, filter and as CSV", async () => {
  const id = await reported({ quantity: 1_000, metadata: { model: "=cmd", workflow: "w" } });
  const made = await desk.gateway.json<{ event_id: string }>(
    "usage",
    "correct",
    id,
    "--meter",
    "llm_tokens",
    "--delta",
    "-250",
    "--reason",
    "why not",
  );
  expect(made.event_id).toMatch(/^evt_/);
  const { rows } = await desk.gateway.json<{ rows: object[] }>(
    "usage",
    "--by",
    "model,day",
    "--where",
    "workflow=w",
    "--period",
    "month",
    "--zone",
    "Europe/Berlin",
  );
  expect(rows).toMatchObject([{ model: "=cmd", llm_tokens: 750, calls: 0 }]);
  const { stdout } = await desk.gateway.command("usage", "--by", "model", "--where", "workflow=w", "--format", "csv");
  expect(stdout).toBe(
    "model,calls,tool_tokens,input_tokens,output_tokens,bytes_in,bytes_out,duration_ms,events,provisional,llm_tokens\r\n'=cmd,0,0,0,0,0,0,0,2,0,750\n",
  );
  expect((await desk.gateway.command("usage", "--where", "x=y")).code).toBe(2);
  expect((await desk.gateway.command("usage", "correct", id, "--meter", "llm_tokens", "--delta", "-9999", "--reason", "x")).code).toBe(1);
});

test("sums are those of the events, whatever was reported and corrected, by every dimension", async () => {
  const step = fc.record({
    agent: fc.constantFrom("bot", "second"),
    model: fc.constantFrom("a", "b", "c"),
    workflow: fc.constantFrom("x", "y"),
    quantity: fc.oneof(fc.nat(1_000), fc.constant(1_000_000_000_000)),
    hoursAgo: fc.nat(80),
    correction: fc.option(fc.integer({ min: -1_000, max: 1_000 }).filter((delta) => delta !== 0)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      for (const { agent, model, workflow, quantity, hoursAgo, correction } of steps) {
        const time = new Date(Date.now() - hoursAgo * 3_600_000).toISOString();
        const id = await reported({ agent_id: agent, quantity, time, metadata: { model, workflow } });
        if (correction !== null) await correct(id, correction);
      }
      const events = (await desk.ask("GET", "/metering/events?limit=10000")).json.items as never as Event[];
      for (const by of [[], ["agent"], ["model", "workflow"], ["type", "hour"], ["day", "agent_id", "team"]]) {
        const told = await desk.usage(`by=${by.join(",")}`);
        expect(new Map(told.map((row) => [JSON.stringify(by.map((name) => row[name])), [row.llm_tokens, row.events]]))).toEqual(
          summed(events, by),
        );
      }
    }),
    { numRuns: 5 },
  );
});

type Event = { type: string; time: string; data: Record<string, string> & { quantity: Record<string, number> } };

function summed(events: readonly Event[], by: readonly string[]): Map<string, [number, number]> {
  const sums = new Map<string, [number, number]>();
  for (const { type, time, data } of events) {
    const all = { ...data, type, day: time.slice(0, 10), hour: `${time.slice(0, 13)}:00:00Z` } as Record<string, unknown>;
    const key = JSON.stringify(by.map((name) => all[name]));
    const [tokens, count] = sums.get(key) ?? [0, 0];
    sums.set(key, [tokens + (data.quantity.llm_tokens ?? 0), count + 1]);
  }
  return sums;
}

test("whoever opens the file with sqlite3 finds one row an event, whose sums are those of the API", async () => {
  const view = query(
    desk.journal,
    "SELECT model, sum(amounts ->> '$.llm_tokens') AS llm_tokens, count(*) AS events FROM usage GROUP BY model ORDER BY model",
  );
  expect(await desk.usage("by=model")).toMatchObject(view as Record<string, unknown>[]);
  const [newest] = (await desk.ask("GET", "/metering/events?limit=1")).json.items as never as [{ id: string; time: string; type: string }];
  expect(query(desk.journal, "SELECT id, time, type FROM usage WHERE sequence = 1")).toEqual([
    { id: newest.id, time: newest.time, type: newest.type },
  ]);
});
