import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { referencePages } from "../../scripts/reference.ts";
import { createProgram } from "../../src/cli/program.ts";

const ROOT = join(import.meta.dirname, "../..");

test("the reference pages say what the sources say", async () => {
  for (const [name, text] of referencePages(await createProgram())) {
    expect(readFileSync(join(ROOT, "docs/reference", name), "utf8"), `docs/reference/${name}: run npm run docs`).toBe(text);
  }
});

test("links between the pages lead somewhere", () => {
  const pages = [
    "README.md",
    ...readdirSync(join(ROOT, "docs"))
      .filter((file) => file.endsWith(".md"))
      .map((file) => `docs/${file}`),
  ];
  for (const page of pages) {
    const text = readFileSync(join(ROOT, page), "utf8");
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)) {
      const path = join(ROOT, page, "..", target ?? "");
      expect(() => readFileSync(path), `${page} links to ${target}`).not.toThrow(/ENOENT/);
    }
  }
});
