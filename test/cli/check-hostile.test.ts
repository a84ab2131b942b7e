/** `check` with files that are no policies: each is told in a line, and none takes the gateway or its user's time. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { configText, folderOf, tollgate } from "./terminal.ts";

const HEAD = "apiVersion: tollgate/v1\n";

async function check(write: (policies: string) => void): Promise<string[]> {
  const folder = folderOf({ "tollgate.yaml": configText(), "policies/.keep": "" });
  write(join(folder, "policies"));
  const { out } = await tollgate(["check", "--json", "-c", join(folder, "tollgate.yaml")]);
  const entries = JSON.parse(out) as { file: string; line: number; column: number; message: string; severity?: string }[];
  return entries
    .filter(({ severity }) => severity === undefined)
    .map(({ file, line, column, message }) => `${file.slice(folder.length + 1)}:${line}:${column}: ${message}`);
}
const text = (written: string | Buffer) => (policies: string) => writeFileSync(join(policies, "a.yaml"), written);
const rule = (when: string) => text(`${HEAD}entitlements:\n  - name: a\n    permit: [up/x]\n    when: ${when}\n`);

test.each<[string, (policies: string) => void, string | RegExp]>([
  ["an empty file", text(""), 'policies/a.yaml:1:1: the key "apiVersion" is missing'],
  ["a file that is not UTF-8", text(Buffer.from([0x61, 0xff])), "policies/a.yaml:1:1: is not UTF-8"],
  ["aliases that multiply", text(`${HEAD}a: &a [x, x]\nb: &b [*a, *a]\n`), /^policies\/a\.yaml:2:4: a YAML anchor is not allowed/],
  ["lists in lists", text(`${HEAD}entitlements: ${"[".repeat(100_000)}`), /^policies\/a\.yaml:2:\d+: is nested too deeply/],
  ["a file of 5 MB", text(`${HEAD}#${"x".repeat(5_000_000)}\n`), /^policies\/a\.yaml:1:1: has 5\d+ bytes; at most 4194304 are read/],
  ["tabs", text(`${HEAD}entitlements:\n\t- name: a\n`), /^policies\/a\.yaml:3:1: tab characters must not be used in indentation/],
  [
    "a link to itself",
    (policies) => symlinkSync("a.yaml", join(policies, "a.yaml")),
    "policies/a.yaml:1:1: cannot be read: ELOOP: its links lead round in a circle",
  ],
  [
    "a folder with the name of a file",
    (policies) => mkdirSync(join(policies, "a.yaml")),
    "policies/a.yaml:1:1: cannot be read: EISDIR: it is a folder",
  ],
  ["a pipe", (policies) => void execFileSync("mkfifo", [join(policies, "a.yaml")]), "policies/a.yaml:1:1: is not a regular file"],
  [
    "a file in place of the folder",
    (policies) => {
      rmSync(policies, { recursive: true });
      writeFileSync(policies, "");
    },
    "policies:1:1: the policies folder cannot be read: ENOTDIR: it is not a folder",
  ],
  [
    "101,000 rules in two files",
    (policies) => {
      for (const file of ["a", "b"]) {
        const rules = Array.from({ length: 50_500 }, (_, i) => `  - { name: ${file}${i}, permit: [up/x] }\n`);
        writeFileSync(join(policies, `${file}.yaml`), `${HEAD}entitlements:\n${rules.join("")}`);
      }
    },
    /^policies:1:1: the files hold 101000 entitlements, limits and budgets; at most 100000 are read/,
  ],
  [
    "an expression that is too long",
    rule(`"${"true && ".repeat(400)}true"`),
    "policies/a.yaml:5:12: entitlements[0].when: has 3204 characters; a condition has at most 2000",
  ],
  ["one that nests too deeply", rule(`"${"(".repeat(40)}true${")".repeat(40)}"`), /when: exceeded maxDepth \(24\)$/],
  ["one of too many parts", rule(Array(250).fill("args.a").join("+")), /when: exceeded maxAstNodes \(500\)$/],
  ["a list of too many", rule(`"args.a in [${Array(300).fill("1").join(",")}]"`), /when: exceeded maxListElements \(200\)$/],
  [
    "line ends of Windows",
    text(`${HEAD}entitlements:\n  - name: a\n    permit: [up/x]\n    when: agnt.team == "x"\n`.replaceAll("\n", "\r\n")),
    "policies/a.yaml:5:11: entitlements[0].when: unknown variable: agnt",
  ],
  [
    "a slip on the third line of a block",
    rule('|\n      true &&\n      args.a == "x" &&\n      agnt.team == "x"'),
    "policies/a.yaml:8:7: entitlements[0].when: unknown variable: agnt",
  ],
  [
    "a slip in a folded text of Windows",
    rule('>-\r\n      true &&\r\n      agnt.team == "x"'),
    "policies/a.yaml:7:7: entitlements[0].when: unknown variable: agnt",
  ],
  [
    "a slip after doubled quotes",
    rule("'args.a == ''x'' && agnt.team'"),
    "policies/a.yaml:5:31: entitlements[0].when: unknown variable: agnt",
  ],
  [
    "a slip after escaped quotes",
    rule('"args.a == \\"x\\" && agnt.team"'),
    "policies/a.yaml:5:31: entitlements[0].when: unknown variable: agnt",
  ],
])("%s", async (_, write, expected) => {
  const said = await check(write);
  expect(said[0]).toEqual(typeof expected === "string" ? expected : expect.stringMatching(expected));
});
