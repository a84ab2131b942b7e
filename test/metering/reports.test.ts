import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { leafHash, verifyInclusion } from "../../src/call/record/merkle.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { query } from "../record/journal-fixture.ts";
import { cloudEvent, type Desk, openDesk, type Taken, tokens } from "./desk.ts";

const ONE = { "content-type": "application/cloudevents+json" };
const BATCH = { "content-type": "application/cloudevents-batch+json; charset=utf-8" };
let desk: Desk;
let operator: string;
let acme: string;
let globex: string;
let auditor: string;

beforeAll(async () => {
  desk = await openDesk();
  await desk.agent("bot");
  await desk.agent("globex-bot", "globex");
  operator = await desk.key("op", "operator");
  acme = await desk.key("op-acme", "operator", "acme");
  globex = await desk.key("op-globex", "operator", "globex");
  auditor = await desk.key("auditor-globex", "auditor", "globex");
});
afterAll(async () => {
  await desk?.gateway.stop();
  expect(await verifyLog(desk.journal)).toMatchObject({ ok: true, problems: [] });
});

const taken = async (...sent: Parameters<Desk["report"]>): Promise<Taken & { status: number }> => {
  const { status, json } = await desk.report(...sent);
  return { status, ...(json as unknown as Taken) };
};
const events = () => Number((query(desk.journal, "SELECT count(*) AS n FROM usage_event") as [{ n: number }])[0].n);
const eventOf = async (id: string | null | undefined) =>
  (await desk.ask("GET", `/metering/events/${id}`)).json as never as { event: never };

describe("a report", () => {
  test("in the short form becomes an event in the dimensions of its agent, with the definition that it was counted by", async () => {
    const answer = await taken(tokens({ quantity: 1200, metadata: { model: "m-9", workflow: "triage", provider: "p" } }), {}, operator);
    expect(answer).toMatchObject({ status: 201, accepted: 1, duplicates: 0, rejected: [] });
    const { event } = await eventOf(answer.event_ids[0]);
    expect(event).toMatchObject({
      id: expect.stringMatching(/^evt_[0-9a-f]{40}$/),
      type: "io.tollgate.llm.tokens.v1",
      subject: "acme",
      data: {
        ...{ agent: "bot", team: "support", workflow: "triage", model: "m-9", environment: "live", provisional: false },
        ...{ quantity: { llm_tokens: 1200 }, metadata: { provider: "p" }, use: ["chargeback", "policy"] },
        ...{ definition_version: "1", definition_digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
        reported: { by: "op", source: "urn:tollgate:admin-key:op", id: expect.any(String) },
      },
    });
    expect(await desk.usage("by=model,agent&model=m-9")).toMatchObject([
      { model: "m-9", agent: "bot", llm_tokens: 1200, calls: 0, events: 1 },
    ]);
  });

  test("may be a CloudEvent, a batch of them, or a list of short forms; all are the same kind of event", async () => {
    expect(await taken(cloudEvent(), ONE)).toMatchObject({ status: 201, accepted: 1 });
    expect(await taken([cloudEvent(), cloudEvent({ subject: "acme" })], BATCH)).toMatchObject({ status: 201, accepted: 2 });
    expect(await taken([tokens(), cloudEvent({}, { quantity: 7 })])).toMatchObject({ status: 201, accepted: 2 });
    expect(await taken([], BATCH)).toMatchObject({ status: 200, accepted: 0 });
    expect((await desk.report([cloudEvent()], ONE)).status).toBe(400);
    expect((await desk.report(cloudEvent(), BATCH)).status).toBe(400);
    expect((await desk.report(tokens(), { "content-type": "text/plain" })).status).toBe(415);
    expect((await desk.report(tokens(), ONE)).status).toBe(422);
  });

  test("of a type from the configuration is counted on its own meter", async () => {
    const report = { event_type: "com.acme.report.rendered", quantity: 3, metadata: { template: "q", urgent: true, share: 0.5 } };
    const answer = await taken(tokens(report));
    expect(answer).toMatchObject({ status: 201, accepted: 1 });
    expect((await eventOf(answer.event_ids[0])).event).toMatchObject({
      type: "com.acme.report.rendered.v2",
      data: {
        quantity: { reports: 3 },
        use: ["chargeback"],
        definition_version: "2",
        metadata: { template: "q", urgent: true, share: 0.5 },
      },
    });
    expect(await desk.usage("by=type&type=com.acme.report.rendered.v2")).toMatchObject([{ reports: 3, events: 1 }]);
    const claimed = tokens({ event_type: "outcome.claimed", quantity: 2, metadata: { outcome: "meeting_booked" } });
    expect((await taken(claimed)).accepted).toBe(1);
    expect(await desk.usage("by=type&type=io.tollgate.outcome.claimed.v1")).toMatchObject([{ "outcome:meeting_booked": 2 }]);
  });

  test("is needed to have a name: its own, or that of the request", async () => {
    const { id: _, ...nameless } = tokens();
    expect(await desk.report(nameless)).toMatchObject({
      status: 422,
      json: { problems: [{ index: 0, detail: expect.stringContaining("Idempotency-Key") }] },
    });
    const key = { "idempotency-key": `"k-${Date.now()}"` };
    const first = await taken([nameless, nameless], key);
    expect(first).toMatchObject({ accepted: 2 });
    const before = events();
    expect(await taken([nameless, nameless], key)).toEqual(first);
    expect(events()).toBe(before);
  });
});

describe("sent again", () => {
  test("it is a duplicate for ever: in the same batch, in another one, in another form, after a restart", async () => {
    const event = tokens({ source: "urn:mine" });
    const first = await taken([event, event]);
    expect(first).toMatchObject({ status: 201, accepted: 1, duplicates: 1 });
    expect(first.event_ids[0]).toBe(first.event_ids[1]);
    await desk.gateway.stop();
    await desk.gateway.serve();
    const before = events();
    const { id, agent_id, quantity, metadata } = event;
    const other = { specversion: "1.0", id, source: "urn:mine", type: "io.tollgate.llm.tokens.v1", data: { agent_id, quantity, metadata } };
    expect(await taken([other], BATCH)).toMatchObject({ status: 200, accepted: 0, duplicates: 1, event_ids: [first.event_ids[0]] });
    expect(events()).toBe(before);
  });

  test("with another payload it is a conflict, and nothing is lost of its neighbours", async () => {
    const event = tokens();
    await taken(event);
    const answer = await taken([tokens(), { ...event, quantity: 101 }, event, tokens()]);
    expect(answer).toMatchObject({ status: 201, accepted: 2, duplicates: 1, rejected: [{ index: 1, reason: "conflict" }] });
    expect(answer.event_ids[1]).toBeNull();
    expect(await desk.report({ ...event, quantity: 101 })).toMatchObject({
      status: 422,
      json: { problems: [{ index: 0, reason: "conflict" }] },
    });
  });

  test("it is told so also where it could not be taken any more", async () => {
    await desk.agent("mover");
    const event = tokens({ agent_id: "mover", time: new Date().toISOString() });
    expect((await taken(event)).accepted).toBe(1);
    await desk.ask("PATCH", "/agents/mover", { name: "moved" });
    expect(await taken(event)).toMatchObject({ accepted: 0, duplicates: 1, rejected: [] });
    expect((await taken([tokens(), { ...event, id: "other" }])).rejected).toMatchObject([{ index: 1, reason: "agent_unknown" }]);
  });
});

const LONG_AGO = new Date(Date.now() - 36 * 86_400_000).toISOString();
const SOON = new Date(Date.now() + 360_000).toISOString();
const BAD: readonly [string, Readonly<Record<string, unknown>> | null, string][] = [
  ["a negative amount", { quantity: -1 }, "malformed"],
  ["half a token", { quantity: 0.5 }, "malformed"],
  ["a word", { quantity: "100" }, "malformed"],
  ["an amount beyond what can be summed", { quantity: 1e13 }, "malformed"],
  ["an amount beyond a double", { quantity: "HUGE" }, "malformed"],
  ["no amount", { quantity: null }, "malformed"],
  ["another meter", { quantity: { tool_tokens: 5 } }, "malformed"],
  ["two meters", { quantity: { llm_tokens: 5, tool_tokens: 5 } }, "malformed"],
  ["an unknown type", { event_type: "tokens.used" }, "type_unknown"],
  ["a type of the gateway's own", { event_type: "io.tollgate.call.settled.v1" }, "type_unknown"],
  ["a correction", { event_type: "io.tollgate.usage.adjusted.v1" }, "type_unknown"],
  ["a type that is not approved yet", { event_type: "com.acme.later", metadata: {} }, "type_unknown"],
  ["an unknown member", { extra: 1 }, "malformed"],
  ["unknown metadata", { metadata: { model: "m", modell: "m" } }, "malformed"],
  ["metadata of another kind", { metadata: { model: "m", input_tokens: 1.5 } }, "malformed"],
  ["metadata that is missing", { metadata: {} }, "malformed"],
  ["an outcome that nobody has configured", { event_type: "outcome.claimed", metadata: { outcome: "x" } }, "malformed"],
  ["an agent that is not there", { agent_id: "nobody" }, "agent_unknown"],
  ["another customer's name", { subject: "globex" }, "subject_mismatch"],
  ["a time too long ago", { time: LONG_AGO }, "time_out_of_bounds"],
  ["a time to come", { time: SOON }, "time_out_of_bounds"],
  ["a time without offset", { time: "2026-11-01T10:00:00" }, "malformed"],
  ["half a character", { metadata: { model: "\ud800" } }, "malformed"],
  ["a line break in its name", { id: "a\nb" }, "malformed"],
  ["nothing at all", null, "malformed"],
];

test("each one that is not in order is told by its index, and the others are taken", async () => {
  const before = events();
  const items = BAD.flatMap(([, more]) => [tokens(), more === null ? null : tokens(more)]);
  const answer = await taken(JSON.stringify(items).replace('"HUGE"', "1e400"));
  expect(answer.rejected.map(({ index, reason }) => [BAD[(index - 1) / 2]?.[0], reason])).toEqual(
    BAD.map(([what, , reason]) => [what, reason]),
  );
  expect(answer).toMatchObject({ status: 201, accepted: BAD.length, duplicates: 0 });
  expect(events()).toBe(before + BAD.length);
});

test("a key that is bound to a customer reports for its agents alone: not yours and not there are the same bytes", async () => {
  expect((await taken(tokens(), {}, acme)).accepted).toBe(1);
  const [theirs, nobody] = await Promise.all(
    ["globex-bot", "nobody"].map((agent_id) => desk.report(tokens({ agent_id, id: "fixed" }), {}, acme)),
  );
  expect(theirs).toEqual(nobody);
  // What others have named is no business of theirs: neither a duplicate nor a conflict.
  const shared = { source: "urn:shared", id: "1" };
  expect((await taken(tokens({ ...shared, agent_id: "globex-bot" }), {}, globex)).accepted).toBe(1);
  expect((await taken(tokens({ ...shared }), {}, acme)).accepted).toBe(1);
  // Whoever reports for all customers has one name for one event.
  expect((await desk.report(tokens({ ...shared, quantity: 9 }), {}, operator)).status).toBe(422);
});

test("a viewer and an auditor cannot report", async () => {
  for (const role of ["viewer", "auditor", "approver"])
    expect((await desk.report(tokens(), {}, await desk.key(`r-${role}`, role))).status).toBe(403);
});

describe("ten thousand events in one request", () => {
  test("are taken; sent again none is; calls' records come between them, and every sequence is there", async () => {
    const before = events();
    const items = Array.from({ length: 10_000 }, (_, i) => cloudEvent({}, { quantity: i, metadata: { model: `m-${i % 7}` } }));
    const first = await taken(items, BATCH);
    expect(first).toMatchObject({ status: 201, accepted: 10_000, rejected: [] });
    expect(new Set(first.event_ids).size).toBe(10_000);
    expect(await taken(items, BATCH)).toMatchObject({ status: 200, accepted: 0, duplicates: 10_000, event_ids: first.event_ids });
    expect(events()).toBe(before + 10_000);
    const all: { sequence: number }[] = [];
    for (let after: string | null = "0"; after !== null; ) {
      const page: { items: { sequence: number }[]; next_cursor: string | null } = (
        await desk.ask("GET", `/metering/events?after=${after}&limit=4000`)
      ).json as never;
      all.push(...page.items);
      after = page.next_cursor;
    }
    expect(all.map(({ sequence }) => sequence)).toEqual(Array.from({ length: before + 10_000 }, (_, i) => i + 1));
  });

  test("one more is too many", async () => {
    expect((await desk.report(Array.from({ length: 10_001 }, () => 0))).status).toBe(413);
  });
});

test("an event is proved by its path to the root of its batch, and that root by the record", async () => {
  const { event_ids } = await taken(Array.from({ length: 13 }, () => tokens()));
  for (const id of event_ids) {
    const found = (await desk.ask("GET", `/metering/events/${id}`)).json as never as {
      event: { record: number };
      digest: string;
      batch: { index: number; size: number; hashes: string[]; root: string };
    };
    const { record } = (await desk.ask("GET", `/audit/records/${found.event.record}`)).json as never as {
      record: { kind: string; details: object };
    };
    expect(record).toMatchObject({
      kind: "usage.reported",
      administrator: "first",
      details: { customer: "acme", events: 13, events_root: found.batch.root },
    });
    const hashes = found.batch.hashes.map((hash) => Buffer.from(hash, "hex"));
    const leaf = leafHash(Buffer.from(found.digest));
    expect(verifyInclusion(leaf, found.batch.index, found.batch.size, hashes, Buffer.from(found.batch.root, "hex"))).toBe(true);
  }
  const [id] = event_ids;
  expect((await desk.ask("GET", `/metering/events/${id}`, undefined, {}, auditor)).json).toEqual(
    (await desk.ask("GET", "/metering/events/evt_none", undefined, {}, auditor)).json,
  );
  const theirs = (await desk.ask("GET", "/metering/events", undefined, {}, auditor)).json.items as never as { subject: string }[];
  expect(new Set(theirs.map(({ subject }) => subject))).toEqual(new Set(["globex"]));
});

test("the catalogue tells of every type, with its version, its digest and who approved it", async () => {
  const { items } = (await desk.ask("GET", "/metering/event-types")).json as never as { items: Record<string, unknown>[] };
  expect(items.map(({ type }) => type)).toEqual([
    ...["call.settled", "usage.adjusted", "llm.tokens", "outcome.claimed", "workflow.completed", "activation.created"].map(
      (name) => `io.tollgate.${name}.v1`,
    ),
    "com.acme.report.rendered.v2",
    "com.acme.later.v1",
  ]);
  expect(items.at(-2)).toMatchObject({
    ...{
      short_name: "com.acme.report.rendered",
      version: "2",
      meters: ["reports"],
      approved_by: "finance@acme.example",
      approved: "2026-01-01",
    },
    digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
  });
});
