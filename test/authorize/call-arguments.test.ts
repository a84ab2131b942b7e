import fc from "fast-check";
import { expect, test } from "vitest";
import { readArguments } from "../../src/call/authorize/call-arguments.ts";

const read = (json: string) => readArguments(Buffer.from(json));

test("arguments with plain integers only read as they would with the source of every number", () => {
  const whole = fc.oneof(fc.integer(), fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ depthSize: "small" }, whole, fc.string(), fc.boolean(), fc.constant(null), fc.array(tie("tree")), tie("map")),
    map: fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "1")), tie("tree")),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const json = JSON.stringify(value);
      const plain = read(`{"value":${json}}`);
      // A fraction anywhere takes the other way.
      const other = read(`{"value":${json},"fraction":0.5}`);
      expect((plain.value as Map<string, unknown>).get("value")).toEqual((other.value as Map<string, unknown>).get("value"));
      expect(Math.max(2, plain.longest)).toBe(other.longest);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["9007199254740993", 9007199254740993n],
  ["999999999999999", 999999999999999n],
  ["-1", -1n],
  ["-0", 0n],
  ["1.0", 1],
  ["1e3", 1000],
  ["-0.0", -0],
  ['"1.5"', "1.5"],
])("%s is read exactly", (json, value) => {
  expect((read(`{"n":${json}}`).value as Map<string, unknown>).get("n")).toBe(value);
});

test("what CEL has no value for is refused", () => {
  expect(() => read('{"n":1e400}')).toThrow(RangeError);
  expect(() => read(`{"n":${"9".repeat(41)}}`)).toThrow(RangeError);
});
