import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { auditLedger } from "../../src/ledger-audit.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { backUp, correct, purgeAll, report, restore } from "./books-of-life.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { forge, ledgerStage } from "./ledger.ts";
import { settle, stopAll } from "./stage.ts";

describe.skipIf(withoutPostgres)("an audit of the central ledger", () => {
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

  async function problems(only: string | null = null) {
    const stage = await ledgerStage(url);
    return (await auditLedger(await stage.ledger(), only)).flatMap((verdict) => verdict.problems);
  }
  const complaint = (words: string) => expect.arrayContaining([expect.stringContaining(words)]);

  /** Two calls, a batch of three reports, a correction, a call: records 0 to 4, events 1 to 7. */
  async function reported() {
    const stage = await ledgerStage(url);
    const [first] = await settle(stage.journal, 2);
    await report(stage.journal, "r", 10, 20, 30);
    await correct(stage.journal, first ?? "", "tool_tokens", -5);
    await settle(stage.journal, 1);
    writeCheckpoint(stage.dir, stage.journal.source, 5);
    const running = await stage.start();
    await running.flush();
    return { ...stage, running };
  }

  test("reported events are held against the root of their batch, corrections against their digest", async () => {
    await reported();
    const stage = await ledgerStage(url);
    expect(await auditLedger(await stage.ledger(), null)).toMatchObject([{ ok: true, records: 5, events: 7, problems: [] }]);
  });

  test.each([
    [
      "an amount in a batch",
      "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,llm_tokens}', '9') WHERE sequence = 4",
      "events 3 to 5",
    ],
    [
      "the order of a batch",
      "UPDATE tollgate_event SET sequence = 99 WHERE sequence = 3; UPDATE tollgate_event SET sequence = 3 WHERE sequence = 4; UPDATE tollgate_event SET sequence = 4 WHERE sequence = 99",
      "events 3 to 5",
    ],
    [
      "an amount of a correction",
      "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,tool_tokens}', '-6') WHERE sequence = 6",
      "event 6",
    ],
    ["a second event of a call", "UPDATE tollgate_event SET record = 1 WHERE sequence = 3", "event 3"],
  ])("%s that was changed is found", async (_, sql, words) => {
    await reported();
    await forge(url, sql);
    expect(await problems()).toEqual(complaint(words));
  });

  test("a batch of which a part has not arrived yet is no finding", async () => {
    const stage = await ledgerStage(url);
    await report(stage.journal, "r", 10, 20, 30);
    await (await stage.start()).flush();
    await forge(url, "DELETE FROM tollgate_event WHERE sequence = 3");
    expect(await problems()).toEqual([]);
  });

  /** Five records, a backup, one more that only the parent has; then twice restored, each with a checkpoint over all of it. */
  async function restoredTwice() {
    const parent = await ledgerStage(url);
    await settle(parent.journal, 4);
    await report(parent.journal, "p", 1, 2);
    writeCheckpoint(parent.dir, parent.journal.source, 5);
    await (await parent.start()).flush();
    const backup = backUp(parent.dir);
    await settle(parent.journal, 1);
    writeCheckpoint(parent.dir, parent.journal.source, 6);
    await (await parent.start()).flush();
    const child = await ledgerStage(url, restore(backup));
    await settle(child.journal, 2);
    writeCheckpoint(child.dir, child.journal.source, 8);
    await (await child.start()).flush();
    const grandchild = await ledgerStage(url, restore(backUp(child.dir)));
    await settle(grandchild.journal, 1);
    writeCheckpoint(grandchild.dir, grandchild.journal.source, 10);
    await (await grandchild.start()).flush();
    return { parent: parent.journal.source, child: child.journal.source, grandchild: grandchild.journal.source, stage: grandchild };
  }

  test("a log goes on under a new id after a restored backup, and the log before may have gone on as well", async () => {
    const { parent, child, grandchild, stage } = await restoredTwice();
    const verdicts = await auditLedger(await stage.ledger(), null);
    expect(verdicts.flatMap((verdict) => verdict.problems)).toEqual([]);
    const of = new Map(verdicts.map((verdict) => [verdict.gateway, verdict]));
    expect(of.get(parent)).toMatchObject({ records: 6, events: 7, covered: 6, parent: null });
    expect(of.get(child)).toMatchObject({ records: 8, events: 2, covered: 8, parent: { gateway: parent, records: 5 } });
    expect(of.get(grandchild)).toMatchObject({ records: 10, events: 1, covered: 10, parent: { gateway: child, records: 8 } });
    expect(of.get(grandchild)?.root).toBe((await stage.reader.ask("root")).root);
  });

  test("what was changed or cut before the backup is found in the log that goes on from it", async () => {
    const { parent, child, grandchild } = await restoredTwice();
    await forge(url, `DELETE FROM tollgate_event WHERE gateway = '${child}' AND sequence = 7`);
    expect(await problems(child)).toEqual(["events 7 to 7 are missing"]);
    await forge(url, `UPDATE tollgate_record SET body = replace(body, 'tickets', 'tuckets') WHERE gateway = '${parent}' AND sequence = 1`);
    expect(await problems(grandchild)).toEqual(complaint("checkpoint 10: the records do not come to its root"));
    await forge(url, `DELETE FROM tollgate_record WHERE gateway = '${parent}' AND sequence = 2`);
    expect(await problems(child)).toEqual(complaint(`records 2 to 2 of ${parent}, which it continues, are missing`));
  });

  /** Purged before a ledger has heard of it. */
  async function purged() {
    const stage = await ledgerStage(url);
    await settle(stage.journal, 3);
    await report(stage.journal, "r", 10, 20);
    await purgeAll(stage.journal, [1, 2, 3]);
    writeCheckpoint(stage.dir, stage.journal.source, 5);
    await (await stage.start()).flush();
    return stage;
  }

  test("a purged record counts with its leaf where a tombstone names it, and its events are counted", async () => {
    const stage = await purged();
    expect(await auditLedger(await stage.ledger(), null)).toMatchObject([{ ok: true, records: 5, events: 5, covered: 5, problems: [] }]);
  });

  test("a body that was taken away, and a leaf of a purged record that was changed, are found", async () => {
    await purged();
    await forge(url, "UPDATE tollgate_record SET body = '{}' WHERE sequence = 0");
    expect(await problems()).toEqual(["record 0 is empty, and no record here tells of a purge of it"]);
    await forge(url, "UPDATE tollgate_record SET leaf = sha256('x') WHERE sequence = 1");
    expect(await problems()).toEqual(complaint("checkpoint 5: the records do not come to its root"));
  });

  test("what a restored gateway has purged of the log before it is known as purged there", async () => {
    const parent = await ledgerStage(url);
    await settle(parent.journal, 3);
    const child = await ledgerStage(url, restore(backUp(parent.dir)));
    await settle(child.journal, 2);
    await purgeAll(child.journal, [1, 2, 4]);
    writeCheckpoint(child.dir, child.journal.source, 6);
    await (await child.start()).flush();
    expect(await problems()).toEqual([]);
  });
});
