import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CENTRAL_SCHEMA } from "../../src/call/sync/central-schema.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { correct, purgeAll, report } from "./books-of-life.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { centralSink, ask as query } from "./ledger.ts";
import { asides, bookStage, settle, startOne, stopAll, upTo } from "./stage.ts";

/** The columns of a view as it was before. */
const BEFORE = ["calls", "tool_tokens", "input_tokens", "output_tokens", "bytes_in", "bytes_out", "duration_ms"];

describe.skipIf(withoutPostgres)("the central ledger in PostgreSQL", () => {
  let server: PostgresServer;
  let url: string;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  beforeEach(async () => {
    url = await server.database();
  });
  afterEach(stopAll);
  afterAll(() => server.close());

  const ask = <T extends object>(sql: string) => query<T & Record<string, unknown>>(url, sql);

  async function stage(at: () => string = () => url) {
    const books = await bookStage();
    return { ...books, start: (batch = 10) => startOne(books.parts, centralSink(at(), batch)) };
  }

  test("holds every event, record and checkpoint once, with the numbers and the bytes of the journal", async () => {
    const { dir, journal, reader, start } = await stage();
    const expected = await settle(journal, 25);
    const { root, note } = writeCheckpoint(dir, journal.source, 25);
    const running = await start();
    await running.flush();
    await running.flush();
    const events = await ask("SELECT sequence::int, id, gateway, subject, record::int, data FROM tollgate_event ORDER BY sequence");
    expect(events.map(({ id }) => id)).toEqual(expected);
    const [first] = await reader.ask("eventsAfter", 0, 1);
    expect(events[0]).toEqual({ sequence: 1, id: expected[0], gateway: journal.source, subject: "acme", record: 0, data: first?.data });
    const records = await ask<{ sequence: number; body: string; leaf: string }>(
      "SELECT sequence::int, body, encode(leaf, 'hex') AS leaf FROM tollgate_record ORDER BY sequence",
    );
    expect(records).toEqual(
      (await reader.ask("outboxAfter", "records", -1, 100)).map((item) => ({
        sequence: item.sequence,
        body: "body" in item && item.body,
        leaf: "leaf" in item && item.leaf,
      })),
    );
    expect(await ask("SELECT size::int, encode(root, 'hex') AS root, note FROM tollgate_checkpoint")).toEqual([{ size: 25, root, note }]);
    expect(await ask("SELECT * FROM tollgate_gap")).toEqual([]);
    expect(await running.status()).toMatchObject({ streams: [{ pending: 0 }, { pending: 0 }, { pending: 0 }], failures: 0 });
  });

  test("takes a batch that it has already, also one that two senders bring, and counts it once", async () => {
    const { journal, start } = await stage();
    await settle(journal, 20);
    const [one, other] = [await start(7), await start(5)];
    await Promise.all([one.flush(), other.flush()]);
    expect((await ask<{ n: number }>("SELECT count(*)::int AS n FROM tollgate_event"))[0]?.n).toBe(20);
    expect(await other.status()).toMatchObject({ aside: { refused: 0 } });
  });

  test("never overwrites: something else under the same number is reported as a conflict, and the rest goes on", async () => {
    const { journal, reader, start } = await stage();
    const [, second] = await settle(journal, 3);
    await ask(CENTRAL_SCHEMA);
    await ask(
      `INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data) VALUES ('${journal.source}', 2, '${second}', 'x', now(), 'other', 1, '{}')`,
    );
    const running = await start();
    await running.flush();
    expect(await asides(reader)).toMatchObject([
      { stream: "usage", sequence: 2, state: "refused", reason: expect.stringContaining("conflict") },
    ]);
    expect(await ask("SELECT sequence::int, subject FROM tollgate_event ORDER BY sequence")).toEqual([
      { sequence: 1, subject: "acme" },
      { sequence: 2, subject: "other" },
      { sequence: 3, subject: "acme" },
    ]);
  });

  test("refuses every change and every removal of what it holds", async () => {
    const { journal, start } = await stage();
    await settle(journal, 1);
    await (await start()).flush();
    for (const act of ["UPDATE tollgate_event SET subject = 'x'", "DELETE FROM tollgate_record", "TRUNCATE tollgate_checkpoint"])
      await expect(ask(act)).rejects.toThrow("never changed");
  });

  test("a row that it cannot hold is found and set aside, and the others arrive", async () => {
    const { journal, reader, start } = await stage();
    await ask(`${CENTRAL_SCHEMA}; ALTER TABLE tollgate_event ADD CONSTRAINT picky CHECK (sequence <> 4)`);
    await settle(journal, 6);
    await (await start()).flush();
    expect(await asides(reader)).toMatchObject([
      { stream: "usage", sequence: 4, state: "refused", reason: expect.stringContaining("23514") },
    ]);
    expect((await ask<{ s: number }>("SELECT sequence::int AS s FROM tollgate_event ORDER BY 1")).map(({ s }) => s)).toEqual([
      1, 2, 3, 5, 6,
    ]);
    expect(await ask("SELECT what, first::int, last::int FROM tollgate_gap")).toEqual([{ what: "event", first: 4, last: 4 }]);
  });

  test("a server that dies and comes back loses nothing, and takes nothing twice", async () => {
    const { journal, start } = await stage();
    await settle(journal, 10);
    const running = await start(3);
    await running.flush();
    await server.kill();
    await settle(journal, 10);
    await expect(running.flush()).rejects.toThrow();
    expect(await running.status()).toMatchObject({ streams: [{ pending: 10 }, {}, {}], failures: 1 });
    await server.start();
    // It replays its own log first, and says so to whoever connects meanwhile.
    while (
      !(await running.flush().then(
        () => true,
        () => false,
      ))
    )
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await ask<{ s: number }>("SELECT sequence::int AS s FROM tollgate_event ORDER BY 1")).map(({ s }) => s)).toEqual(upTo(20));
  });

  test("a role that may only write says whose SQL is missing, and writes once somebody has run it", async () => {
    await ask("DROP ROLE IF EXISTS writer").catch(() => {});
    await ask("CREATE ROLE writer LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    const { journal, start } = await stage(() => url.replace("tollgate@", "writer@"));
    await settle(journal, 2);
    const running = await start();
    await expect(running.flush()).rejects.toThrow("tollgate sync schema");
    await ask(CENTRAL_SCHEMA);
    await ask("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO writer");
    await running.flush();
    expect((await ask<{ n: number }>("SELECT count(*)::int AS n FROM tollgate_event"))[0]?.n).toBe(2);
  });

  test("usage adds up by customer, team, agent and day, and an invoice line names its events", async () => {
    const { journal, start } = await stage();
    const expected = await settle(journal, 4);
    await (await start()).flush();
    const [line] = await ask(
      "SELECT customer, day::text, agent, server, tool, calls::int, tool_tokens::int, event_ids FROM tollgate_invoice_line",
    );
    expect(line).toEqual({
      customer: "acme",
      day: "2026-11-23",
      agent: "support-bot",
      server: "tickets",
      tool: "search_tickets",
      calls: 4,
      tool_tokens: 480,
      event_ids: expected,
    });
    for (const by of ["customer", "team", "agent", "day"])
      expect(await ask(`SELECT calls::int, events::int FROM tollgate_usage_by_${by}`)).toEqual([{ calls: 4, events: 4 }]);
  });

  test("every meter is billed: of calls, their outcomes and outputs, of reports, and corrections of either", async () => {
    const { journal, start } = await stage();
    const [call] = await settle(journal, 2);
    const [first] = await report(journal, "r", 10, 20);
    await correct(journal, first ?? "", "llm_tokens", -4);
    await correct(journal, call ?? "", "tool_tokens", -100);
    await (await start()).flush();
    await ask(
      `INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data) SELECT gateway, 99, 'x', type, time, subject, 99,
         jsonb_set(data, '{quantity}', '{"calls": 1, "outcomes": {"solved": 2}, "outputs": {"pages": 3}}') FROM tollgate_event WHERE sequence = 1`,
    );
    const amounts = "SELECT meter, amount::int FROM tollgate_amount WHERE sequence";
    expect(await ask(`${amounts} = 99 ORDER BY meter`)).toEqual([
      { meter: "calls", amount: 1 },
      { meter: "outcome:solved", amount: 2 },
      { meter: "pages", amount: 3 },
    ]);
    expect(await ask(`${amounts} > 4 AND sequence < 99 ORDER BY sequence`)).toEqual([
      { meter: "llm_tokens", amount: -4 },
      { meter: "tool_tokens", amount: -100 },
    ]);
    const all = { calls: 3, tool_tokens: 140, llm_tokens: 26, "outcome:solved": 2, pages: 3 };
    for (const by of ["customer", "day"])
      expect(await ask(`SELECT calls::int, tool_tokens::int, events::int, amounts FROM tollgate_usage_by_${by}`)).toEqual([
        { calls: 3, tool_tokens: 140, events: 7, amounts: expect.objectContaining(all) },
      ]);
    const lines = await ask("SELECT agent, type, amounts, cardinality(event_ids) AS n FROM tollgate_invoice_line ORDER BY agent, type");
    expect(lines).toEqual([
      { agent: "bot", type: "io.tollgate.llm.tokens.v1", amounts: { llm_tokens: 30 }, n: 2 },
      { agent: "bot", type: "io.tollgate.usage.adjusted.v1", amounts: { llm_tokens: -4 }, n: 1 },
      { agent: "support-bot", type: "io.tollgate.call.settled.v1", amounts: expect.objectContaining({ calls: 3, pages: 3 }), n: 3 },
      { agent: "support-bot", type: "io.tollgate.usage.adjusted.v1", amounts: { tool_tokens: -100 }, n: 1 },
    ]);
  });

  test("a ledger whose views are from before has them replaced, and takes what is sent also from a role that may not", async () => {
    await ask("DROP ROLE IF EXISTS clerk").catch(() => {});
    await ask("CREATE ROLE clerk LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    await ask(`${CENTRAL_SCHEMA}; DROP VIEW tollgate_usage_by_customer, tollgate_invoice_line, tollgate_usage_by_team, tollgate_usage_by_agent, tollgate_usage_by_day, tollgate_amount;
      CREATE VIEW tollgate_usage_by_customer AS SELECT subject AS customer, ${BEFORE.map((name) => `sum((data -> 'quantity' ->> '${name}')::bigint) AS ${name}`).join(", ")},
        count(*) AS events, count(*) FILTER (WHERE (data ->> 'provisional')::boolean) AS provisional FROM tollgate_event GROUP BY 1;
      GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO clerk`);
    const { journal, start } = await stage(() => url.replace("tollgate@", "clerk@"));
    await settle(journal, 1);
    await (await start()).flush();
    expect((await ask<{ n: number }>("SELECT count(*)::int AS n FROM tollgate_event"))[0]?.n).toBe(1);
    await ask(CENTRAL_SCHEMA);
    expect(await ask("SELECT calls::int, amounts -> 'calls' AS n FROM tollgate_usage_by_customer")).toEqual([{ calls: 1, n: 1 }]);
  });

  test("a sink of a new name that brings purged records to a ledger that has them whole is in no conflict with it", async () => {
    const books = await bookStage();
    await settle(books.journal, 2);
    await report(books.journal, "r", 10);
    await (await startOne(books.parts, centralSink(url))).flush();
    await purgeAll(books.journal, [0, 2]);
    await (await startOne(books.parts, centralSink(url, 10, "other"))).flush();
    expect(await asides(books.reader, "other")).toEqual([]);
    expect(await ask("SELECT 1 FROM tollgate_record WHERE body = '{}'")).toEqual([]);
  });

  test("no password shows in what is said of a ledger that does not answer", async () => {
    const { journal, warnings, start } = await stage(() => "postgres://u:pa55word@127.0.0.1:1/x");
    await settle(journal, 1);
    const running = await start();
    await expect(running.flush()).rejects.toThrow();
    expect(JSON.stringify([warnings, await running.status()])).not.toContain("pa55word");
  });
});
