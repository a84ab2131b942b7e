import { expect, test } from "vitest";
import type { PolicySet } from "../../src/call/authorize/candidates.ts";
import { decide } from "../../src/call/authorize/decide.ts";
import { explainDecision } from "../../src/call/authorize/explain.ts";
import type { Pace } from "../../src/call/authorize/permit.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { isRefusal } from "../../src/refusal.ts";
import { agentOf, asked, type Caller, folderOf, policies, problemsIn, SERVERS } from "./fixture.ts";

const OPEN = 'entitlements:\n  - { name: all, permit: ["*/*", "resource:*/*", "method:*/*"] }\nlimits:\n';

test.each([
  ["rate: 0/s", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: -5/min", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: 0.5/s", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: 1000000000/s", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: 60", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: 60/fortnight", "rate: must be a whole number from 1 to 1000000 per s, min, h or day: 60/min"],
  ["rate: [1/s, 10/min, 100/h]", "min, h or day: 60/min, or a list of two"],
  ["rate: 9/s, burst: 0", "burst: must be at least 1"],
  ["rate: 9/s, burst: 1.5", "burst: must be a whole number"],
  ["concurrent: 3, burst: 5", "burst: is the burst of a rate, and there is none"],
  ["concurrent: 0", "concurrent: must be at least 1"],
  ["concurrent: 100001", "concurrent: must be at most 100000"],
  ["rate: 9/s, wait: 31s", "wait: is longer than 30 s, and clients give up after 60"],
  ["rate: 9/s, wait: 2", "wait: must be a whole number with ms or s: 2s"],
  ["loop: { calls: 5, within: 1m }, wait: 2s", "wait: waits for a rate or a place, and there is neither"],
  ["loop: { calls: 1, within: 1m }", "loop.calls: must be at least 2"],
  ["loop: { calls: 101, within: 1m }", "loop.calls: must be at most 100"],
  ["loop: { calls: 5, within: 2h }", "loop.within: is longer than 1 h"],
  ["loop: { calls: 5 }", 'loop: the key "within" is missing'],
  ["loop: { calls: 5, within: 1m, action: shout }", "loop.action: must be refuse or suspend"],
  ["rate: [10/s, 5/s]", "rate[1]: is the sustained rate: its period must be longer than that of the first"],
  ["rate: [1000/h, 10/s]", "rate[1]: is the sustained rate: its period must be longer than that of the first"],
  ["rate: [10/s, 36000/h]", "rate[1]: never refuses anything: 10/s lets no more pass"],
  ["rate: [100/s, 50/h]", "rate[0]: never refuses anything: 50/h is used up first"],
  ["each: agent", ": limits nothing: it needs rate, concurrent or loop"],
  ["rate: 9/s, each: planet", "each: must be one or a list of agent, instance, team, workflow, customer, subject, server, tool"],
  ["rate: 9/s, tools: [echo]", 'tools[0]: "echo" names no server: write server/tool, or */echo for every server'],
])("a limit with { %s } is refused where it is wrong", (members, message) => {
  const [problem = "", ...others] = problemsIn(`${OPEN}  - { name: it, ${members} }\n`);
  expect(others).toEqual([]);
  expect(problem).toMatch(/^5:\d+: limits\[0\]/);
  expect(problem).toContain(message);
});

test("two limits may not have one name, and a budget may have the name of a limit", () => {
  const budgets = "budgets:\n  - { name: it, meter: calls, limit: 5, period: day }\n";
  expect(problemsIn(`${OPEN}  - { name: it, rate: 1/s }\n${budgets}`)).toEqual([]);
  expect(problemsIn(`${OPEN}  - { name: it, rate: 1/s }\n  - { name: it, rate: 2/s }\n${budgets}`)).toEqual([
    "6:13: limits[1].name: the limit it is already at policies/test.yaml:5",
  ]);
});

test("whoever writes a wait longer than a server's timeout is warned", () => {
  const yaml = `apiVersion: tollgate/v1\n${OPEN}  - { name: it, rate: 1/s, wait: 20s, tools: ["tickets/*"] }\n`;
  const servers = new Map([...SERVERS].map(([name, facts]) => [name, { ...facts, timeoutMs: 10_000 }]));
  expect(loadPolicies(folderOf({ "test.yaml": yaml }), servers).warnings.map(({ message }) => message)).toEqual([
    "limits[0].wait: is longer than servers.tickets.timeout: who calls will hardly wait for both",
  ]);
});

function pacesOf(set: PolicySet, caller: Caller, path: string): readonly Pace[] {
  const permit = decide(set, agentOf(caller), asked(path), 0);
  if (isRefusal(permit)) throw new Error(permit.refused);
  return permit.limits;
}

const named = (paces: readonly Pace[]) => paces.map(({ limit, scope }) => (scope === "" ? limit.name : `${limit.name} ${scope}`));

test("a call meets the limits whose who and tools match, in their order, each on the counter that `each` says", () => {
  const set = policies(`${OPEN}
  - { name: everybody, rate: 100/s }
  - { name: own, each: agent, rate: 60/min }
  - { name: others, who: { team: sales }, rate: 1/s }
  - { name: one-tool, tools: ["tickets/search"], each: [team, tool], concurrent: 2 }
  - { name: all-crm, tools: ["crm/*"], rate: 1/s }
  - { name: reading, tools: ["resource:*/*"], each: subject, rate: 1/s }
  - { name: lists, tools: ["method:*/tools/list", "method:*/ping", "method:*/initialize"], rate: 1/s }
`);
  expect(named(pacesOf(set, {}, "tickets/search"))).toEqual(["everybody", "own agent=agt_01", "one-tool team=support&tool=tickets/search"]);
  expect(named(pacesOf(set, {}, "crm/get"))).toEqual(["everybody", "own agent=agt_01", "all-crm"]);
  expect(named(pacesOf(set, { team: "sales" }, "billing/x"))).toEqual(["everybody", "own agent=agt_01", "others"]);
  expect(named(pacesOf(set, { subject: "ann" }, "resource:crm/a:b"))).toEqual([
    "everybody",
    "own agent=agt_01",
    expect.stringMatching(/^reading subject=sha256:[0-9a-f]{16}$/),
  ]);
});

test("what is no call meets a limit only where a method pattern names it, and a handshake never", () => {
  const set = policies(`${OPEN}
  - { name: everybody, rate: 100/s }
  - { name: lists, tools: ["method:*/tools/list", "method:*/ping", "method:*/initialize", "method:*/server/discover"], rate: 1/s }
`);
  expect(named(pacesOf(set, {}, "method:crm/tools/list"))).toEqual(["lists"]);
  expect(named(pacesOf(set, {}, "method:crm/prompts/list"))).toEqual([]);
  for (const handshake of ["initialize", "server/discover", "ping"]) expect(named(pacesOf(set, {}, `method:crm/${handshake}`))).toEqual([]);
});

test("limits are looked up once for a caller and a target, however many there are", () => {
  const many = Array.from(
    { length: 1_000 },
    (_, i) => `  - { name: n${i}, who: { agent: "other-${i}" }, tools: ["crm/t${i}"], rate: 1/s }`,
  );
  const set = policies(`${OPEN}${many.join("\n")}\n  - { name: own, rate: 1/s }\n`);
  const first = pacesOf(set, {}, "crm/get");
  expect(named(first)).toEqual(["own"]);
  expect(pacesOf(set, {}, "crm/get")).toBe(first);
});

test("an explanation names the limits that the call would be held against, in words; a refused call is held against none", () => {
  const set = policies(`${OPEN}
  - { name: own, each: agent, rate: [10/s, 1000/h], burst: 20, concurrent: 8, wait: 2s }
  - { name: circle, loop: { calls: 5, within: 90s, action: suspend } }
  - { name: others, tools: ["crm/*"], rate: 1/s }
`);
  expect(explainDecision(set, agentOf(), asked("tickets/a"), 0).limits).toEqual([
    { name: "own", scope: "agent=agt_01", text: "10/s, burst 20, and 1000/h; 8 at once; waits up to 2 s" },
    { name: "circle", scope: "", text: "the same call 5 times in 90 s, then suspend" },
  ]);
  expect(explainDecision(set, agentOf(), asked("nowhere/a"), 0).limits).toEqual([]);
});
