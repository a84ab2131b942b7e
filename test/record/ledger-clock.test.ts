/** The clock that budgets start by, of a journal whose machine's clock was wrong. */
import { expect, test } from "vitest";
import { blankRecord } from "../../src/call/record/compose.ts";
import { holdLine, NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { newFolder, open } from "./journal-fixture.ts";

const FAR_MS = NOW_MS + 400 * 86_400_000;
const FAR = [{ ...holdLine("daily", "", "calls", 1), windowStartMs: FAR_MS, windowEndMs: FAR_MS + 86_400_000 }] as const;

/** Starts at that time, counts a call in the far window where one is said to come, and stops; the clock that it started by. */
async function start(dir: string, { nowMs = NOW_MS, trustClock = false, calls = 0, returned = false } = {}): Promise<number> {
  const journal = await open(dir, [], nowMs, trustClock);
  for (let i = 0; i < calls; i += 1) {
    const callId = newCallId();
    await journal.permit(permitEntry(callId, FAR));
    await journal.settle(settlementEntry(callId, 1, "posted", FAR));
  }
  if (returned) await journal.run("adjustBalances", [["daily", "", FAR_MS, FAR_MS + 86_400_000, -1, 0, 0]], blankRecord("budget.returned"));
  await journal.close();
  return journal.clock.clockMs;
}

test("a window that was left is left at each later start, also where something comes back to it, until a call counts there again", async () => {
  const dir = newFolder();
  await start(dir, { nowMs: FAR_MS, calls: 2 });
  expect(await start(dir)).toBe(FAR_MS);
  expect(await start(dir, { trustClock: true })).toBe(NOW_MS);
  expect(await start(dir, { returned: true })).toBe(NOW_MS);
  expect(await start(dir)).toBe(NOW_MS);
  // Its time has come, by the machine's clock: what was spent there is not forgotten when that is set back.
  await start(dir, { nowMs: FAR_MS, calls: 1 });
  expect(await start(dir)).toBe(FAR_MS);
  expect(await start(dir, { trustClock: true })).toBe(NOW_MS);
  expect(await start(dir)).toBe(NOW_MS);
});
