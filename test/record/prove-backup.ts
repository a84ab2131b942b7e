/**
 * `npm run prove:backup [-- --quick] [--count N] [--seed N]`: backups through the command line while 500 calls a second are written; each is
 * verified, restored and verified again, and holds all that was acknowledged when it began.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { lockFolder } from "../../src/call/record/store.ts";
import { configText } from "../cli/terminal.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { open } from "./journal-fixture.ts";

const { values } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" }, quick: { type: "boolean" } } });
const seed = Number(values.seed ?? 1);
const backups = Number(values.count ?? (values.quick === true ? 3 : 50));
const random = seededRandom(seed);
const folder = mkdtempSync(join(tmpdir(), "tollgate-prove-backup-"));
const MAIN = join(import.meta.dirname, "../../src/main.ts");
const WRITES_A_SECOND = 500;
const TICK_MS = 20;

const configIn = (name: string): string => {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, configText([1, 2, 3], `data: ./${name}`));
  return file;
};
const run = async (...args: string[]) => JSON.parse((await promisify(execFile)(process.execPath, [MAIN, ...args, "--json"])).stdout);

const config = configIn("live");
const dataDir = join(folder, "live");
const lock = lockFolder(dataDir);
const journal = await open(dataDir);
let acknowledged = 0;
let [slowestMs, failed] = [0, 0];
const write = async () => {
  const callId = newCallId();
  const from = performance.now();
  try {
    await journal.permit(permitEntry(callId));
    await journal.settle(settlementEntry(callId));
    acknowledged += 1;
  } catch {
    failed += 1;
  }
  slowestMs = Math.max(slowestMs, performance.now() - from);
};
const startedAt = performance.now();
let begun = 0;
const underWay = new Set<Promise<void>>();
const writing = setInterval(() => {
  // Ticks may come late on a busy machine: what is due is written then.
  for (const due = ((performance.now() - startedAt) / 1000) * WRITES_A_SECOND; begun < due; begun++) {
    const written = write().finally(() => underWay.delete(written));
    underWay.add(written);
  }
}, TICK_MS);

const violations: string[] = [];
for (let i = 0; i < backups; i++) {
  await new Promise((resolve) => setTimeout(resolve, random() * 200));
  await journal.run("signLog", { keyFile: join(dataDir, "log.key"), nowMs: Date.now() });
  const before = acknowledged;
  const file = join(folder, `backup-${i}.db`);
  const name = `restored-${i}`;
  try {
    const { records } = await run("backup", file, "-c", config);
    if (records < before) violations.push(`backup ${i} has ${records} records, ${before} were acknowledged before it began`);
    const copied = await run("audit", "verify", "--file", file);
    if (copied.size !== records) violations.push(`backup ${i} verifies with ${copied.size} of ${records} records`);
    const restoredConfig = configIn(name);
    await run("restore", file, "-c", restoredConfig);
    const restored = await run("audit", "verify", "-c", restoredConfig);
    if (restored.size !== records + 1) violations.push(`backup ${i} has ${restored.size} records when restored`);
  } catch (fault) {
    violations.push(`backup ${i}: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
  rmSync(file, { force: true });
  rmSync(join(folder, name), { recursive: true, force: true });
  process.stderr.write(".");
}
clearInterval(writing);
const seconds = (performance.now() - startedAt) / 1000;
await Promise.all(underWay);
await journal.close();
lock.release();
process.stderr.write("\n");
const writesASecond = Math.round(acknowledged / seconds);
process.stdout.write(
  `${JSON.stringify({ seed, backups, violations: violations.length, writes_a_second: writesASecond, failed_writes: failed, slowest_write_ms: Math.round(slowestMs), records: acknowledged, seconds: Math.round(seconds), first_violations: violations.slice(0, 3) })}\n`,
);
rmSync(folder, { recursive: true, force: true });
process.exitCode = violations.length === 0 && failed === 0 ? 0 : 1;
