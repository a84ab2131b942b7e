import { expect, test } from "vitest";
import { killLoop } from "./kill-loop.ts";

// Clients call in a loop, the gateway is killed at a random moment and started again on the same data, and in the end the logs
// of the clients, of the upstream and of the gateway are joined. `npm run prove:journal` does it at length.
test("kill -9 in the middle of a loop of calls loses nothing and doubles nothing, 25 times", async () => {
  const report = await killLoop({ kills: 25, seed: 7 });
  expect(report.violations).toEqual([]);
  expect(report.answered).toBeGreaterThanOrEqual(100);
  // A run in which no call was ever cut off would have proved nothing.
  expect(report.recovered).toBeGreaterThan(0);
}, 240_000);
