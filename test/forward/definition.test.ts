/** What is hashed is the meaning of a definition and not its spelling; what a reader's eye cannot see in it is told. */
import { expect, test } from "vitest";
import { DEFINITION_BYTES_USUAL, definitionIn, definitionOf, flagsOf, needsEyes } from "../../src/call/forward/definition.ts";

const sha256 = (text: string) => definitionIn(Buffer.from(text))?.sha256 ?? null;
const flags = (description: string) => flagsOf(definitionOf({ name: "t", description })?.text ?? "{}");

test("bytes and value of one definition have one hash, however they are spelt", () => {
  const hash = definitionOf({ name: "t", description: "ä", x: [1, { b: 2, a: 1 }] })?.sha256;
  expect(sha256('{ "x" : [1.0,{"a":1,"b":2}], "description":"\\u00e4", "name":"t" }')).toBe(hash);
  expect(sha256('{"x":[{"a":1,"b":2},1],"description":"ä","name":"t"}')).not.toBe(hash);
  expect(sha256('{"name":"t","__proto__":{"description":"x"}}')).not.toBe(sha256('{"name":"t"}'));
});

test("what no two readers would hash alike, or what has no name, is no definition", () => {
  for (const text of ['{"name":"t","x":1e400}', '{"name":"t","x":"\\ud800"}', '{"name":7}', "[]", "null", "7", '{"name":"t"'])
    expect(sha256(text), text).toBeNull();
});

test.each([
  ["zero-width space", "a\u200bb", ["hidden"]],
  ["zero-width joiner between letters", "a\u200db", ["hidden"]],
  ["word joiner", "a\u2060b", ["hidden"]],
  ["byte order mark", "a\ufeffb", ["hidden"]],
  ["soft hyphen", "a\u00adb", ["hidden"]],
  ["Unicode tags", "a\u{e0068}\u{e0069}", ["hidden"]],
  ["variation selectors in a row", "a\ufe01\ufe02", ["hidden"]],
  ["a selector of the supplement", "a\u{e0101}", ["hidden"]],
  ["a selector after a letter", "a\ufe01", ["hidden"]],
  ["what Unicode has reserved for showing as nothing", "a\u{e0241}", ["hidden"]],
  ["a Mongolian selector", "a\u180b", ["hidden"]],
  ["a selector after a digit that is no key cap", "1\ufe0f", ["hidden"]],
  ["a filler", "a\u3164b", ["hidden"]],
  ["an ANSI escape", "a\u001b[2Kb", ["hidden"]],
  ["a NUL", "a\u0000b", ["hidden"]],
  ["a C1 control", "a\u009bb", ["hidden"]],
  ["right-to-left override", "a\u202eb", ["bidi"]],
  ["an isolate", "a\u2066b\u2069", ["bidi"]],
  ["both", "\u200b\u202e", ["hidden", "bidi"]],
  ["plain text", "Finds tickets.\n\t- limit: at most 100\r\n", []],
  ["letters of other scripts", "Ищет 票 تذاكر मुफ़्त", []],
  ["emoji, joined and coloured", "👨‍👩‍👧 👩🏽‍💻 ❤️ ✔️ 1️⃣", []],
])("%s", (_, description, expected) => {
  expect(flags(description)).toEqual(expected);
});

test("the names of members and the depths of schemas are looked at as descriptions are", () => {
  const text = definitionOf({ name: "t", inputSchema: { properties: { a: { enum: ["x", { "k\u200b": 1 }] } } } })?.text ?? "";
  expect(flagsOf(text)).toEqual(["hidden"]);
});

test("a long one is flagged from its first byte too many on, and needs no eyes for that", () => {
  const bare = Buffer.byteLength(definitionOf({ name: "t", description: "" })?.text ?? "");
  expect(flags("x".repeat(DEFINITION_BYTES_USUAL - bare))).toEqual([]);
  expect(flags("x".repeat(DEFINITION_BYTES_USUAL - bare + 1))).toEqual(["oversized"]);
  expect([needsEyes(["oversized"]), needsEyes(["hidden"]), needsEyes(["bidi"])]).toEqual([false, true, true]);
});
