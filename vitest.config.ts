import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// Every process of a test would strip and compile the same few hundred files again: with the cache a start takes half the CPU time.
// An entry counts only for the same bytes and the same Node.js. A release never sets this: what may write such a folder may run code.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");

/** Small files that run long. Vitest begins with the largest file: it would end with these, and one worker would wait minutes for the other. */
const LONG = [
  "e2e/kill",
  "authorize/prove-policy",
  "attacks/corpus",
  "e2e/old-cursor",
  "e2e/known-tools",
  "e2e/shared-registry",
  "sync/prove-sync",
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.some((name) => moduleId.endsWith(`/test/${name}.test.ts`));
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Tests start real processes on real ports; two at a time is what a small machine carries.
    pool: "forks",
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // What is awaited comes as late as a busy machine lets it; the second of the default is none.
    expect: { poll: { timeout: 20_000 } },
    reporters: process.env.CI ? ["default", ["json", { outputFile: "coverage/report.json" }]] : ["default"],
  },
});
