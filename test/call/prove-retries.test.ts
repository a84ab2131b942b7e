import { expect, test } from "vitest";
import { proveRetries } from "./prove-retries.ts";

// `npm run prove:retries -- --control` plants a bug, which this would find: it takes a second gateway's time.
test("under cut connections and a kill each key's call runs once, and is one usage event", async () => {
  const proof = await proveRetries({ keys: 40, seed: 20_261_129, kills: 1 });
  expect(proof.violations).toEqual([]);
  expect(proof.cut).toBeGreaterThan(20);
  expect([proof.executions + proof.neverRan, proof.usageEvents]).toEqual([40, 40]);
}, 120_000);
