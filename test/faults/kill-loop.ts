/** `npm run prove:kill [-- COUNT]`: kills a process that writes the journal COUNT times (25), and prints what was lost: nothing. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyLog } from "../../src/call/record/verify.ts";
import { endCalmly, joinLogs, killOnce } from "./kill.ts";

const kills = Number(process.argv[2] ?? 25);
const folder = mkdtempSync(join(tmpdir(), "tollgate-kill-"));
const [dataDir, logFile] = [join(folder, "data"), join(folder, "said.log")];
for (let i = 0; i < kills; i++) {
  await killOnce(dataDir, logFile, Math.random() * 400);
  process.stdout.write(".");
}
await endCalmly(dataDir, logFile);
const joined = joinLogs(join(dataDir, "journal.db"), logFile);
const verdict = await verifyLog(join(dataDir, "journal.db"));
const good = verdict.ok && joined.lost.length === 0 && joined.open.length === 0 && joined.doubled === 0;
process.stdout.write(`\n${JSON.stringify({ kills, ...joined, verified: verdict.ok, records: verdict.size, folder })}\n`);
process.exitCode = good ? 0 : 1;
