import { expect, test } from "vitest";
import { compareSets } from "../../src/policy-diff.ts";
import { policies } from "./fixture.ts";

const set = (when: string) => policies(`entitlements: [{ name: a, permit: [crm/x], when: ${JSON.stringify(when)} }]`);

test.each([
  ["args.n <= 100", "args.n <= 10", "narrower"],
  ["args.n <= 10", "args.n <= 100", "wider"],
  ["args.n <= 10 && args.m > 3", "args.n <= 9 && args.m > 4", "narrower"],
  ["args.n <= 10 && args.m > 3", "args.n <= 9 && args.m > 2", "wider"],
  // Where less turns into more, a bound says nothing.
  ["!(args.n <= 10)", "!(args.n <= 5)", "wider"],
  ["size(args.l.filter(x, x <= 10)) == 0", "size(args.l.filter(x, x <= 5)) == 0", "wider"],
  ["args.l.exists_one(x, x <= 10)", "args.l.exists_one(x, x <= 5)", "wider"],
  ["args.n > 1 ? args.m <= 10 : true", "args.n > 2 ? args.m <= 10 : true", "wider"],
  ["args.s in ['a <= 10, b']", "args.s in ['a <= 5, b']", "wider"],
])("from %s to %s is %s", (before, after, change) => {
  expect(compareSets(set(before), set(after), [], 0).map((each) => each.change)).toEqual(expect.arrayContaining([change]));
  expect(new Set(compareSets(set(before), set(after), [], 0).map((each) => each.change)).size).toBe(1);
});
