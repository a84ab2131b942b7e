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

const limited = (limits: string) => policies(`entitlements: [{ name: a, permit: [crm/*] }]\nlimits: [${limits}]`);
const changes = (before: string, after: string) => [
  ...new Set(compareSets(limited(before), limited(after), [], 0).map(({ change }) => change)),
];

test.each([
  ["", "{ name: n, rate: 5/s }", ["narrower"]],
  ["{ name: n, rate: 5/s }", "", ["wider"]],
  ["{ name: n, rate: 5/s }", "{ name: n, rate: 6/s }", ["wider"]],
  ["{ name: n, rate: 5/s }", "{ name: n, rate: 4/s }", ["narrower"]],
  ["{ name: n, rate: 5/s, burst: 2 }", "{ name: n, rate: 4/s }", ["wider"]],
  ["{ name: n, rate: 60/min }", "{ name: n, rate: 1/s, burst: 60 }", []],
  ["{ name: n, rate: 5/s }", "{ name: other, rate: 5/s, wait: 2s }", []],
  ["{ name: n, rate: [5/s, 50/h] }", "{ name: n, rate: 5/s }", ["wider"]],
  ["{ name: n, concurrent: 5 }", "{ name: n, concurrent: 6 }", ["wider"]],
  ["{ name: n, concurrent: 5 }", "{ name: n, concurrent: 4 }", ["narrower"]],
  ["{ name: n, rate: 5/s }", "{ name: n, rate: 5/s, each: agent }", ["wider"]],
  ["{ name: n, loop: { calls: 5, within: 1m } }", "{ name: n, loop: { calls: 6, within: 1m } }", ["wider"]],
  ["{ name: n, loop: { calls: 5, within: 1m } }", "{ name: n, loop: { calls: 5, within: 1m, action: suspend } }", ["narrower"]],
  ["{ name: n, loop: { calls: 5, within: 1m, action: suspend } }", "{ name: n, loop: { calls: 5, within: 1m } }", ["wider"]],
  ["{ name: n, who: { team: sales }, rate: 5/s }", "{ name: n, who: { team: sales }, rate: 9/s }", ["wider"]],
  ["{ name: n, tools: [crm/get], rate: 5/s }", "{ name: n, tools: [crm/get], rate: 3/s }", ["narrower"]],
])("from [%s] to [%s] is %j", (before, after, change) => {
  expect(changes(before, after)).toEqual(change);
});
