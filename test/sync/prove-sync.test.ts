import { expect, test } from "vitest";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { proveSync } from "./prove-sync.ts";

test.skipIf(withoutPostgres)(
  "through faulty networks and kills of both sides every event is central once, in order; without the sink's care or the collector's it is not",
  async () => {
    const proof = await proveSync({ count: 600, kills: 4, seed: 11, partitionMs: 200 });
    expect(proof.violations).toEqual([]);
    expect(proof.events).toBeGreaterThanOrEqual(600);
    // Which kinds a short run meets is chance.
    expect(Object.values(proof.faults.http ?? {}).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    // Not every run of so few events meets a fault at the moment that matters.
    let found = 0;
    for (let control = 11; found === 0 && control < 17; control++)
      found = (await proveSync({ count: 600, kills: 2, seed: control, partitionMs: 200, control: "early" })).violations.length;
    expect(found).toBeGreaterThan(0);
  },
  180_000,
);
