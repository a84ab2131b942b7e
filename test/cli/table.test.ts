import { describe, expect, test } from "vitest";
import { grouped, plain, table } from "../../src/cli/table.ts";

describe("a table", () => {
  test("aligns words to the left and numbers to the right, with nothing behind a line", () => {
    expect(
      table(
        ["NAME", "CALLS"],
        [
          ["a", 5],
          ["longer", 12_345],
        ],
      ),
    ).toBe("NAME     CALLS\na            5\nlonger  12_345");
  });

  test("shows nothing as a dash, and a missing cell too", () => {
    expect(table(["A", "B", "C"], [[null, undefined]])).toBe("A  B  C\n-  -  -");
  });

  test("without rows is its head", () => {
    expect(table(["A", "B"], [])).toBe("A  B");
  });

  test("holds as many rows as may be asked for", () => {
    const rows = Array.from({ length: 200_000 }, (_, i) => [i]);
    expect(table(["N"], rows).split("\n")).toHaveLength(200_001);
  });
});

describe("a number", () => {
  test.each([
    [0, "0"],
    [999, "999"],
    [1_000, "1_000"],
    [5_000_000, "5_000_000"],
    [-1_234, "-1_234"],
    [12.5, "12.5"],
    [1_234.56789, "1_234.56789"],
  ])("%d is written %s", (amount, text) => {
    expect(grouped(amount)).toBe(text);
  });
});

describe("a text from outside", () => {
  test.each([
    ["an escape", "a\u001b[31mb"],
    ["a C1 control", "a\u009b31mb"],
    ["a line break", "a\nb\rc"],
    ["a NUL", "\u0000"],
    ["a bidi override", "a\u202eb"],
    ["a bidi isolate", "a\u2066b\u2069"],
    ["an Arabic letter mark", "a\u061cb"],
    ["a zero-width space", "a\u200bb"],
    ["a word joiner", "a\u2060b"],
    ["a byte order mark", "a\ufeffb"],
    ["a soft hyphen", "a\u00adb"],
    ["tag characters", "a\u{e0041}b"],
  ])("shows %s instead of doing what it says", (_, text) => {
    expect(plain(text)).toMatch(/^[\x20-\x7e]*$/);
    expect(plain(text)).toContain("\\u");
    expect(table(["A"], [[text]]).split("\n")).toHaveLength(2);
  });

  test("keeps letters of every script as they are", () => {
    for (const text of ["naïve", "日本語", "العربية", "👍", "a b"]) expect(plain(text)).toBe(text);
  });
});
