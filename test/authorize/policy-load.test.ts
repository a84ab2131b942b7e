import { expect, test } from "vitest";
import { loadPolicies } from "../../src/policy-load.ts";
import { folderOf, problemsIn, SERVERS } from "./fixture.ts";

const HEAD = "apiVersion: tollgate/v1\n";

test("every problem of a policy file shows at once, each where it stands", () => {
  expect(
    problemsIn(`agents:
  bot: { owner: x, purpose: y, kind: robot }
  agt_1: { owner: x, purpose: y }
gadgetry: []
entitlements:
  - name: both
    permit: [tickets/*]
    forbid: [tickets/x]
  - name: empty
    permit: [tickets/a]
    when: ""
  - { name: nobody, who: {}, permit: ["tool:x/y"], requires: ["a b"], approval: {} }
  - { name: typo, who: { kind: autonom, taem: x }, permit: [] }
  - name: patterns
    permit: ["tickets", "Tickets/x", "foo:a/b", "x/"]
    when: args.limit <= 100 && agnt.name == 'x'
  - { name: patterns, permit: [tickets/a], when: "args.p.matches('x')" }
budgets:
  - { name: b, meter: bytes, limit: -5, period: fortnight, timeZone: Mars/X, notify: [half] }
  - { name: c, meter: calls, limit: 5_00, period: day }
  - { name: c, meter: calls, limit: 9_999_999_999_999_999, period: day }
`),
  ).toEqual([
    "3:38: agents.bot.kind: must be autonomous or service or fleet or collective or synthetic or human-driven",
    "4:3: agents.agt_1: must not look like an agent's id: a rule for that id would match it",
    "5:1: gadgetry: unknown key; known here: apiVersion, agents, groups, entitlements, limits, budgets",
    "7:5: entitlements[0]: must have either permit or forbid",
    "12:11: entitlements[1].when: is empty; leave it out, or put the expression in quotes",
    "13:26: entitlements[2].who: names nobody; leave it out to mean every agent",
    "13:63: entitlements[2].requires[0]: is not a scope (RFC 6749 section 3.3)",
    '13:81: entitlements[2].approval: the key "by" is missing',
    "14:32: entitlements[3].who.kind: is not a kind; there are autonomous, service, fleet, collective, synthetic, human-driven",
    "14:41: entitlements[3].who.taem: unknown key; did you mean team?",
    "14:60: entitlements[3].permit: must not be empty",
    '16:14: entitlements[4].permit[0]: "tickets" names no server: write server/tool, or */tickets for every server',
    '16:25: entitlements[4].permit[1]: "Tickets/x": "Tickets" is not a server\'s name',
    '16:38: entitlements[4].permit[2]: "foo:a/b": before a colon stands one of resource, prompt, method',
    '16:49: entitlements[4].permit[3]: "x/" names nothing after the server: write x/* for everything there',
    "17:32: entitlements[4].when: unknown variable: agnt",
    "18:13: entitlements[5].name: the entitlement patterns is already at policies/test.yaml:15",
    "18:51: entitlements[5].when: matches is not offered; use like(text, pattern), where * is any characters",
    "20:37: budgets[0].limit: must be at least 0",
    "20:49: budgets[0].period: must be hour or day or week or month or year or total",
    "20:70: budgets[0].timeZone: is not an IANA time zone such as Europe/Berlin",
    "20:87: budgets[0].notify[0]: must be percent of the limit, from 1% to 1000%: 80%",
    "21:37: budgets[1].limit: must be a whole number, such as 2000 or 5_000_000",
    "22:37: budgets[2].limit: must be at most 9007199254740991",
  ]);
});

test("a lease of a rolling budget is refused where it stands, with what to do", () => {
  const of = (more: string) => problemsIn(`budgets:\n  - { name: b, meter: calls, limit: 100, rolling: 1m, ${more} }\n`);
  expect(of("lease: 10")).toEqual([
    "3:62: budgets[0].lease: not with rolling, which would set a slice aside in each of its 60 slots: leave it out, or take a period",
  ]);
  expect(of("lease: 0")).toEqual([]);
});

test.each([
  ["when: !args.x", "a YAML tag is not allowed: put the text in quotes"],
  ["permit: [*/x]", "a YAML alias is not allowed: put the text in quotes, or write the value out"],
  ["permit: &all [tickets/x]", "a YAML anchor is not allowed: put the text in quotes, or write the value out"],
])("%s shows the remedy, which is quotes", (line, message) => {
  expect(problemsIn(`entitlements:\n  - name: a\n    ${line}\n`)).toEqual([expect.stringContaining(message)]);
});

test("names are unique over all files, and cases are no policies", () => {
  const rule = "entitlements: [{ name: a, permit: [tickets/x] }]\n";
  const folder = folderOf({
    "b.yaml": HEAD + rule,
    "a.yaml": HEAD + rule,
    "a.cases.yaml": "nonsense: [",
    ".hidden.yaml": "[",
    "notes.md": "",
  });
  expect(loadPolicies(folder, SERVERS)).toMatchObject({
    problems: [
      { file: `${folder}/b.yaml`, line: 2, column: 24, message: "entitlements[0].name: the entitlement a is already at policies/a.yaml:2" },
    ],
  });
});

test("a budget that must hold needs something to hold", () => {
  const folder = folderOf({ "a.yaml": `${HEAD}budgets: [{ name: b, tools: ["crm/*"], meter: tool_tokens, limit: 5, period: day }]\n` });
  const servers = new Map([["crm", { reserve: { tool_tokens: 0 } }]]);
  expect(loadPolicies(folder, servers)).toMatchObject({
    problems: [{ message: expect.stringContaining("servers.crm.reserve.tool_tokens is 0") }],
  });
  expect(loadPolicies(folder, SERVERS)).toHaveProperty("policySet");
});

test("a rule for a server that the config does not have is a warning", () => {
  const loaded = loadPolicies(folderOf({ "a.yaml": `${HEAD}entitlements: [{ name: a, permit: ["tikets/*"] }]\n` }), SERVERS);
  expect(loaded).toMatchObject({ warnings: [{ line: 2, message: expect.stringContaining("no server tikets") }] });
  expect(loaded).toHaveProperty("policySet");
});

test("an empty folder permits nothing, and says so; a missing one is a problem", () => {
  const folder = folderOf({});
  expect(loadPolicies(folder, SERVERS)).toMatchObject({
    warnings: [{ file: folder, message: expect.stringContaining("nothing is permitted") }],
  });
  expect(loadPolicies(`${folder}/no`, SERVERS)).toMatchObject({ problems: [{ message: "the policies folder cannot be read: ENOENT" }] });
});

test("declared agents carry their attributes and their place", () => {
  const loaded = loadPolicies(folderOf({ "a.yaml": `${HEAD}agents:\n  constructor: { owner: o, purpose: p }\n` }), SERVERS);
  if ("problems" in loaded) throw new Error("problems");
  expect(loaded.agents.get("constructor")).toEqual({
    name: "constructor",
    file: "policies/a.yaml",
    line: 3,
    customer: "default",
    owner: "o",
    purpose: "p",
    kind: "autonomous",
    riskClass: "unclassified",
  });
  expect(loaded.agents.get("toString")).toBeUndefined();
});

test("the version changes with every byte and every name", () => {
  const version = (files: Record<string, string>): string => {
    const loaded = loadPolicies(folderOf(files), SERVERS);
    return "problems" in loaded ? "" : loaded.policySet.policyVersion;
  };
  const base = version({ "a.yaml": HEAD });
  expect(base).toMatch(/^sha256:[0-9a-f]{16}$/);
  expect(version({ "a.yaml": HEAD })).toBe(base);
  expect(version({ "a.yaml": `${HEAD}\n` })).not.toBe(base);
  expect(version({ "b.yaml": HEAD })).not.toBe(base);
});
