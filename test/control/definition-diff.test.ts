/** What has changed in a definition: every difference by its path, and nothing that a terminal would hide. */
import { expect, test } from "vitest";
import { differenceLines } from "../../src/cli/difference-lines.ts";
import { differencesOf, pathsOf } from "../../src/control/tools/definition-diff.ts";

const text = (value: unknown) => JSON.stringify(value);
const lines = (was: unknown, is: unknown) => differenceLines(differencesOf(was === null ? null : text(was), text(is)));

test("what is added, removed and changed stands by its path", () => {
  const was = { name: "t", title: "T", inputSchema: { properties: { to: { type: "string" }, cc: {} }, required: ["to"] } };
  const is = {
    name: "t",
    inputSchema: { properties: { to: { type: "string", default: "evil@example.com" }, "a.b": {} }, required: ["to", "a.b"] },
  };
  expect(lines(was, is)).toEqual([
    "  title: removed",
    "    - T",
    "  inputSchema.properties.to.default: added",
    "    + evil@example.com",
    "  inputSchema.properties.cc: removed",
    "    - {}",
    '  inputSchema.properties["a.b"]: added',
    "    + {}",
    "  inputSchema.required: changed",
    '    - ["to"]',
    '    + ["to","a.b"]',
  ]);
});

test("of a long text the words that changed are shown, with some around them", () => {
  const words = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `w${from + i}`).join(" ");
  const was = { description: `${words(0, 50)} old ${words(50, 100)}` };
  const is = { description: `${words(0, 50)} new and more ${words(50, 100)}` };
  expect(lines(was, is)).toEqual([
    "  description: changed",
    "    - ... w44 w45 w46 w47 w48 w49 old w50 w51 w52 w53 w54 w55  ...",
    "    + ... w44 w45 w46 w47 w48 w49 new and more w50 w51 w52 w53 w54 w55  ...",
  ]);
});

test("hidden characters, escapes and line breaks are shown as what they are, in names too", () => {
  const [path, , after] = lines({ description: "a" }, { description: "a\u200b\u202e\u001b[2K\n+ b\u{e0041}" });
  expect([path, after]).toEqual(["  description: changed", "    + a\\u200b\\u202e\\u001b[2K\\n+ b\\u{e0041}"]);
  expect(lines({}, { "k\u200b": 1 })).toEqual(['  ["k\\u200b"]: added', "    + 1"]);
});

test("a new tool is all added; equal ones differ in nothing, whatever their order", () => {
  expect(lines(null, { name: "t", description: "d" })).toEqual(["  name: added", "    + t", "  description: added", "    + d"]);
  expect(lines({ a: 1, b: [1] }, { a: 1, b: [1] })).toEqual([]);
});

test("a record names the paths, and no more of them than it can hold", () => {
  expect(pathsOf(text({ a: 1, b: { c: 1 } }), text({ a: 2, b: { c: 2 } }))).toBe("a, b.c");
  const many = (value: number) => text(Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`key${i}`, value])));
  expect(pathsOf(many(1), many(2)).length).toBeLessThanOrEqual(503);
});
