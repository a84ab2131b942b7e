import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Every process of a test would strip and compile the same few hundred files again: with the cache a start takes half the CPU time.
// An entry counts only for the same bytes and the same Node.js. A release never sets this: what may write such a folder may run code.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Tests start real processes on real ports; two at a time is what a small machine carries.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    reporters: process.env.CI ? ["default", ["json", { outputFile: "coverage/report.json" }]] : ["default"],
  },
});
