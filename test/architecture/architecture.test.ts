import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dependencyViolations, importedPackages, type Sources, violations } from "./rules.ts";
import { withoutComments } from "./source-text.ts";

const ROOT = join(import.meta.dirname, "../..");
const packageJson = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { dependencies: Record<string, string> };

async function sources(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const file of glob("src/**/*.ts", { cwd: ROOT })) found.set(file, readFileSync(join(ROOT, file), "utf8"));
  return found;
}

test("the sources keep the rules of the house", async () => {
  const all = await sources();
  expect(all.size).toBeGreaterThan(40);
  expect(violations(all)).toEqual([]);
});

test("every runtime dependency has a home and a reason", () => {
  expect(dependencyViolations(Object.keys(packageJson.dependencies), readFileSync(join(ROOT, "docs/dependencies.md"), "utf8"))).toEqual([]);
});

const HEAD = "/** A sentence. */\n";
const PURE = "/** Pure. A sentence. */\n";

const PLANTED: readonly [rule: string, file: string, text: string, more?: Sources][] = [
  ["header", "src/call/accept/a.ts", "export const a = 1;\n"],
  ["length", "src/call/accept/a.ts", HEAD + "const a = 1;\n".repeat(301)],
  ["length", "src/call/call.ts", HEAD + "const a = 1;\n".repeat(151)],
  ["name", "src/call/accept/string-utils.ts", HEAD],
  ["name", "src/call/accept/helper.ts", HEAD],
  ["default-export", "src/ids.ts", `${HEAD}export default 1;\n`],
  ["barrel", "src/call/accept/a.ts", `${HEAD}export * from "./b.ts";\n`],
  ["barrel", "src/call/accept/a.ts", `${HEAD}export { b } from "./b.ts";\n`],
  ["default-export", "src/ids.ts", `${HEAD}const a = 1;\nexport { a as default };\n`],
  ["any", "src/ids.ts", `${HEAD}export const a = 1 as any;\n`],
  ["any", "src/ids.ts", `${HEAD}// @ts-ignore\nexport const a: string = 1;\n`],
  ["console", "src/call/accept/a.ts", `${HEAD}console.log("here");\n`],
  ["direction", "src/call/accept/a.ts", `${HEAD}import type { Permit } from "../authorize/permit.ts";\n`],
  ["direction", "src/call/budget/a.ts", `${HEAD}import { decide } from "../authorize/decide.ts";\n`],
  ["direction", "src/call/budget/a.ts", `${HEAD}import { type A, decide } from "../authorize/decide.ts";\n`],
  ["direction", "src/call/record/a.ts", `${HEAD}import type { Registry } from "../../control/agents/registry.ts";\n`],
  ["direction", "src/call/record/a.ts", `${HEAD}import { loadConfig } from "../../config.ts";\n`],
  ["direction", "src/control/agents/a.ts", `${HEAD}import { run } from "../../cli/program.ts";\n`],
  ["direction", "src/control/agents/a.ts", `${HEAD}import { startGateway } from "../../gateway.ts";\n`],
  ["lazy", "src/cli/program.ts", `${HEAD}import { registerServe } from "./serve.ts";\n`],
  ["lazy", "src/cli/serve.ts", `${HEAD}import { type Gateway, startGateway } from "../gateway.ts";\n`],
  ["home", "src/call/accept/a.ts", `${HEAD}import { request } from "undici";\n`],
  ["home", "src/call/record/journal.ts", `${HEAD}import Database from "better-sqlite3";\n`],
  ["home", "src/call/accept/a.ts", `${HEAD}import express from "express";\n`],
  ["home", "src/call/accept/a.ts", `${HEAD}const name = "express";\nawait import(name);\n`],
  ["home", "src/call/accept/a.ts", `${HEAD}import { createRequire } from "node:module";\ncreateRequire(import.meta.url)("express");\n`],
  ["home", "src/call/accept/a.ts", `${HEAD}const quote = /["'\\/*]/;\nawait import("express"); // "\n`],
  ["home", "src/control/oauth/a.ts", `${HEAD}const x = await import("undici");\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = Date.now();\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = new Date();\n`],
  ["pure", "src/refusal.ts", `${PURE}export async function a() {}\n`],
  ["pure", "src/refusal.ts", `${PURE}import { readFileSync } from "node:fs";\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = process.env.A;\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = () => AbortSignal.timeout(1);\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = /\\/*$/;\nexport const b = Math.random();\n`],
  ["pure", "src/refusal.ts", `${PURE}export const a = \`at \${Date.now()} o'clock\`;\n`],
  ["pure", "src/refusal.ts", `${PURE}import { b } from "./ids.ts";\n`, new Map([["src/ids.ts", `${HEAD}export const b = Date.now();\n`]])],
  [
    "cycle",
    "src/call/accept/a.ts",
    `${HEAD}import { b } from "./b.ts";\n`,
    new Map([["src/call/accept/b.ts", `${HEAD}import { a } from "./a.ts";\n`]]),
  ],
];

test.each(PLANTED)("a planted violation of %s in %s is seen", (rule, file, text, more) => {
  expect(violations(new Map([...(more ?? []), [file, text]])).map((violation) => violation.rule)).toContain(rule);
});

const INNOCENT: readonly [file: string, text: string][] = [
  ["src/cli/serve.ts", `${HEAD}import type { Gateway } from "../gateway.ts";\nconst { startGateway } = await import("../gateway.ts");\n`],
  ["src/call/budget/a.ts", `${HEAD}import type { Permit } from "../authorize/permit.ts";\n`],
  ["src/call/budget/a.ts", `${HEAD}import { type Permit } from "../authorize/permit.ts";\nimport { refuse } from "../../refusal.ts";\n`],
  ["src/refusal.ts", `${PURE}// Date.now() would be impure, and so would import("express")\nexport const at = new Date(0);\n`],
  ["src/call/accept/a.ts", `${HEAD}import { Hono } from "hono";\nimport { getRequestListener } from "@hono/node-server";\n`],
];

test.each(INNOCENT)("%s may do what the rules allow", (file, text) => {
  expect(violations(new Map([[file, text]]))).toEqual([]);
});

test("express is part of no runtime dependency", () => {
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as { packages: Record<string, { dev?: boolean }> };
  const copies = Object.entries(lock.packages).filter(([path]) => path.endsWith("node_modules/express"));
  expect(copies.filter(([, { dev }]) => dev !== true)).toEqual([]);
});

test("every runtime dependency is imported", async () => {
  const used = importedPackages(await sources());
  expect(Object.keys(packageJson.dependencies).filter((name) => !used.has(name))).toEqual([]);
  expect(importedPackages(new Map([["src/a.ts", `${HEAD}import type { Hono } from "hono/tiny";\n`]]))).toEqual(new Set(["hono"]));
});

test("a dependency without a line, without a home or one too many is seen", () => {
  expect(dependencyViolations(["left-pad"], "")).toHaveLength(2);
  expect(
    dependencyViolations(
      Array.from({ length: 23 }, () => "hono"),
      "| `hono` |",
    ),
  ).toHaveLength(1);
});

test.each([
  ["a // b\nc", "a  \nc"],
  ["a /* b\n */ c", "a   c"],
  [`"// a" + '/* b' // c`, `"// a" + '/* b'  `],
  [`\`// a \${b /* c */ + \`/* \${d} */\`} // e\` // f`, `\`// a \${b   + \`/* \${d} */\`} // e\`  `],
  ['x = /[/*]"/ // a', 'x = /[/*]"/  '],
  ["x = a / b // c / d", "x = a / b  "],
  ["return /\\/*$/.test(a) // b", "return /\\/*$/.test(a)  "],
])("comments go and the rest stays: %s", (text, code) => {
  expect(withoutComments(text)).toBe(code);
});
