import { expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { holdLine, NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, query, tamper } from "./journal-fixture.ts";

const HELD = { calls: 1, tool_tokens: 2000, input_tokens: 0, output_tokens: 0, bytes_in: 0, bytes_out: 210, duration_ms: 12 };

test("each call that a stop left open becomes exactly one outcome: fate unknown, charged as held", async () => {
  const dir = newFolder();
  const first = await open(dir);
  const settled = newCallId();
  await first.permit(permitEntry(settled));
  await first.settle(settlementEntry(settled, 120));
  const left = Array.from({ length: 3 }, newCallId);
  await Promise.all(left.map((callId) => first.permit(permitEntry(callId))));
  await first.close();

  const second = await open(dir);
  expect(second.recovered).toBe(3);
  expect(second.repaired).toBe(0);
  expect(second.balances.map(({ budget, committed, held, debt }) => ({ budget, committed, held, debt }))).toEqual([
    { budget: "support-month", committed: 4, held: 0, debt: 0 },
    { budget: "tokens-month", committed: 120 + 3 * 2000, held: 0, debt: 0 },
  ]);
  await second.close();
  const rows = query(journalFile(dir), "SELECT body FROM audit_record WHERE body ->> '$.settlement' = 'unknown'") as { body: string }[];
  expect(rows.map(({ body }) => JSON.parse(body).call_id).sort()).toEqual([...left].sort());
  for (const { body } of rows) expect(JSON.parse(body)).toMatchObject({ outcome: "unknown", decision: "permit", usage: null });
  expect(
    query(
      journalFile(dir),
      "SELECT count(*) AS n FROM usage_event AS e JOIN usage_attributes AS a ON a.id = e.attributes WHERE a.data ->> '$.provisional' = 1",
    ),
  ).toEqual([{ n: 3 }]);
  expect(
    query(
      journalFile(dir),
      `SELECT DISTINCT calls, tool_tokens, input_tokens, output_tokens, bytes_in, bytes_out, duration_ms, a.data
       FROM usage_event AS e JOIN usage_attributes AS a ON a.id = e.attributes WHERE a.data ->> '$.provisional' = 1`,
    ),
  ).toEqual([{ ...HELD, data: expect.stringContaining('"token_source":"held"') }]);
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 4 });

  const third = await open(dir);
  expect([third.recovered, third.repaired]).toEqual([0, 0]);
  await third.close();
});

test("more open calls than one transaction takes are all recovered", async () => {
  const dir = newFolder();
  const first = await open(dir);
  await Promise.all(Array.from({ length: 1_201 }, () => first.permit(permitEntry(newCallId()))));
  await first.close();
  const second = await open(dir);
  expect(second.recovered).toBe(1_201);
  await second.close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 1_201 });
});

test("a balance that is not what its lines say is set right at start, and that is recorded", async () => {
  const dir = newFolder();
  const first = await open(dir);
  const callId = newCallId();
  await first.permit(permitEntry(callId));
  await first.settle(settlementEntry(callId, 120));
  await first.close();
  tamper(journalFile(dir), (raw) => raw.exec("UPDATE balance SET committed = 7, debt = 3 WHERE budget = 'tokens-month'"));
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: false });
  const second = await open(dir);
  expect(second.repaired).toBe(1);
  expect(second.balances.find((each) => each.budget === "tokens-month")).toMatchObject({ committed: 120, debt: 0 });
  await second.close();
  expect(
    query(journalFile(dir), "SELECT body ->> '$.details.repaired_balances' AS n FROM audit_record WHERE kind = 'gateway.recovered'"),
  ).toEqual([{ n: 1 }]);
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true });
});

test("the ledger goes on from windows that have not ended by any clock, and from totals; windows that ended an hour ago stay on disk only", async () => {
  const dir = newFolder();
  const first = await open(dir);
  const callId = newCallId();
  const lines = [
    holdLine("ended", "", "calls", 1, NOW_MS - 3_600_000),
    holdLine("just-now", "", "calls", 1, NOW_MS - 3_599_999),
    holdLine("open", "", "calls", 1, NOW_MS + 1),
    holdLine("total", "", "calls", 1, null),
  ];
  await first.permit(permitEntry(callId, lines));
  await first.settle(settlementEntry(callId, 1, "posted", lines));
  await first.close();
  const second = await open(dir);
  expect(second.balances.map((each) => each.budget)).toEqual(["just-now", "open", "total"]);
  await second.close();
  expect(query(journalFile(dir), "SELECT budget FROM balance ORDER BY budget")).toHaveLength(4);
});

test("a start refuses a log whose end does not hold together, and leaves the file as it is", async () => {
  const dir = newFolder();
  const first = await open(dir);
  for (let i = 0; i < 300; i++) void first.append(settlementEntry(newCallId(), 1, "voided").audit);
  await first.close();
  tamper(journalFile(dir), (raw) =>
    raw.exec("UPDATE audit_record SET body = replace(body, 'support-bot', 'support-bat') WHERE sequence = 299"),
  );
  await expect(open(dir)).rejects.toThrow("record 299 is not what its leaf says");
  tamper(journalFile(dir), (raw) => raw.exec("DELETE FROM audit_record WHERE sequence = 270"));
  await expect(open(dir)).rejects.toThrow("records are missing");
  expect(query(journalFile(dir), "SELECT count(*) AS n FROM audit_record")).toEqual([{ n: 299 }]);
});

test("balances of windows that ended before the start can be read later, page by page, each once", async () => {
  const dir = newFolder();
  await (await open(dir)).close();
  // One window a minute, of which the start reads none.
  tamper(journalFile(dir), (raw) =>
    raw.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000)
      INSERT INTO balance (budget, scope, window_start, window_end, committed) SELECT 'b', '', i * 60000, (i + 1) * 60000, i FROM n`),
  );
  const journal = await open(dir);
  expect(journal.balances).toEqual([]);
  const found: number[] = [];
  let pages = 0;
  for (let after: number | null = 0; after !== null; pages++) {
    const page: { balances: readonly { committed: number }[]; next: number | null } = await journal.run(
      "balancesEnding",
      10_001 * 60_000,
      45_000 * 60_000,
      after,
    );
    found.push(...page.balances.map(({ committed }) => committed));
    after = page.next;
  }
  await journal.close();
  expect(pages).toBeGreaterThan(2);
  expect(found).toEqual(Array.from({ length: 34_999 }, (_, i) => i + 10_001));
});
