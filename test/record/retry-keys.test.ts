import { afterAll, describe, expect, test } from "vitest";
import type { OpenJournal } from "../../src/call/record/journal-client.ts";
import { createJournalKeys } from "../../src/call/record/journal-keys.ts";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import { dropAllKeys } from "../../src/retries.ts";
import { newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { journalFile, newFolder, open, query } from "./journal-fixture.ts";
import { claimOf, describeRetryKeys, type KeyStage } from "./retry-keys-contract.ts";

type Parts = { readonly journal: OpenJournal; readonly reader: Reader };
const opened = new Set<Parts>();

const close = async (parts: Parts) => {
  opened.delete(parts);
  await Promise.all([parts.journal.close(), parts.reader.close()]);
};
const openParts = async (dir: string): Promise<Parts> => {
  const parts = { journal: await open(dir), reader: openReaderThread(dir) };
  opened.add(parts);
  return parts;
};

afterAll(async () => {
  for (const parts of opened) await close(parts);
});

async function stageIn(dir: string): Promise<KeyStage> {
  let parts = await openParts(dir);
  const keysOf = ({ reader }: Parts) => createJournalKeys((key, atMs) => reader.ask("retryKey", key, atMs));
  const stage = {
    keys: keysOf(parts),
    permit: (claim) => parts.journal.permit({ ...permitEntry(claim.callId), key: claim }),
    async settle({ callId, key }, ending) {
      const state = ending.state === "free" ? "voided" : "posted";
      await parts.journal.settle({ ...settlementEntry(callId, 120, state), key: { key, ...ending } });
    },
    async crash() {
      // Whatever is open stays open: a journal that is closed settles nothing.
      await close(parts);
      parts = await openParts(dir);
      stage.keys = keysOf(parts);
    },
    drop: (which) => dropAllKeys(parts.journal, which),
  } as { -readonly [Name in keyof KeyStage]: KeyStage[Name] };
  return stage;
}

describe("the keys of one gateway, in its journal", () => {
  // One file for all: each promise has keys of its own.
  let shared: Promise<KeyStage> | null = null;
  describeRetryKeys(() => {
    shared ??= stageIn(newFolder());
    return shared;
  });

  test("a second permit under one key is never written, whoever asks for it; what stands beside it is", async () => {
    const dir = newFolder();
    const { journal } = await openParts(dir);
    const claim = claimOf();
    await journal.permit({ ...permitEntry(claim.callId), key: claim });
    const [twice, beside] = [newCallId(), newCallId()];
    const both = await Promise.allSettled([
      journal.permit({ ...permitEntry(twice), key: { ...claim, callId: twice } }),
      journal.permit(permitEntry(beside)),
    ]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(query(journalFile(dir), "SELECT call_id FROM open_call ORDER BY call_id")).toEqual(
      [claim.callId, beside].sort().map((call_id) => ({ call_id })),
    );
    const many = Array.from({ length: 450 }, () => claimOf());
    await Promise.all(many.map((each) => journal.permit({ ...permitEntry(each.callId), key: each })));
    // More than one transaction takes.
    await dropAllKeys(journal, { agent: claim.agent });
    expect(query(journalFile(dir), "SELECT count(*) AS n FROM retry_key")).toEqual([{ n: 0 }]);
  });
});
