/** The walk through docs/policies.md, as its reader makes it: files as they stand there, commands as they stand there. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const page = readFileSync(join(ROOT, "docs/policies.md"), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map(([, text = ""]) => text);

/** A folder that looks like a clone: the page's own files lie beside the product's. */
function cloneWithFiles(): string {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-page-"));
  for (const name of ["src", "node_modules", "package.json"]) symlinkSync(join(ROOT, name), join(folder, name));
  for (const text of blocks("yaml")) {
    const file = /^# (desk\/\S+)$/m.exec(text)?.[1];
    if (file === undefined) continue;
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

function paste(folder: string, command: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile("bash", ["-c", command], { cwd: folder }, (fault, stdout, stderr) => {
      resolve({ code: typeof fault?.code === "number" ? fault.code : 0, output: stdout + stderr });
    });
  });
}

test("three agents and two servers: the files and commands of docs/policies.md do what the page says", async () => {
  const folder = cloneWithFiles();
  const [checkAndTest = "", explain = "", diff = ""] = blocks("sh");
  const [said = ""] = blocks("text");
  const checked = await paste(folder, `set -e\n${checkAndTest}`);
  expect(checked).toMatchObject({ code: 0, output: expect.stringContaining("10 decisions hold") });
  const explained = await paste(folder, explain);
  expect(explained.code).toBe(1);
  expect(explained.output).toContain(said.trim());
  const compared = await paste(folder, diff);
  expect(compared.output).toMatch(/wider +refund-bot +billing\/get-sum/);
  expect(compared.output).toContain("somebody may do more");
}, 120_000);
