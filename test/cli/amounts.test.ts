/** Amounts on the command line are read as policy files read them. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { budget } from "../../src/call/authorize/budget-file.ts";
import { amountIn } from "../../src/call/authorize/written.ts";

const WRITTEN = [
  "5000",
  "5_000",
  "1000_000",
  "0",
  "9007199254740991",
  "1_0",
  "1__000",
  "_1",
  "1_",
  "1_000_",
  "",
  "-1",
  "+1",
  "1.5",
  "1e3",
  " 5",
];

test("an amount is one on the command line and in a policy file, or in neither", () => {
  const inFile = (limit: string) => budget.safeParse({ name: "b", meter: "calls", period: "day", limit }).success;
  expect(WRITTEN.filter((text) => amountIn(text) !== null)).toEqual(WRITTEN.filter(inFile));
  expect(WRITTEN.filter(inFile)).toEqual(["5000", "5_000", "1000_000", "0", "9007199254740991"]);
  expect(["5_000", "1000_000", "9007199254740992"].map(amountIn)).toEqual([5_000, 1_000_000, null]);
});

test("an amount that is grouped otherwise is no amount, before anything is asked", () => {
  const main = join(import.meta.dirname, "../../src/main.ts");
  const said = (...args: string[]) => {
    try {
      return execFileSync(process.execPath, [main, ...args], { encoding: "utf8", stdio: "pipe" });
    } catch (fault) {
      return String((fault as { stderr?: string }).stderr);
    }
  };
  expect(said("budget", "credit", "b", "--amount", "1_0", "--reason", "r")).toContain("--amount 1_0: a whole number above 0");
  expect(said("usage", "correct", "evt", "--meter", "calls", "--delta=-1_0", "--reason", "r")).toContain("--delta -1_0: a whole number");
});
