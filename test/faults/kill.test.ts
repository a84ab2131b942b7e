import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { endCalmly, joinLogs, killOnce } from "./kill.ts";

test("a process killed 8 times in the middle of its calls loses none that it had acknowledged, and doubles none", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kill-"));
  const [dataDir, logFile] = [join(folder, "data"), join(folder, "said.log")];
  for (let i = 0; i < 8; i++) await killOnce(dataDir, logFile, Math.random() * 150);
  await endCalmly(dataDir, logFile);
  const joined = joinLogs(join(dataDir, "journal.db"), logFile);
  expect(joined).toMatchObject({ lost: [], open: [], doubled: 0 });
  expect(joined.settled).toBeGreaterThan(8);
  // Without a call that a kill had left open, nothing would have been tried.
  const recovered = [...readFileSync(logFile, "utf8").matchAll(/^recovered (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  expect(recovered).toBeGreaterThan(0);
  expect(await verifyLog(join(dataDir, "journal.db"))).toMatchObject({ ok: true });
});

test("the join itself sees a settled call that is missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kill-"));
  const [dataDir, logFile] = [join(folder, "data"), join(folder, "said.log")];
  await endCalmly(dataDir, logFile);
  const { appendFileSync } = await import("node:fs");
  appendFileSync(logFile, "settled call_ghost\npermitted call_phantom\n");
  expect(joinLogs(join(dataDir, "journal.db"), logFile)).toMatchObject({ lost: ["call_ghost"], open: ["call_ghost", "call_phantom"] });
});
