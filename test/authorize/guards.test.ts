import { describe, expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { allGuards, type InspectorFacts } from "../../src/call/authorize/guards.ts";
import { compareSets } from "../../src/policy-diff.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { agentOf, asked, folderOf, policies, SERVERS } from "./fixture.ts";

const INSPECTORS: InspectorFacts = new Map([
  ["pii", { type: "http" }],
  ["pdp", { type: "authzen" }],
]);

function load(yaml: string, inspectors: InspectorFacts | null = INSPECTORS) {
  return loadPolicies(folderOf({ "test.yaml": `apiVersion: tollgate/v1\n${yaml}` }), SERVERS, "enforce", { inspectors });
}

function problems(yaml: string): string[] {
  const loaded = load(yaml);
  return "problems" in loaded ? loaded.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`) : [];
}

test("every problem of an inspect shows at once, each where it stands", () => {
  expect(
    problems(`groups: { tools: { odd: ["tickets/a", "method:tickets/vendor/x"] } }
entitlements:
  - { name: a, permit: [tickets/a], inspect: [pi, { by: nobody }, pii] }
  - { name: b, permit: [tickets/a], inspect: [{ by: pdp, of: [result] }, pdp] }
  - { name: c, permit: [tickets/a, "method:tickets/tools/list"], inspect: [pii] }
  - { name: d, permit: ["group:odd"], inspect: [pii] }
  - { name: e, forbid: [tickets/a], inspect: [pii] }
  - { name: f, permit: [tickets/a], inspect: [] }
  - { name: g, permit: [tickets/a], inspect: [{ by: pii, of: [answer] }] }
  - { name: h, permit: [tickets/a], inspect: [{ of: [result] }] }
  - { name: i, permit: [tickets/a], inspect: pii }
`),
  ).toEqual([
    "4:47: entitlements[0].inspect[0]: the config has no inspector pi; did you mean pii?",
    "4:51: entitlements[0].inspect[1]: the config has no inspector nobody: it has pii, pdp",
    "5:47: entitlements[1].inspect[0]: pdp is of type authzen, which decides on requests and never sees a result",
    "5:74: entitlements[1].inspect[1]: pdp stands here twice: write it once, with all that it looks at",
    "6:75: entitlements[2].inspect: method:tickets/tools/list has neither arguments nor a result to look at: inspect tools, resources and prompts in a rule of their own",
    "7:48: entitlements[3].inspect: method:tickets/vendor/x has neither arguments nor a result to look at: inspect tools, resources and prompts in a rule of their own",
    "8:5: entitlements[4]: a forbid is final: write a permit that is inspected",
    "9:46: entitlements[5].inspect: must not be empty",
    "10:63: entitlements[6].inspect[0].of[0]: must be arguments or result",
    '11:47: entitlements[7].inspect[0]: the key "by" is missing',
    "12:46: entitlements[8].inspect: must be a list",
  ]);
});

test("without a config that can be read nothing is said of names", () => {
  expect(load("entitlements: [{ name: a, permit: [tickets/a], inspect: [anybody] }]", null)).toHaveProperty("policySet");
});

test("an inspector that no rule asks is warned of", () => {
  const loaded = load("entitlements: [{ name: a, permit: [tickets/a], inspect: [pii] }]");
  expect(loaded.warnings.map(({ message }) => message)).toEqual(["no entitlement is inspected by pdp, so that it is never asked"]);
});

function permitOf(yaml: string, args = "{}") {
  const loaded = load(yaml);
  if ("problems" in loaded) throw new Error(loaded.problems.map(({ message }) => message).join("\n"));
  return decide(loaded.policySet, agentOf({ scopes: ["held"] }), asked("tickets/a", args), 0);
}

test("a name alone looks at both, and a decision point at the arguments", () => {
  expect(permitOf("entitlements: [{ name: a, permit: [tickets/a], inspect: [pii, pdp] }]")).toMatchObject({
    guards: [
      { inspector: "pii", of: ["arguments", "result"] },
      { inspector: "pdp", of: ["arguments"] },
    ],
  });
});

describe("of several permits", () => {
  const GUARDED = "{ name: a, permit: [tickets/a], inspect: [pii] }";
  test.each([
    ["one without a guard suffices, whatever it is called", "{ name: b, permit: [tickets/a] }", "b"],
    ["a guard comes before a scope that is missing", '{ name: "0", permit: [tickets/a], requires: [other] }', "a"],
    ["a scope that is held asks for nothing", '{ name: "0", permit: [tickets/a], requires: [held] }', "0"],
    ["a guard comes before a person", '{ name: "0", permit: [tickets/a], approval: { by: [role:approver] } }', "a"],
    ["a shadow asks no guard and spares none", '{ name: "0", permit: [tickets/a], shadow: true }', "a"],
    ["a condition that does not hold spares none", '{ name: "0", permit: [tickets/a], when: args.n > 1 }', "a"],
  ])("%s", (_, other, rule) => {
    expect(permitOf(`entitlements: [${GUARDED}, ${other}]`)).toMatchObject({ rule: { name: rule } });
    expect(permitOf(`entitlements: [${other}, ${GUARDED}]`)).toMatchObject({ rule: { name: rule } });
  });
});

test("the guards of several rules are each asked once, about all that any of them names", () => {
  expect(allGuards([[{ inspector: "pii", of: ["result"] }], [], [{ inspector: "pii", of: ["arguments", "result"] }]])).toEqual([
    { inspector: "pii", of: ["arguments", "result"] },
  ]);
  expect(allGuards([[], []])).toEqual([]);
});

describe("two sets compared", () => {
  const set = (inspect: string) => policies(`entitlements: [{ name: a, permit: [tickets/a]${inspect} }]`);
  const changes = (before: string, after: string) => compareSets(set(before), set(after), [], 0).map(({ change }) => change);
  test.each([
    ["losing a guard", ", inspect: [pii]", ""],
    ["another guard", ", inspect: [pii]", ", inspect: [words]"],
    ["a guard that looks at less", ", inspect: [pii]", ", inspect: [{ by: pii, of: [arguments] }]"],
  ])("%s may permit more", (_, before, after) => {
    expect(changes(before, after)).toEqual(["wider"]);
  });
  test("the same guards in another order change nothing", () => {
    expect(changes(", inspect: [pii, words]", ", inspect: [words, pii]")).toEqual([]);
    expect(changes(", inspect: [{ by: pii, of: [result, arguments] }]", ", inspect: [pii]")).toEqual([]);
  });
});
