import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StoredRecord } from "../../src/call/record/books.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { type Credentials, GatewayProcess, modernRequest } from "../e2e/gateway-process.ts";
import { startTellingUpstream, type TellingUpstream } from "../fixtures/telling-upstream.ts";

const CONFIG = `outcomes:
  - { name: meeting_booked, tool: "up/book", when: "result.structuredContent.booked == true && args.slot > 0" }
  - { name: done, tool: "up/book" }
  - { name: slow, tool: "up/book", when: "result.content.exists(c, c.text.contains(args.x))" }
meters:
  - { name: pages, tool: up/book, pointer: /structuredContent/pages, max: 500 }
  - { name: pages, tool: "up/*y", pointer: /structuredContent/pages, max: 500 }
  - { name: rows, tool: up/book, pointer: /structuredContent/rows, max: 1000 }
  - { name: inferences, tool: up/book, of: arguments, pointer: /batch, max: 100 }
`;

let upstream: TellingUpstream;
let gateway: GatewayProcess;
let agent: Credentials;
let accessToken: string;
let key: string;

beforeAll(async () => {
  upstream = await startTellingUpstream();
  gateway = await GatewayProcess.start({
    policies: "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [up/*] }\n",
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: CONFIG,
  });
  agent = await gateway.createAgent("bot");
  accessToken = await gateway.accessToken(agent, "up");
  key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
});
afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
  expect(await verifyLog(join(gateway.folder, "data/journal.db"))).toMatchObject({ ok: true, problems: [] });
});

async function ask<T>(path: string): Promise<T> {
  return (await (await fetch(`${gateway.adminUrl}/api/v1${path}`, { headers: { authorization: `Bearer ${key}` } })).json()) as T;
}

/** The record and the usage event of a call with this result. */
async function call(name: string, result: unknown, args: object = {}) {
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", {
    name,
    arguments: { ...args, result: typeof result === "string" ? result : JSON.stringify(result) },
  });
  await answer.text();
  const { items } = await ask<{ items: StoredRecord[] }>("/audit/records?limit=1");
  const record = items[0];
  if (record === undefined) throw new Error("no record");
  const { event } = await ask<{ event: { data: { quantity: Record<string, unknown> } } }>(`/metering/events/${record.call_id}.settled`);
  return { record, quantity: event.data.quantity };
}

const text = (value: string, structuredContent?: object) => ({ content: [{ type: "text", text: value }], structuredContent });

describe("a call's result", () => {
  test("counts the outcomes whose condition it meets, and the numbers at the pointers", async () => {
    const { record, quantity } = await call("book", text("ok", { booked: true, pages: 3, rows: [1, 2, 3, 4] }), {
      slot: 2,
      batch: 7,
      x: "zzz",
    });
    expect(quantity).toMatchObject({ calls: 1, outcomes: { meeting_booked: 1, done: 1 }, outputs: { pages: 3, rows: 4, inferences: 7 } });
    expect(record).toMatchObject({
      note: null,
      outcome: "result",
      rate: expect.any(Number),
      upstream: { duration_ms: expect.any(Number) },
    });
    expect(record.duration_ms).toBeGreaterThanOrEqual(record.upstream?.duration_ms ?? Number.NaN);
    const usage = await ask<{ rows: object[] }>("/metering/usage?by=tool&tool=book");
    expect(usage.rows).toMatchObject([{ tool: "book", "outcome:done": 1, "outcome:meeting_booked": 1, inferences: 7, pages: 3, rows: 4 }]);
  });

  test("that does not meet it counts the others, and says nothing", async () => {
    const { record, quantity } = await call("book", text("no", { booked: false, pages: 1, rows: [] }), { slot: 2, batch: 0, x: "no" });
    expect(quantity).toMatchObject({ outcomes: { done: 1, slow: 1 }, outputs: { pages: 1, rows: 0, inferences: 0 } });
    expect(record.note).toBeNull();
  });

  test("without a number where one is expected counts nothing of it, and says so", async () => {
    const { record, quantity } = await call("say", text("no pages"));
    expect(quantity).not.toHaveProperty("outputs");
    expect(record.note).toBe("meter pages: there is nothing at its pointer");
  });

  test("whose number cannot be read counts as much as was held for it, and says so", async () => {
    for (const pages of [-1, 1.5, "3", null, {}])
      expect((await call("say", text("x", { pages }))).quantity).toMatchObject({ outputs: { pages: 500 } });
    const { record } = await call("say", text("x", { pages: -1 }));
    expect(record.note).toBe("meter pages: there is no whole number at its pointer, so it counts as 500");
  });

  test("above the most that one call counts is cut, and says so", async () => {
    const { record, quantity } = await call("say", '{"content":[],"structuredContent":{"pages":9007199254740993}}');
    expect(quantity).toMatchObject({ outputs: { pages: 500 } });
    expect(record.note).toBe("meter pages: 9007199254740993 cut to 500");
  });

  test("that is an error counts calls and tokens, and no outcome", async () => {
    const { quantity } = await call("book", { ...text("failed", { booked: true, pages: 3 }), isError: true }, { slot: 1, batch: 2 });
    expect(quantity).toMatchObject({ calls: 1 });
    expect(Number(quantity.tool_tokens)).toBeGreaterThan(0);
    for (const none of ["outcomes", "outputs"]) expect(quantity).not.toHaveProperty(none);
  });

  test("that takes too long to judge counts on that condition: nobody has it for nothing by making it long", async () => {
    const long = "a".repeat(60_000);
    const { record, quantity } = await call("book", text(long, { booked: true, pages: 1, rows: 1 }), {
      slot: 1,
      batch: 1,
      x: `${"a".repeat(20_000)}b`,
    });
    expect(quantity).toMatchObject({ outcomes: { done: 1, meeting_booked: 1, slow: 1 } });
    expect(record.note).toBe("outcome slow: too large for its condition, or not known to it any more, so it counts");
  });
});

test("a call without a rule for its tool has the event that it always had", async () => {
  const { record, quantity } = await call("other", text("x", { pages: 2 }));
  expect(Object.keys(quantity).toSorted()).toEqual(
    ["bytes_in", "bytes_out", "calls", "duration_ms", "input_tokens", "output_tokens", "tool_tokens"].toSorted(),
  );
  expect(record.note).toBeNull();
});

test("the rate is of the agent's own calls in the last minute", async () => {
  const other = await gateway.createAgent("other-bot");
  accessToken = await gateway.accessToken(other, "up");
  const rates = [];
  for (let i = 0; i < 3; i++) rates.push((await call("say", text("x", { pages: 1 }))).record.rate);
  expect(rates).toEqual([1, 2, 3]);
});
