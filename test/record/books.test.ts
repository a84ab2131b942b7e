import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digestOf } from "../../src/call/record/digest.ts";
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import { leafHash, verifyInclusion } from "../../src/call/record/merkle.ts";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import { auditOf, NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { newFolder, open } from "./journal-fixture.ts";

const dir = newFolder();
const calls = Array.from({ length: 20 }, newCallId);
let journal: OpenJournal;
let reader: Reader;

beforeAll(async () => {
  journal = await open(dir);
  for (const [i, callId] of calls.entries()) {
    await journal.permit(permitEntry(callId));
    const entry = settlementEntry(callId, 100 + i, i < 3 ? "unknown" : "posted");
    if (entry.usage === null) throw new Error("a settled call is billed");
    const team = i % 2 === 0 ? "support" : "finance";
    const time = new Date(NOW_MS + i * 3_600_000).toISOString();
    await journal.settle({ ...entry, usage: { ...entry.usage, time, data: { ...entry.usage.data, team } } });
  }
  await journal.append({ ...auditOf(null, [], null, 0), kind: "config.loaded" });
  reader = openReaderThread(dir);
});
afterAll(async () => {
  await reader.close();
  await journal.close();
});

test("usage is summed by the dimensions asked for, in their order, within a half-open time", async () => {
  const all = await reader.ask("usage", { by: [], since: null, until: null });
  expect(all.rows).toMatchObject([{ calls: 20, tool_tokens: 2_190, events: 20, provisional: 3 }]);
  const byTeam = await reader.ask("usage", { by: ["team", "agent"], since: null, until: null });
  expect(byTeam.rows).toMatchObject([
    { team: "finance", agent: "support-bot", calls: 10, tool_tokens: 1_100, events: 10, provisional: 1 },
    { team: "support", agent: "support-bot", calls: 10, tool_tokens: 1_090, events: 10, provisional: 2 },
  ]);
  const byDay = await reader.ask("usage", { by: ["day", "outcome"], since: null, until: null });
  expect(byDay.rows.map(({ day, outcome, calls }) => [day, outcome, calls])).toEqual([
    ["2026-11-23", "ok", 11],
    ["2026-11-23", "unknown", 3],
    ["2026-11-24", "ok", 6],
  ]);
  const hour = { since: "2026-11-23T11:00:00.000Z", until: "2026-11-23T12:00:00.000Z" };
  expect((await reader.ask("usage", { by: ["customer"], ...hour })).rows).toMatchObject([{ customer: "acme", calls: 1, tool_tokens: 101 }]);
});

test("only names of the list become SQL", async () => {
  const by = ["agent", "1; DROP TABLE audit_record; --"] as unknown as ["agent"];
  expect((await reader.ask("usage", { by, since: null, until: null })).rows).toMatchObject([{ agent: "support-bot", calls: 20 }]);
  await expect(reader.ask("usage", { by: [], since: "yesterday", until: null })).rejects.toThrow("not a time");
});

test("records come oldest first: the newest, or those beyond a sequence number", async () => {
  expect((await reader.ask("tail", 3, null)).map((record) => record.sequence)).toEqual([18, 19, 20]);
  expect((await reader.ask("tail", 3, 4)).map((record) => record.sequence)).toEqual([5, 6, 7]);
  expect(await reader.ask("tail", 3, 20)).toEqual([]);
});

test("a record is shown by its call or its number, with a proof that anyone can check", async () => {
  const { size, root } = await reader.ask("root");
  const found = await reader.ask("record", calls[7] ?? "");
  expect(found?.record).toMatchObject({ call_id: calls[7], sequence: 7, usage: { calls: 1, tool_tokens: 107 } });
  expect(await reader.ask("record", "7")).toEqual(found);
  const { leaf, leaf_index, tree_size, hashes } = found?.proof ?? { leaf: "", leaf_index: 0, tree_size: 0, hashes: [] };
  expect([leaf_index, tree_size]).toEqual([7, size]);
  const { default: canonicalize } = await import("canonicalize");
  expect(leafHash(Buffer.from(canonicalize(found?.record) ?? "")).toString("hex")).toBe(leaf);
  expect(
    verifyInclusion(
      Buffer.from(leaf, "hex"),
      7,
      size,
      hashes.map((hash) => Buffer.from(hash, "hex")),
      Buffer.from(root, "hex"),
    ),
  ).toBe(true);
  expect(await reader.ask("record", "call_unknown")).toBeNull();
  expect(await reader.ask("record", "999")).toBeNull();
});

test("events come back as they were handed over, and a sink's position survives with what it refused", async () => {
  const [first, second] = await reader.ask("eventsAfter", 0, 2);
  const handed = settlementEntry(calls[0] ?? newCallId(), 100, "unknown").usage;
  expect(first).toEqual({ ...handed, sequence: 1, record: 0, time: new Date(NOW_MS).toISOString() });
  expect(second).toMatchObject({ sequence: 2, data: { team: "finance", logical_call_id: calls[1] } });
  expect(await reader.ask("sinkState", "s", ["usage"])).toMatchObject({ streams: [{ sequence: 0, pending: 20 }], aside: { refused: 0 } });
  const facts = { status: 400, reason: "bad", atMs: 1, tries: 1, nextMs: null, attemptMs: null };
  const aside = [{ stream: "usage" as const, sequence: 11, state: "refused" as const, ...facts }];
  await journal.run("moveSink", { sink: "s", stream: "usage", sequence: 12, aside, next: null });
  await journal.run("moveSink", { sink: "s", stream: "usage", sequence: 5, aside: [], next: null });
  expect(await reader.ask("sinkState", "s", ["usage"])).toMatchObject({ streams: [{ sequence: 12, pending: 8 }], aside: { refused: 1 } });
});

test("a closed reader answers nobody, and says so", async () => {
  const other = openReaderThread(dir);
  await other.ask("root");
  await other.close();
  await expect(other.ask("root")).rejects.toThrow("closed");
});

test("a digest tells the size and the key apart, never the bytes", () => {
  const [a, b] = [createSecretKey(Buffer.from("key a")), createSecretKey(Buffer.from("key b"))];
  const digest = digestOf(Buffer.from("arguments"), a);
  expect(digest).toEqual({ hmac: expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/), bytes: 9 });
  expect(digestOf(Buffer.from("arguments"), b).hmac).not.toBe(digest.hmac);
});

test.each([0, 1, 55, 56, 63, 64, 65, 4_095, 4_096, 4_097, 100_000])(
  "%s bytes are digested by HMAC-SHA-256, whatever its path",
  (length) => {
    for (const keyLength of [0, 1, 32, 63, 64]) {
      const [bytes, secret] = [randomBytes(length), randomBytes(keyLength)];
      const key = createSecretKey(secret);
      for (let turn = 0; turn < 2; turn++)
        expect(digestOf(bytes, key).hmac).toBe(`hmac-sha256:${createHmac("sha256", secret).update(bytes).digest("hex")}`);
    }
  },
);
