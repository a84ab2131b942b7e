import { expect, test } from "vitest";
import { parseDocument, readDocument } from "../../src/document.ts";

const CASES: readonly [what: string, yaml: string, problems: string[]][] = [
  ["plain data", "a: 1\nb: [x, {c: true}]\n", []],
  ["a tag", "when: !args.x", ["1:7 tag"]],
  ["an anchor and its alias", "a: &x 1\nb: *x\n", ["1:4 anchor", "2:4 alias"]],
  ["an alias that the parser cannot even place", "permit: [*/x]", ["1:10 alias"]],
  ["a merge key", "a:\n  <<: { b: 1 }\n", ["2:3 merge key"]],
  ["a duplicate key", "a: 1\nb: 2\na: 3\n", ["3:1 twice"]],
  ["duplicates and __proto__ at depth", "a:\n  - { __proto__: 1, b: 1, b: 2 }\n", ["2:7 __proto__", "2:27 twice"]],
  ["a second document", "a: 1\n---\nb: 1\n", ["2:1 second document"]],
  ["a line end that only the parser sees", "a: 1 # is\rb: 2\nc: 3\r\n", ["1:10 carriage return"]],
  ["a directive that changes what yes means", "%YAML 1.1\n---\na: yes\n", ["1:1 directive"]],
  ["a key that is no text", "? [a]\n: 1\n", ["1:3 plain text"]],
  ["an unclosed list", "a: [1,2\n", ["2:1 "]],
  ["a bad escape", 'a: "\\q"', ["1:6 escape"]],
  ["stars and ampersands in quotes and comments", 'a: "*/x" # &b !c\nd: "&x"\n', []],
  ["depth without end", "[".repeat(50_000), ["1:64 nested"]],
];

test.each(CASES)("%s", (_what, yaml, expected) => {
  const { problems } = parseDocument("f.yaml", Buffer.from(yaml));
  expect(problems.map(({ line, column, message }) => `${line}:${column} ${message}`)).toEqual(
    expected.map((place) => {
      const [position = "", ...word] = place.split(" ");
      return expect.stringMatching(new RegExp(`^${position} .*${word.join(" ")}`));
    }),
  );
});

test("keys, values and characters of values know their place", () => {
  const document = parseDocument("f.yaml", Buffer.from('a:\n  b: [x, "y z"]\n  empty:\n  quoted: "abc"\n  folded: >\n    abc\n'));
  expect(document.locate(["a", "b", 1])).toEqual({ line: 2, column: 10 });
  expect(document.locateKey(["a", "b"])).toEqual({ line: 2, column: 3 });
  expect(document.locate(["a", "empty"])).toEqual({ line: 3, column: 3 });
  expect(document.locate(["a", "missing", "deeper"])).toEqual({ line: 2, column: 3 });
  expect(document.locateWithin(["a", "b", 1], 2)).toEqual({ line: 2, column: 13 });
  expect(document.locateWithin(["a", "quoted"], 1)).toEqual({ line: 4, column: 13 });
  expect(document.locateWithin(["a", "folded"], 2)).toEqual({ line: 6, column: 7 });
});

test("what is not UTF-8, too long or not there is a problem, not a fault", () => {
  expect(parseDocument("f", Buffer.from([0x61, 0xff])).problems).toMatchObject([{ message: "is not UTF-8" }]);
  expect(parseDocument("f", Buffer.alloc(4_194_305, 35)).problems).toMatchObject([{ message: expect.stringContaining("at most 4194304") }]);
  expect(readDocument("/no/such/file").problems).toEqual([
    { file: "/no/such/file", line: 1, column: 1, message: "cannot be read: ENOENT" },
  ]);
});
