/** `npm run prove:journal [-- --quick] [--count N] [--seed N]`: kills a process that writes the journal, and prints what was lost: nothing. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { verifyLog } from "../../src/call/record/verify.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { endCalmly, joinLogs, killOnce } from "./kill.ts";

const { values } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" }, quick: { type: "boolean" } } });
const seed = Number(values.seed ?? 1);
const kills = Number(values.count ?? (values.quick ? 25 : 500));
const random = seededRandom(seed);
const folder = mkdtempSync(join(tmpdir(), "tollgate-kill-"));
const [dataDir, logFile] = [join(folder, "data"), join(folder, "said.log")];
for (let i = 0; i < kills; i++) {
  await killOnce(dataDir, logFile, random() * 400);
  process.stderr.write(".");
}
await endCalmly(dataDir, logFile);
const joined = joinLogs(join(dataDir, "journal.db"), logFile);
const verdict = await verifyLog(join(dataDir, "journal.db"));
const good = verdict.ok && joined.lost.length === 0 && joined.open.length === 0 && joined.doubled === 0;
process.stderr.write("\n");
process.stdout.write(`${JSON.stringify({ seed, kills, ...joined, verified: verdict.ok, records: verdict.size, folder })}\n`);
process.exitCode = good ? 0 : 1;
