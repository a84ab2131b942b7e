import { defineConfig } from "vitest/config";

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
