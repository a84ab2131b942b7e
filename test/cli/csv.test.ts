import fc from "fast-check";
import { expect, test } from "vitest";
import { readCsv } from "../../src/cli/csv.ts";

test.each<[string, string, [number, string[]][]]>([
  [
    "lines that end in LF",
    "a,b\n1,2\n",
    [
      [1, ["a", "b"]],
      [2, ["1", "2"]],
    ],
  ],
  [
    "lines that end in CRLF, and a last one that does not end",
    "a,b\r\n1,2",
    [
      [1, ["a", "b"]],
      [2, ["1", "2"]],
    ],
  ],
  ["a byte order mark", "\uFEFFa\n", [[1, ["a"]]]],
  [
    "commas, quotes and line breaks within quotes",
    '"a,b","say ""hi""","x\ny"\nz,,\n',
    [
      [1, ["a,b", 'say "hi"', "x\ny"]],
      [3, ["z", "", ""]],
    ],
  ],
  [
    "blank lines",
    "a\n\n\r\nb\n",
    [
      [1, ["a"]],
      [4, ["b"]],
    ],
  ],
  ["nothing", "", []],
])("reads %s", (_, text, rows) => {
  expect(readCsv(text)).toEqual({ rows: rows.map(([line, cells]) => ({ line, cells })), faults: [] });
});

test.each<[string, string, number, RegExp]>([
  ["a quoted cell without an end", 'a\n"b\nc', 2, /does not end/],
  ["text after a quoted cell", 'a\nb\n"c"d\ne\n', 3, /follows/],
  ["a quote in a bare cell", 'a\nb"c\n', 2, /quote/],
])("refuses %s, by its line", (_, text, line, message) => {
  const { faults } = readCsv(text);
  expect(faults).toEqual([{ line, message: expect.stringMatching(message) }]);
});

test("tells every line that is wrong, and reads on", () => {
  const { rows, faults } = readCsv('a\n"b"c\nd\ne"f\ng\n');
  expect(faults.map(({ line }) => line)).toEqual([2, 4]);
  expect(rows.map(({ cells }) => cells[0])).toEqual(["a", "d", "g"]);
});

test("what is written by the rules is read as it was", () => {
  const cell = fc.string({ unit: fc.constantFrom("a", ",", '"', "\n", "\r\n", "é", " ") });
  fc.assert(
    fc.property(fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 6 }), fc.constantFrom("\n", "\r\n"), (table, end) => {
      const text = table.map((cells) => cells.map((each) => `"${each.replaceAll('"', '""')}"`).join(",") + end).join("");
      const { rows, faults } = readCsv(text);
      expect(faults).toEqual([]);
      expect(rows.map(({ cells }) => cells)).toEqual(table);
    }),
  );
});
