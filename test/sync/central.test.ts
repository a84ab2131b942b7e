import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CENTRAL_SCHEMA } from "../../src/call/sync/central-schema.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { centralSink, ask as query } from "./ledger.ts";
import { asides, bookStage, settle, startOne, stopAll, upTo } from "./stage.ts";

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

  test("no password shows in what is said of a ledger that does not answer", async () => {
    const { journal, warnings, start } = await stage(() => "postgres://u:pa55word@127.0.0.1:1/x");
    await settle(journal, 1);
    const running = await start();
    await expect(running.flush()).rejects.toThrow();
    expect(JSON.stringify([warnings, await running.status()])).not.toContain("pa55word");
  });
});
