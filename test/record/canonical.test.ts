import canonicalize from "canonicalize";
import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalAround, canonicalJson } from "../../src/call/record/canonical.ts";
import { bodyOf, recordRow } from "../../src/call/record/rows.ts";
import { auditOf, LINES, newCallId } from "./entries.ts";

test("every JSON value has the same canonical form as the library gives it", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const wellFormed = JSON.stringify(value).isWellFormed() && !/\\ud[89a-f]/i.test(JSON.stringify(value));
      if (wellFormed) expect(canonicalJson(value)).toBe(canonicalize(value));
      else expect(() => canonicalJson(value)).toThrow("lone surrogate");
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  [{ b: 1, a: 2, "10": 3, "9": 4, "": 5 }],
  [JSON.parse('{"__proto__":{"x":1},"constructor":2}')],
  [{ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude02": 5, "\u0080": 6, "\u00f6": 7 }],
  [[1e21, 1e-7, -0, 0.1, 1e23, Number.MAX_SAFE_INTEGER, 5e-324]],
  ['"\\\b\f\n\r\t\u0000\u001f\u007f\u2028é'],
  [{ a: undefined, b: [null, true, false] }],
])("%j has the same canonical form as the library gives it", (value) => {
  expect(canonicalJson(value)).toBe(canonicalize(value));
});

test.each([[Number.NaN], [Number.POSITIVE_INFINITY], ["\udc00"], [{ "\ud800": 1 }], [() => 1], [1n]])("%s has none", (value) => {
  expect(() => canonicalJson(value)).toThrow("canonical form");
});

test("two shapes with the same first name and number of names do not mix", () => {
  expect(
    canonicalJson([
      { z: 1, b: 2 },
      { z: 1, a: 2 },
    ]),
  ).toBe('[{"b":2,"z":1},{"a":2,"z":1}]');
});

test("a member can be put in its place later, also first or last", () => {
  for (const name of ["a", "m", "z"]) {
    const { before, after } = canonicalAround({ y: 1, c: 2 }, name);
    const parts = [before.slice(1), `"${name}":0`, after.slice(0, -1)].filter((part) => part !== "");
    expect(`{${parts.join(",")}}`).toBe(canonicalize({ y: 1, c: 2, [name]: 0 }));
  }
});

test("a record's body is the canonical form of the record with its number, its gateway and its usage event", () => {
  const record = auditOf(newCallId(), LINES, "posted", 120);
  expect(bodyOf(recordRow(record, "gw_x", "sha256:00"), 17)).toBe(
    canonicalize({ ...record, sequence: 17, source: "gw_x", usage_event: "sha256:00" }),
  );
});
