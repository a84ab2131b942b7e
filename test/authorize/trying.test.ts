/** Rules that count for a time, rules that are only tried, and lists with a name. */
import { describe, expect, test } from "vitest";
import { policySetOf } from "../../src/call/authorize/candidates.ts";
import { judgeWithTasks } from "../../src/call/authorize/task-access.ts";
import { createTasks } from "../../src/call/authorize/tasks.ts";
import { reaches, visible } from "../../src/call/authorize/visible.ts";
import { agentOf, asked, policies, problemsIn, verdict } from "./fixture.ts";

const at = (written: string) => Date.parse(written);
const tool = (name: string) => ({ kind: "tool", name }) as const;

describe("a rule with from and until", () => {
  const set = policies(`
entitlements:
  - { name: december, permit: [crm/read], from: 2026-12-01, until: "2026-12-24T18:00:00+01:00" }
  - { name: always, permit: [crm/list, crm/read_all] }
  - { name: holidays, forbid: [crm/list], from: 2026-12-20, until: 2026-12-27 }
`);
  test.each([
    ["2026-11-30T23:59:59.999Z", "crm/read", "tool_unknown"],
    ["2026-12-01T00:00:00.000Z", "crm/read", "permit december"],
    ["2026-12-24T16:59:59.999Z", "crm/read", "permit december"],
    ["2026-12-24T17:00:00.000Z", "crm/read", "tool_unknown"],
    ["2026-12-19T23:59:59.999Z", "crm/list", "permit always"],
    ["2026-12-20T00:00:00.000Z", "crm/list", "tool_unknown"],
    ["2026-12-27T00:00:00.000Z", "crm/list", "permit always"],
  ])("at %s: %s is %s, in the list as in the call", (time, path, expected) => {
    expect(verdict(set, {}, path, "{}", at(time))).toBe(expected);
    const [server = "", name = ""] = path.split("/");
    expect(visible(set, agentOf(), server, at(time))(tool(name))).toBe(expected.startsWith("permit"));
  });

  test("opens and closes a server with it, however often was asked before", () => {
    const only = policies("entitlements: [{ name: december, permit: [crm/read], from: 2026-12-01, until: 2026-12-02 }]");
    const seen = ["2026-11-30", "2026-12-01", "2026-12-02"].map((day) => reaches(only, agentOf(), "crm", at(day)));
    expect(seen).toEqual([false, true, false]);
    expect(verdict(only, {}, "crm/read", "{}", at("2026-11-30"))).toBe("server_unknown");
  });

  test("must say times that are times, in their order", () => {
    expect(
      problemsIn(`
entitlements:
  - { name: a, permit: [crm/x], from: tomorrow }
  - { name: b, permit: [crm/x], from: 2026-02-30 }
  - { name: c, permit: [crm/x], until: "2026-12-01T09:00:00" }
  - { name: d, permit: [crm/x], from: 2026-12-02, until: 2026-12-02 }
`),
    ).toEqual([
      expect.stringMatching(/^4:39: entitlements\[0\]\.from: must be a date or an RFC 3339 time/),
      expect.stringMatching(/^5:39: entitlements\[1\]\.from: must be a date/),
      expect.stringMatching(/^6:40: entitlements\[2\]\.until: must be a date/),
      expect.stringMatching(/^7:5: entitlements\[3\]: until is not after from/),
    ]);
  });
});

describe("a rule that is only tried", () => {
  const set = policies(`
entitlements:
  - { name: reads, permit: [crm/read, crm/list] }
  - { name: tried-forbid, shadow: true, forbid: ["crm/r*"] }
  - { name: tried-permit, shadow: true, permit: [crm/write, billing/pay], when: args.amount < 10 }
`);
  const judge = (path: string, args = "{}") =>
    judgeWithTasks({ policySet: set, tasks: createTasks(), carries: () => true }, agentOf(), { ...asked(path, args) } as never, 0);

  test("changes no decision and no list, and opens no server", () => {
    expect(verdict(set, {}, "crm/read")).toBe("permit reads");
    expect(verdict(set, {}, "crm/write", '{"amount":1}')).toBe("tool_unknown");
    expect(verdict(set, {}, "billing/pay", '{"amount":1}')).toBe("server_unknown");
    expect(["read", "write"].map((name) => visible(set, agentOf(), "crm", 0)(tool(name)))).toEqual([true, false]);
  });

  test("says beside the decision what would be, and nothing of what it is not about", () => {
    expect(judge("crm/read").shadow).toMatchObject({ mode: "shadow", decision: "refuse", reason: "tool_unknown" });
    expect(judge("crm/write", '{"amount":1}').shadow).toMatchObject({ decision: "permit", reason: null, rule: { name: "tried-permit" } });
    expect(judge("crm/write", '{"amount":10}').shadow).toMatchObject({ decision: "refuse", reason: "arguments_denied" });
    expect(judge("crm/list").shadow).toBeNull();
  });
});

describe("policies that are observed", () => {
  const enforced = policies(`
entitlements:
  - { name: reads, permit: [crm/read], requires: [crm.read], when: "!has(args.limit) || args.limit < 10" }
  - { name: pays, permit: [billing/pay], approval: { by: [role:approver] } }
  - { name: never, forbid: [crm/drop] }
budgets: [{ name: few, meter: calls, limit: 1, period: day }]
`);
  const set = policySetOf(enforced, "observe");
  const judge = (path: string, args = "{}", caller = {}) =>
    judgeWithTasks({ policySet: set, tasks: createTasks(), carries: () => true }, agentOf(caller), { ...asked(path, args) } as never, 0);

  test.each([
    ["crm/read", "{}", "scope_insufficient"],
    ["crm/read", '{"limit":99}', "arguments_denied"],
    ["crm/drop", "{}", "tool_unknown"],
    ["tickets/anything", "{}", "server_unknown"],
    ["method:crm/odd/method", "{}", "method_unknown"],
    ["billing/pay", "{}", "approval_required"],
  ])("let %s %s pass, and say that it would be %s", (path, args, reason) => {
    const { verdict: passed, shadow } = judge(path, args);
    expect(passed).toMatchObject({ approval: null });
    expect(shadow).toMatchObject({ mode: "observe", decision: "refuse", reason });
  });

  test("say nothing beside what is permitted, and name its rule", () => {
    expect(judge("crm/read", "{}", { scopes: ["crm.read"] })).toMatchObject({ shadow: null, verdict: { rule: { name: "reads" } } });
  });

  test("hide nothing, count on every budget, and let none of them refuse", () => {
    expect(visible(set, agentOf(), "crm", 0)(tool("drop"))).toBe(true);
    expect(reaches(set, agentOf(), "tickets", 0)).toBe(true);
    expect(judge("crm/drop").verdict).toMatchObject({ rule: null, draws: [{ budget: "few", hard: false }] });
  });

  test("do not make up a server", () => {
    expect(judge("nowhere/x").verdict).toMatchObject({ refused: "server_unknown" });
  });
});

describe("a permit that a person has to approve", () => {
  test.each([
    ["asks for nothing else where another permit does not", "crm/read", { scopes: [] }, "permit plain"],
    ["is asked for only after scopes could not do", "crm/write", { scopes: [] }, "scope_insufficient"],
    ["is not asked for where a scope does", "crm/write", { scopes: ["crm.write"] }, "permit scoped"],
  ])("%s", (_, path, caller, expected) => {
    const set = policies(`
entitlements:
  - { name: asked, permit: ["crm/*"], approval: { by: [role:approver], within: 15m } }
  - { name: plain, permit: [crm/read] }
  - { name: scoped, permit: [crm/write], requires: [crm.write] }
`);
    expect(verdict(set, caller, path)).toBe(expected);
  });

  test("is refused at check where it makes no sense", () => {
    expect(
      problemsIn(`
entitlements:
  - { name: a, forbid: [crm/x], approval: { by: [role:approver] } }
  - { name: b, permit: [crm/x], approval: { by: [role:viewer], within: 8d } }
`),
    ).toEqual([
      expect.stringMatching(/a forbid is final: write a permit that needs an approval$/),
      expect.stringMatching(/by\[0\]: must be role:approver, role:admin or key:NAME$/),
      expect.stringMatching(/within: is longer than 7 days$/),
    ]);
  });
});

describe("a group", () => {
  const set = policies(`
groups:
  agents: { helpers: [triage-bot, "helper-*"] }
  tools: { reading: [crm/read, "tickets/get_*", "resource:crm/file:///*"] }
entitlements:
  - { name: reads, who: { agent: group:helpers }, permit: [group:reading, billing/show] }
  - { name: not-that, who: { agent: [group:helpers] }, forbid: [tickets/get_secret] }
budgets: [{ name: reading, tools: [group:reading], meter: calls, limit: 5, period: day }]
`);
  test.each([
    ["triage-bot", "crm/read", "permit reads"],
    ["helper-7", "tickets/get_one", "permit reads"],
    ["helper-7", "tickets/get_secret", "tool_unknown"],
    ["helper-7", "resource:crm/file:///a", "permit reads"],
    ["helper-7", "billing/show", "permit reads"],
    ["stranger", "crm/read", "server_unknown"],
  ])("%s at %s: %s", (name, path, expected) => {
    expect(verdict(set, { name }, path)).toBe(expected);
  });

  test("must be there, be one, and hold no other", () => {
    expect(
      problemsIn(`
groups:
  tools: { one: [crm/read], nests: [group:one], broken: [nonsense] }
entitlements:
  - { name: a, permit: [group:missing] }
  - { name: b, permit: [group:nests] }
  - { name: c, permit: [group:broken] }
  - { name: d, who: { agent: group:one }, permit: [crm/x] }
`),
    ).toEqual([
      expect.stringMatching(/permit\[0\]: no group of this kind is named missing: there is one, nests, broken$/),
      expect.stringMatching(/permit\[0\]: group:nests holds group:one: groups do not hold groups$/),
      expect.stringMatching(/permit\[0\]: "nonsense" names no server/),
      expect.stringMatching(/who\.agent: no group of this kind is named one: there is none$/),
    ]);
  });
});

test("conditions see the claims of the token and the server's region", () => {
  const set = policies(`
entitlements:
  - { name: on-call, permit: [crm/read], when: "'on-call' in claims.groups && claims.level >= 2" }
  - { name: here, permit: [billing/pay], when: region == '' }
`);
  const claims = { groups: ["on-call"], level: 2, __proto__: null };
  const call = (given: object) =>
    judgeWithTasks(
      { policySet: set, tasks: createTasks(), carries: () => true },
      { ...agentOf(), claims: given as never },
      asked("crm/read") as never,
      0,
    ).verdict;
  expect(call(claims)).toMatchObject({ rule: { name: "on-call" } });
  for (const other of [{ ...claims, level: 1 }, { ...claims, groups: [] }, {}])
    expect(call(other)).toMatchObject({ refused: "tool_unknown" });
  expect(verdict(set, {}, "billing/pay")).toBe("permit here");
});
