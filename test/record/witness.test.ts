import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import { type Checkpoints, openCheckpoints } from "../../src/checkpoints.ts";
import { createLog, createMetrics } from "../../src/observe.ts";
import { startWitness, type WitnessServer } from "../fixtures/witness.ts";
import { NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { newFolder, open } from "./journal-fixture.ts";

type Journal = Awaited<ReturnType<typeof open>>;
let [dir, witness, journal, reader]: [string, WitnessServer, Journal, Reader] = [] as never;
let checkpoints: Checkpoints | null = null;
const metrics = createMetrics();

beforeEach(async () => {
  dir = newFolder();
  witness = await startWitness();
  journal = await open(dir);
  reader = openReaderThread(dir);
});
afterEach(async () => {
  await checkpoints?.stop();
  checkpoints = null;
  await reader.close();
  await journal.close();
  await witness.close();
});

async function add(calls: number): Promise<void> {
  for (let i = 0; i < calls; i++) {
    const callId = newCallId();
    await journal.permit(permitEntry(callId));
    await journal.settle(settlementEntry(callId, i));
  }
}

/** Signs every 20 ms, so that the witness is asked again without anybody waiting a minute. */
async function start(key = witness.key): Promise<Checkpoints> {
  const signed = await journal.run("signLog", { keyFile: join(dir, "log.key"), nowMs: NOW_MS });
  if (signed.kind !== "refused") witness.logKey = signed.key;
  checkpoints = await openCheckpoints({
    config: { logKey: join(dir, "log.key"), checkpointEveryMs: 20, witness: { url: witness.url, key } },
    ...{ journal, reader, fetch, now: () => NOW_MS, log: createLog("silent") },
    metrics: { gauge: () => metrics },
  });
  return checkpoints;
}

const until = async (isSo: () => boolean | Promise<boolean>) => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
};

test("each checkpoint is cosigned, with a proof that it continues the last one, and the cosignature is kept below it", async () => {
  await add(5);
  const { isWitnessed } = await start();
  await until(isWitnessed);
  await add(4);
  await until(async () => (await reader.ask("witnessed", witness.key)) === 9);
  const [newest] = await reader.ask("checkpoints", 1, null);
  expect(newest).toMatchObject({ size: 9, witnesses: [witness.key] });
  expect(newest?.note.split("\n").filter((line) => line.startsWith("— "))).toHaveLength(2);
  expect(witness.requests.every(({ status }) => status === 200)).toBe(true);
  expect(witness.requests.at(-1)?.old).toBeGreaterThanOrEqual(5);
});

test("a witness that knows more than the gateway remembers says so, and is then shown the right proof", async () => {
  await add(6);
  const first = await start();
  await until(first.isWitnessed);
  await first.stop();
  const { tamper, journalFile } = await import("./journal-fixture.ts");
  tamper(journalFile(dir), (raw) => raw.exec("DELETE FROM cosignature"));
  await add(2);
  await until((await start()).isWitnessed);
  expect(witness.requests.map(({ status }) => status)).toContain(409);
  expect(witness.requests.at(-1)).toMatchObject({ old: 6, size: 8, status: 200 });
});

test("a witness that is away or broken holds nobody up, and is asked again", async () => {
  witness.broken = 503;
  await add(3);
  const { isSigning, isWitnessed, sign } = await start();
  await until(() => witness.requests.length >= 2);
  expect([isSigning(), isWitnessed(), (await sign()).kind]).toEqual([true, false, "unchanged"]);
  witness.broken = null;
  await until(isWitnessed);
});

test("a cosignature of another key is none", async () => {
  const other = await startWitness();
  await add(2);
  const { isWitnessed } = await start(other.key);
  await until(() => witness.requests.length >= 2);
  expect(isWitnessed()).toBe(false);
  expect(await reader.ask("witnessed", other.key)).toBe(0);
  await other.close();
});

test.each([
  ["more records than there are", 7],
  ["as many other records", 3],
])("where the witness has signed %s, nothing is signed any more", async (_, size) => {
  await add(3);
  witness.head = { size, root: Buffer.alloc(32, 9) };
  const { isSigning, sign } = await start();
  await until(() => !isSigning());
  await add(9);
  expect(await sign()).toMatchObject({ kind: "refused", why: expect.stringContaining("witness") });
});
