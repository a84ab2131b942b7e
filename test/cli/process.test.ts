import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { configText, folderOf } from "./terminal.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");

type Ended = { code: number | null; out: string; err: string };

/** `deaf`: nobody reads what it writes. */
function started(args: readonly string[], deaf = false): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended: Ended = { code: null, out: "", err: "" };
  child.stdout.on("data", (bytes) => {
    ended.out += bytes;
  });
  child.stderr.on("data", (bytes) => {
    ended.err += bytes;
  });
  if (deaf) child.stdout.destroy();
  return new Promise((resolve) => child.once("close", (code) => resolve({ ...ended, code })));
}

test("the process ends with the command's exit code; JSON goes to stdout alone and words to stderr", async () => {
  const config = join(folderOf({ "tollgate.yaml": configText([1, 2, 3], "nonsense: 1") }), "tollgate.yaml");
  const [wrong, bad] = await Promise.all([started(["--nonsense"]), started(["check", "--json", "-c", config])]);
  expect([wrong.code, wrong.out]).toEqual([2, ""]);
  expect(wrong.err).toContain("--nonsense");
  expect(bad.code).toBe(78);
  expect(JSON.parse(bad.out)).not.toHaveLength(0);
});

test("a reader that goes away, as head does, is no fault", async () => {
  const { code, err } = await started(["--help"], true);
  expect([code, err]).toEqual([0, ""]);
});
