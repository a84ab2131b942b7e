import { expect, test } from "vitest";
import { canonicalArguments } from "../../src/call/record/fingerprint.ts";

test.each([
  ['{"a":1,"b":[true,null]}', '{ "b": [ true, null ], "a": 1.0 }'],
  ['{"a":"\\u0041"}', '{"a":"A"}'],
  ['{"n":100}', '{"n":1e2}'],
  ['{"n":0}', '{"n":-0}'],
  ['{"__proto__":{"x":1}}', '{"__proto__":{"x":1.0}}'],
])("%s and %s are the same arguments", (a, b) => {
  expect(canonicalArguments(a)).toBe(canonicalArguments(b));
});

test.each([
  ['{"n":9007199254740993}', '{"n":9007199254740992}'],
  ['{"n":5}', '{"n":"5"}'],
  ['{"n":{"text":"5"}}', '{"n":5}'],
  ['{"a":[1,2]}', '{"a":[2,1]}'],
  ['{"a":null}', "{}"],
  ['{"__proto__":{"x":1}}', "{}"],
  ['{"a":"x"}', '{"a":"X"}'],
])("%s and %s are different arguments", (a, b) => {
  expect(canonicalArguments(a)).not.toBe(canonicalArguments(b));
});
