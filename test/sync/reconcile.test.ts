import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ReconcileReport, reconcile } from "../../src/call/sync/reconcile.ts";
import { auditLedger } from "../../src/ledger-audit.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { backUp, correct, purgeAll, report, restore } from "./books-of-life.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { ask, forge, ledgerStage } from "./ledger.ts";
import { answer, collectorStage, ids, settle, stopAll } from "./stage.ts";

const DAY_MS = 86_400_000;
const AT_MS = Date.UTC(2026, 10, 23, 10);

type Stage = Pick<Awaited<ReturnType<typeof ledgerStage>>, "journal" | "reader">;

async function compare(
  { journal, reader }: Stage,
  central: Parameters<typeof reconcile>[0]["central"],
  deep = false,
): Promise<ReconcileReport> {
  const state = await reader.ask("sinkState", "central", ["usage"]);
  return reconcile({
    ...{ sink: "central", gateway: journal.source, sinceMs: AT_MS - DAY_MS, untilMs: AT_MS + DAY_MS, deep, central },
    hours: (from, to) => reader.ask("usageHours", "central", from, to),
    within: (from, to, after, limit) => reader.ask("usageWithin", from, to, after, limit),
    at: (sequences) => reader.ask("outboxAt", "usage", sequences),
    spans: () => reader.ask("eventSpans"),
    purged: (records) => reader.ask("purgedAmong", records),
    asides: () => reader.ask("sinkAsides", { sink: "central", state: null, after: null, limit: 100 }),
    position: state.streams[0]?.sequence ?? 0,
  });
}

const classes = ({ differences }: ReconcileReport) => differences.map((each) => `${each.sequence} ${each.class}`);
const NONE = { missing: 0, duplicate: 0, late: 0, value_mismatch: 0, incompatible: 0 };

afterEach(stopAll);

test("a collector cannot be asked: what it has not acknowledged, refused or may have is named all the same", async () => {
  const stage = await collectorStage();
  const expected = await settle(stage.journal, 4);
  stage.sink.manner = (batch, response, take) => {
    if (ids(batch).includes(expected[1] ?? "")) return answer(422)(batch, response, take);
    take();
    response.writeHead(202).end();
  };
  const running = await stage.start();
  await running.flush();
  await settle(stage.journal, 1);
  const report = await compare(stage, null);
  expect(report).toMatchObject({ comparable: false, counts: { ...NONE, incompatible: 1, late: 1 } });
  expect(classes(report)).toEqual(["2 incompatible", "5 late"]);
  expect(report.hours).toMatchObject([{ local: { events: 5 }, acknowledged: { events: 3 }, central: null }]);
});

describe.skipIf(withoutPostgres)("against the central ledger", () => {
  let server: PostgresServer;
  let url: string;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  beforeEach(async () => {
    url = await server.database();
  });
  afterAll(() => server.close());

  async function filled(count = 6) {
    const stage = await ledgerStage(url);
    await settle(stage.journal, count);
    writeCheckpoint(stage.dir, stage.journal.source, count - 1);
    const running = await stage.start();
    await running.flush();
    return { ...stage, running, central: await stage.ledger() };
  }

  test("nothing differs where everything has arrived, hour by hour and event by event", async () => {
    const stage = await filled();
    const report = await compare(stage, stage.central, true);
    expect(report).toMatchObject({ comparable: true, counts: NONE, differences: [] });
    expect(report.hours).toMatchObject([
      { hour: "2026-11-23T10:00:00.000Z", local: { events: 6, tool_tokens: 720 }, central: { events: 6, tool_tokens: 720 } },
    ]);
  });

  test("each difference has its class: gone, changed, not yet sent, and of nobody's", async () => {
    const stage = await filled();
    await forge(url, "DELETE FROM tollgate_event WHERE sequence = 2");
    await ask(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,tool_tokens}', '9') WHERE sequence = 3");
    await ask(url, "UPDATE tollgate_event SET time = time + interval '3 hours' WHERE sequence = 4");
    await ask(
      url,
      `INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data)
       SELECT gateway, 99, id || 'x', type, time, subject, record, data FROM tollgate_event WHERE sequence = 1`,
    );
    await settle(stage.journal, 1);
    const report = await compare(stage, stage.central);
    expect(classes(report)).toEqual(["2 missing", "3 value_mismatch", "4 value_mismatch", "7 late", "99 duplicate"]);
    expect(report.differences.find(({ sequence }) => sequence === 3)?.detail).toBe("the ledger differs in data");
  });

  test("an event that the ledger holds twice, because its keys are gone, is a duplicate", async () => {
    const stage = await filled();
    await forge(url, "ALTER TABLE tollgate_event DROP CONSTRAINT tollgate_event_pkey; DROP INDEX tollgate_event_by_id");
    await ask(url, "INSERT INTO tollgate_event SELECT * FROM tollgate_event WHERE sequence = 5");
    expect(classes(await compare(stage, stage.central))).toEqual(["5 duplicate"]);
  });

  test("what is changed without changing a sum is found where every event is compared", async () => {
    const stage = await filled();
    await forge(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{team}', '\"sales\"') WHERE sequence = 3");
    expect(classes(await compare(stage, stage.central))).toEqual([]);
    expect(classes(await compare(stage, stage.central, true))).toEqual(["3 value_mismatch"]);
  });

  test("an amount on any meter that was changed is found by the sums: reported, corrected, an outcome's", async () => {
    const stage = await filled(1);
    const [event] = await report(stage.journal, "r", 10, 20);
    await correct(stage.journal, event ?? "", "llm_tokens", -3);
    await stage.running.flush();
    const clean = await compare(stage, stage.central);
    expect([classes(clean), clean.hours[0]?.local.meters]).toEqual([[], expect.objectContaining({ calls: 1, llm_tokens: 27 })]);
    expect(clean.hours[0]?.central).toEqual(clean.hours[0]?.local);
    await forge(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,llm_tokens}', '9') WHERE sequence = 2");
    expect(classes(await compare(stage, stage.central))).toEqual(["2 value_mismatch"]);
    await ask(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,llm_tokens}', '10') WHERE sequence = 2");
    await ask(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,outcomes}', '{\"solved\": 1}') WHERE sequence = 1");
    expect(classes(await compare(stage, stage.central))).toEqual(["1 value_mismatch"]);
  });

  test("after a restored backup each event is looked for under the id that it was numbered under", async () => {
    const parent = await filled(3);
    const backup = backUp(parent.dir);
    await settle(parent.journal, 2);
    await parent.running.flush();
    const child = await ledgerStage(url, restore(backup));
    await settle(child.journal, 2);
    await (await child.start()).flush();
    const report = await compare(child, parent.central, true);
    expect(report).toMatchObject({ counts: NONE, hours: [{ local: { events: 5 }, central: { events: 5 } }] });
    await forge(url, `DELETE FROM tollgate_event WHERE gateway = '${parent.journal.source}' AND sequence = 2`);
    await ask(
      url,
      `INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data)
       SELECT '${child.journal.source}', 1, id, type, time, subject, record, data FROM tollgate_event WHERE sequence = 1`,
    );
    expect(classes(await compare(child, parent.central, true))).toEqual(["2 missing", "1 duplicate"]);
  });

  test("a purge is no difference: what it has left of an event is compared, the names that it took are not", async () => {
    const stage = await filled(2);
    await report(stage.journal, "r", 10, 20);
    await stage.running.flush();
    await purgeAll(stage.journal, [0, 2]);
    expect(classes(await compare(stage, stage.central, true))).toEqual([]);
    await forge(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,llm_tokens}', '9') WHERE sequence = 4");
    await ask(url, "UPDATE tollgate_event SET data = jsonb_set(data, '{agent}', '\"x\"') WHERE sequence IN (1, 2)");
    expect(classes(await compare(stage, stage.central, true))).toEqual(["2 value_mismatch", "4 value_mismatch"]);
  });

  test("the ledger proves by itself that records, events and checkpoints belong together", async () => {
    const stage = await filled();
    const [verdict] = await auditLedger(stage.central, null);
    expect(verdict).toMatchObject({
      gateway: stage.journal.source,
      ok: true,
      records: 6,
      events: 6,
      checkpoints: 1,
      covered: 5,
      problems: [],
    });
    expect(verdict?.root).toBe((await stage.reader.ask("root")).root);
  });

  test.each([
    [
      "a record that was changed",
      "UPDATE tollgate_record SET body = replace(body, 'tickets', 'tuckets') WHERE sequence = 2",
      "record 2 is not what its leaf says",
    ],
    [
      "a record that was changed together with its leaf",
      "UPDATE tollgate_record SET body = replace(body, 'tickets', 'tuckets') WHERE sequence = 2; UPDATE tollgate_record SET leaf = sha256('\\x00'::bytea || body::bytea) WHERE sequence = 2",
      "checkpoint 5: the records do not come to its root",
    ],
    ["a record that is gone", "DELETE FROM tollgate_record WHERE sequence = 1", "records 1 to 1 are missing"],
    ["the last records cut off", "DELETE FROM tollgate_record WHERE sequence >= 3", "checkpoint 5: only 3 records are there"],
    ["an event that is gone", "DELETE FROM tollgate_event WHERE sequence = 2", "events 2 to 2 are missing"],
    ["an event that was changed", "UPDATE tollgate_event SET subject = 'other' WHERE sequence = 4", "is not what record 3 says was billed"],
    [
      "an event that was made up",
      "INSERT INTO tollgate_event (gateway, sequence, id, type, time, subject, record, data) SELECT gateway, 7, 'x', type, time, subject, 1, data FROM tollgate_event WHERE sequence = 2",
      "event 7 stands in no record",
    ],
    [
      "a checkpoint whose note tells of another root",
      "UPDATE tollgate_checkpoint SET note = replace(note, '5', '4')",
      "its note tells of another log",
    ],
  ])("%s is found", async (_, sql, problem) => {
    const stage = await filled();
    await forge(url, sql);
    const [verdict] = await auditLedger(stage.central, null);
    expect(verdict?.ok).toBe(false);
    expect(verdict?.problems).toContainEqual(expect.stringContaining(problem));
  });
});
