import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { auditOfAct, blankRecord } from "../../src/call/record/compose.ts";
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import type { LegalHold } from "../../src/call/record/legal-hold.ts";
import { leafHash } from "../../src/call/record/merkle.ts";
import { eventsLeft, PURGE_MAX, rangesIn, rangesText } from "../../src/call/record/purge.ts";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import { csvLine } from "../../src/call/record/record-csv.ts";
import { bodyOf, recordRow } from "../../src/call/record/rows.ts";
import { verifierIn } from "../../src/call/record/signed-note.ts";
import { openReader } from "../../src/call/record/store.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { auditOf, NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, query, SOURCE, tamper } from "./journal-fixture.ts";

const LATER_MS = NOW_MS + 3_600_000;
const open_: { journal: OpenJournal; reader: Reader }[] = [];
afterEach(async () => {
  for (const { journal, reader } of open_.splice(0)) {
    await reader.close();
    await journal.close();
  }
});

/** `calls` settled calls of one agent, all at NOW_MS. */
async function withCalls(calls: number) {
  const dir = newFolder();
  const journal = await open(dir);
  for (let i = 0; i < calls; i++) {
    const callId = newCallId();
    await journal.permit(permitEntry(callId));
    await journal.settle(settlementEntry(callId, 100 + i));
  }
  const reader = openReaderThread(dir);
  open_.push({ journal, reader });
  const purge = async (beforeMs: number) => {
    const { sequences } = await reader.ask("purgeable", { from: 0, beforeMs, of: null, sinks: ["central"] });
    return await journal.run("purge", { sequences: sequences.slice(0, PURGE_MAX), beforeMs, record: tombstone() });
  };
  return { dir, journal, reader, purge, file: journalFile(dir) };
}

function tombstone() {
  return auditOfAct("records.purged", "gateway", { cause: "retention" }, { now: () => LATER_MS, configVersion: () => "c" });
}

const hold = (more: Partial<LegalHold> = {}): LegalHold => ({
  ...{ name: "case-12", customer: null, agent: null, since_ms: null, until_ms: null },
  ...{ reason: "claim", placed_ms: NOW_MS, placed_by: "counsel", ...more },
});

test("what is purged has no words left; leaves, sums, numbers and the proofs of all others stay", async () => {
  const { reader, purge, file } = await withCalls(300);
  const before = {
    root: await reader.ask("root"),
    usage: await reader.ask("usage", { by: ["customer", "server", "day"], since: null, until: null }),
  };
  const kept = await reader.ask("record", "299");
  expect(await purge(LATER_MS)).toBe(250);
  expect(query(file, "SELECT count(*) AS n FROM audit_record WHERE body = '{}'")).toEqual([{ n: 250 }]);
  expect(await reader.ask("record", "0")).toBeNull();
  expect(await Promise.all(["0", "299", "9999"].map((wanted) => reader.ask("isPurged", wanted)))).toEqual([true, false, false]);
  expect(await reader.ask("usage", { by: ["customer", "server", "day"], since: null, until: null })).toEqual(before.usage);
  expect((await reader.ask("record", "299"))?.record).toEqual(kept?.record);
  expect(await reader.ask("eventsAfter", 0, 1)).toMatchObject([
    { sequence: 1, data: { agent: "", agent_id: "", quantity: { tool_tokens: 100 } } },
  ]);
  // The tombstone is one more leaf, and nothing else has changed.
  expect((await reader.ask("root")).size).toBe(before.root.size + 1);
  expect(await verifyLog(file)).toMatchObject({ ok: true, size: 301 });
});

test("after a purge no name of the agent is left in the file, and its pages are used again", async () => {
  const { journal, purge, file } = await withCalls(250);
  const pages = () =>
    (
      query(file, "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count) AS n")[0] as {
        n: number;
      }
    ).n;
  const before = pages();
  expect(await purge(LATER_MS)).toBe(250);
  await journal.run("dropUnusedAttributes");
  expect(JSON.stringify(query(file, "SELECT body FROM audit_record UNION ALL SELECT data FROM usage_attributes"))).not.toContain(
    "support-bot",
  );
  expect(pages()).toBeLessThan(before / 2);
});

test("a start, a further purge and the books of the rest go on after everything was purged", async () => {
  const { dir, journal, reader, purge } = await withCalls(20);
  expect(await purge(LATER_MS)).toBe(20);
  expect(await purge(LATER_MS)).toBe(0);
  expect(await reader.ask("tail", 10, null)).toMatchObject([{ kind: "records.purged", details: { records: 20, sequences: "0-19" } }]);
  expect(await reader.ask("calls", { sinceMs: 0, untilMs: null, from: null, agent: null, customer: null, borders: [] })).toMatchObject({
    groups: [],
  });
  await reader.close();
  await journal.close();
  open_.length = 0;
  await (await open(dir)).close();
  expect(await verifyLog(journalFile(dir))).toMatchObject({ ok: true, size: 21 });
});

test("a record that is too young stays, whoever names it", async () => {
  const { journal, file } = await withCalls(3);
  expect(await journal.run("purge", { sequences: [0, 1, 2], beforeMs: NOW_MS, record: tombstone() })).toBe(0);
  expect(query(file, "SELECT count(*) AS n FROM audit_record")).toEqual([{ n: 3 }]);
});

test("what a legal hold names stays until it is lifted; what it does not name goes", async () => {
  const { journal, reader, purge } = await withCalls(4);
  const act = blankRecord("hold.placed");
  expect(await journal.run("placeHold", hold({ customer: "acme" }), act)).toBe(true);
  expect(await journal.run("placeHold", hold(), act)).toBe(false);
  expect(await purge(LATER_MS)).toBe(0);
  expect((await reader.ask("retention")).holds).toMatchObject([{ name: "case-12", customer: "acme" }]);
  expect(await journal.run("liftHold", "case-12", blankRecord("hold.lifted"))).toBe(true);
  expect(await journal.run("liftHold", "case-12", blankRecord("hold.lifted"))).toBe(false);
  expect(await journal.run("placeHold", hold({ customer: "other", agent: "agt_x" }), act)).toBe(true);
  expect(await purge(LATER_MS)).toBe(4);
});

test("what a sink has not acknowledged stays until it has", async () => {
  const { journal, reader, purge } = await withCalls(6);
  await journal.run("openSink", { sink: "central", formerly: null, streams: ["usage", "records"], atPresent: false });
  expect(await purge(LATER_MS)).toBe(0);
  const page = await reader.ask("purgeable", { from: 0, beforeMs: LATER_MS, of: null, sinks: ["central"] });
  expect(page).toMatchObject({ sequences: [], kept: { young: 0, held: 0, unsent: 6 } });
  await journal.run("moveSink", { sink: "central", stream: "records", sequence: 5, aside: [], next: null });
  expect(await purge(LATER_MS)).toBe(0);
  await journal.run("moveSink", { sink: "central", stream: "usage", sequence: 4, aside: [], next: null });
  expect(await purge(LATER_MS)).toBe(4);
});

test("a hold of a time holds what ended in it", async () => {
  const { journal, purge } = await withCalls(2);
  await journal.run("placeHold", hold({ since_ms: NOW_MS - 1, until_ms: NOW_MS + 1 }), blankRecord("hold.placed"));
  expect(await purge(LATER_MS)).toBe(0);
  await journal.run("liftHold", "case-12", blankRecord("hold.lifted"));
  await journal.run("placeHold", hold({ since_ms: NOW_MS + 1 }), blankRecord("hold.placed"));
  expect(await purge(LATER_MS)).toBe(2);
});

test("a body that is gone without a tombstone, and a tombstone of what is not gone, are found", async () => {
  const { journal, reader, purge, file } = await withCalls(10);
  await purge(LATER_MS);
  const more = newCallId();
  await journal.permit(permitEntry(more));
  await journal.settle(settlementEntry(more, 5));
  await reader.close();
  await journal.close();
  open_.length = 0;
  expect(await verifyLog(file)).toMatchObject({ ok: true, size: 12 });
  tamper(file, (raw) => raw.exec("UPDATE audit_record SET body = '{}' WHERE sequence = 11"));
  expect(await verifyLog(file)).toMatchObject({ ok: false, first_bad: 11 });
});

test("numbers of purged events that are changed are found, and so is a purge that only the file tells of", async () => {
  const { dir, journal, reader, purge, file } = await withCalls(10);
  await purge(LATER_MS);
  const keyFile = `${dir}/log.key`;
  const signed = await journal.run("signLog", { keyFile, nowMs: LATER_MS });
  if (signed.kind === "refused") throw new Error(signed.why);
  const outside = { verifier: verifierIn(signed.key), checkpoints: [] };
  const more = newCallId();
  await journal.permit(permitEntry(more));
  await journal.settle(settlementEntry(more, 5));
  await reader.close();
  await journal.close();
  open_.length = 0;
  expect(await verifyLog(file, { outside })).toMatchObject({ ok: true });
  const bytes = readFileSync(file);
  tamper(file, (raw) => raw.exec("UPDATE usage_event SET tool_tokens = 1 WHERE sequence = 3"));
  expect(await verifyLog(file, { outside })).toMatchObject({ ok: false, first_bad: 10 });

  // Everything fits but for the signature: a record was added that tells of a purge, and names one that was signed whole.
  writeFileSync(file, bytes);
  tamper(file, (raw) => {
    const forged = tombstoneText(file, 11, 12, SOURCE);
    raw.exec("UPDATE audit_record SET body = '{}' WHERE sequence = 11");
    raw.prepare("INSERT INTO audit_record VALUES (12, 'records.purged', NULL, ?, ?)").run(leafHash(Buffer.from(forged)), forged);
  });
  expect(await verifyLog(file)).toMatchObject({ ok: true });
  expect(await verifyLog(file, { outside })).toMatchObject({
    ok: false,
    problems: [expect.stringContaining("no signed checkpoint covers it")],
  });
});

/** What somebody who can write to the file would add. */
function tombstoneText(file: string, purged: number, sequence: number, source: string): string {
  const store = openReader(file);
  const details = { cause: "retention", records: 1, sequences: String(purged), ...eventsLeft(store, String(purged)) };
  store.close();
  return bodyOf(recordRow({ ...tombstone(), details }, source), sequence);
}

test("after a purge an event is counted for whom it belongs to, whatever numbers attributes get again", async () => {
  const { journal, reader, purge } = await withCalls(1);
  const settle = async (customer: string) => {
    const callId = newCallId();
    const entry = settlementEntry(callId, 7);
    if (entry.usage === null || entry.audit.agent === null) throw new Error("it is billed");
    const audit = { ...entry.audit, agent: { ...entry.audit.agent, customer, name: `${customer}-bot` } };
    await journal.permit(permitEntry(callId));
    await journal.settle({
      ...entry,
      audit,
      usage: { ...entry.usage, subject: customer, data: { ...entry.usage.data, agent: `${customer}-bot` } },
    });
  };
  const clear = async () => {
    await purge(LATER_MS);
    await journal.run("dropUnusedAttributes");
  };
  for (const customer of ["acme", "globex", "acme", "initech", "globex", "acme"]) {
    await settle(customer);
    await clear();
  }
  for (const customer of ["globex", "acme", "initech"]) await settle(customer);
  const { rows } = await reader.ask("usage", { by: ["customer", "agent"], since: null, until: null });
  const named = rows.filter(({ agent }) => agent !== "").map(({ customer, agent, calls }) => [customer, agent, calls]);
  expect(named).toEqual([
    ["acme", "acme-bot", 1],
    ["globex", "globex-bot", 1],
    ["initech", "initech-bot", 1],
  ]);
});

test("no statement purges outside of a purge", async () => {
  const { file } = await withCalls(1);
  const raw = new (await import("better-sqlite3")).default(file);
  expect(() => raw.exec("UPDATE audit_record SET body = '{}'")).toThrow("never changed");
  expect(() => raw.exec("DELETE FROM usage_attributes")).toThrow("never deleted");
  raw.close();
});

test.each([
  [[0, 1, 2, 5, 7, 8], "0-2,5,7-8"],
  [[4], "4"],
])("%j is written as %s, and read back", (numbers, text) => {
  expect(rangesText(numbers)).toBe(text);
  expect(rangesIn(text)?.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i))).toEqual(numbers);
  expect(rangesIn(`${text},x`)).toBeNull();
});

test("a cell that a spreadsheet would take for a formula is no formula, and one with commas and quotes is one cell", () => {
  const [, , , , , , , , , , , agent] = csvLine({
    ...auditOf(newCallId(), [], null, 0),
    sequence: 1,
    source: "gw",
    usage_event: null,
  }).split(",");
  expect(agent).toBe("support-bot");
  const record = {
    ...blankRecord("agent.created"),
    administrator: '=cmd|"x"',
    details: { a: 'b,"c"' },
    sequence: 2,
    source: "gw",
    usage_event: null,
  };
  const line = csvLine(record);
  expect(line).toContain(`,"'=cmd|""x""",`);
  expect(line).toContain(`"{""a"":""b,\\""c\\""""}"`);
});
