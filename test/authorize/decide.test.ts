import { expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { reaches, scopesFor, visible } from "../../src/call/authorize/visible.ts";
import { isRefusal } from "../../src/refusal.ts";
import { agentOf, asked, type Caller, policies, verdict } from "./fixture.ts";

const OFFICE = policies(`
entitlements:
  - { name: support-reads, who: { team: support }, permit: [tickets/search, "tickets/get_*"], when: args.limit <= 100 }
  - { name: support-lists, who: { team: support }, permit: [tickets/list_all] }
  - { name: nobody-deletes, forbid: ["*/delete_*"] }
  - { name: admins-do-all, who: { role: admin }, permit: ["tickets/*", "resource:tickets/*", "prompt:tickets/*"] }
  - { name: no-big-refunds, forbid: [billing/refund], when: args.amount > 1000 }
  - { name: refunds, who: { agent: [refund-bot, agt_77] }, permit: [billing/refund], requires: [billing.refund, billing.read] }
  - { name: small-refunds, who: { agent: refund-bot }, permit: [billing/refund], when: args.amount <= 10 }
  - { name: docs, who: { customer: "ac*" }, permit: ["resource:crm/file:///docs/*", "prompt:crm/summary"] }
  - { name: docs-not-private, forbid: ["resource:crm/*/private/*"] }
  - { name: tasks, who: { kind: service }, permit: ["method:tickets/tasks/*"] }
  - { name: office-hours, who: { team: night }, permit: [tickets/search], when: now.getHours() >= 8 && now.getHours() < 18 }
  - { name: export-later, who: { team: night }, permit: [tickets/export], when: now.getHours() >= 22, disclosure: named }
`);

const NINE = 9 * 3_600_000;
const REFUNDER: Caller = { name: "refund-bot", team: "billing" };

const CASES: readonly [what: string, caller: Caller, path: string, args: string, verdict: string][] = [
  ["a condition that holds", {}, "tickets/search", '{"limit":100}', "permit support-reads"],
  ["a condition that does not", {}, "tickets/search", '{"limit":101}', "arguments_denied"],
  ["a condition without its argument", {}, "tickets/search", "{}", "arguments_denied"],
  ["a pattern", {}, "tickets/get_ticket", '{"limit":1}', "permit support-reads"],
  ["a name that no rule permits", {}, "tickets/close", "{}", "tool_unknown"],
  ["a name that does not exist", {}, "tickets/nonsense", "{}", "tool_unknown"],
  ["a forbid against a permit of everything", { roles: ["admin"] }, "tickets/delete_all", "{}", "tool_unknown"],
  ["two permits of which one is met: the first by name", { roles: ["admin"] }, "tickets/search", '{"limit":1}', "permit admins-do-all"],
  ["another team", { team: "sales" }, "tickets/search", '{"limit":1}', "server_unknown"],
  ["no team", { team: null }, "tickets/search", '{"limit":1}', "server_unknown"],
  ["a server that the config does not have", { roles: ["admin"] }, "nowhere/search", "{}", "server_unknown"],
  ["a permit that lacks only scopes", REFUNDER, "billing/refund", '{"amount":500}', "scope_insufficient"],
  ["a second permit that needs none", REFUNDER, "billing/refund", '{"amount":10}', "permit small-refunds"],
  ["the scopes", { ...REFUNDER, scopes: ["billing.read", "billing.refund"] }, "billing/refund", '{"amount":500}', "permit refunds"],
  [
    "an agent by its id",
    { id: "agt_77" as never, name: "x", scopes: ["billing.read", "billing.refund"] },
    "billing/refund",
    '{"amount":1}',
    "permit refunds",
  ],
  ["a forbid on arguments, before scopes", REFUNDER, "billing/refund", '{"amount":1001}', "arguments_denied"],
  [
    "a forbid that cannot be evaluated",
    { ...REFUNDER, scopes: ["billing.read", "billing.refund"] },
    "billing/refund",
    '{"amount":"1"}',
    "arguments_denied",
  ],
  ["an integer beyond a double, exactly", REFUNDER, "billing/refund", '{"amount":9007199254740993}', "arguments_denied"],
  ["a number beyond any double", REFUNDER, "billing/refund", '{"amount":1e400}', "arguments_denied"],
  ["a resource by its URI", {}, "resource:crm/file:///docs/a/b.md", "{}", "permit docs"],
  ["a resource that is forbidden", {}, "resource:crm/file:///docs/private/b.md", "{}", "tool_unknown"],
  ["a resource whose URI is spelled otherwise", {}, "resource:crm/file:///DOCS/a", "{}", "tool_unknown"],
  ["a tool is not a resource", {}, "crm/file:///docs/a", "{}", "tool_unknown"],
  ["a prompt", {}, "prompt:crm/summary", "{}", "permit docs"],
  ["a prompt that no rule names", {}, "prompt:crm/other", "{}", "tool_unknown"],
  ["everything on a server is of its kind", { roles: ["admin"] }, "prompt:tickets/any", "{}", "permit admins-do-all"],
  ["an unknown method", {}, "method:tickets/tasks/get", "{}", "method_unknown"],
  ["a method with its permit", { kind: "service" }, "method:tickets/tasks/get", "{}", "permit tasks"],
  ["a list", {}, "method:tickets/tools/list", "{}", "permit support-lists"],
  ["a handshake", {}, "method:tickets/initialize", "{}", "permit support-lists"],
  ["a handshake where nothing is permitted", {}, "method:billing/initialize", "{}", "server_unknown"],
  ["a notification", {}, "method:tickets/notifications/cancelled", "{}", "permit support-lists"],
  ["setting the log level", {}, "method:tickets/logging/setLevel", "{}", "permit support-lists"],
  ["a condition on the time", { team: "night" }, "tickets/search", "{}", "permit office-hours"],
  ["out of hours, named", { team: "night" }, "tickets/export", "{}", "entitlement_denied"],
];

test.each(CASES)("%s", (_what, caller, path, args, expected) => {
  expect(verdict(OFFICE, caller, path, args, NINE)).toBe(expected);
});

const TWINS = [
  "deIete",
  "search\u200b",
  "ｓearch",
  "sеarch",
  "Search",
  "search ",
  "search.",
  "%73earch",
  "search\u0301",
  "\u202esearch",
  "__proto__",
  "constructor",
  "toString",
];

test.each(TWINS)("%j is not search: names match byte by byte", (name) => {
  const policySet = policies("entitlements: [{ name: a, permit: [tickets/search] }]");
  expect(verdict(policySet, {}, `tickets/${name}`)).toBe("tool_unknown");
});

test("a tool whose name is outside the specification's letters is hidden even where everything is permitted", () => {
  const policySet = policies('entitlements: [{ name: a, permit: ["tickets/*"] }]');
  for (const name of ["ｓearch", "a b", "a\u0000", "x".repeat(129)]) expect(verdict(policySet, {}, `tickets/${name}`)).toBe("tool_unknown");
  expect(verdict(policySet, {}, "tickets/__proto__")).toBe("permit a");
});

test("`*` crosses slashes, and a server's pattern reaches every configured server", () => {
  const policySet = policies('entitlements: [{ name: a, permit: ["*/repo/*/read"] }]');
  expect(verdict(policySet, {}, "tickets/repo/a/b/read")).toBe("permit a");
  expect(verdict(policySet, {}, "tickets/repo/read")).toBe("tool_unknown");
});

test("a challenge names all scopes of the permit that lacks fewest, with those held that matter here", () => {
  const policySet = policies(`
entitlements:
  - { name: far, permit: [crm/sync], requires: [a, b, c] }
  - { name: near, permit: [crm/sync], requires: [d, e] }
  - { name: other, permit: [crm/read], requires: [held] }
`);
  const refusal = decide(policySet, agentOf({ scopes: ["d", "held", "openid"] }), asked("crm/sync"), 0);
  expect(refusal).toMatchObject({ refused: "scope_insufficient", facts: { scope: "mcp d e held" } });
});

test("a condition that fails to evaluate is recorded with the permit and with the refusal", () => {
  const policySet = policies(`
entitlements:
  - { name: broken, permit: [crm/read], when: args.limit < 5 }
  - { name: works, permit: [crm/read] }
  - { name: guard, forbid: [crm/write], when: args.path.startsWith("/etc") }
  - { name: writes, permit: [crm/write] }
`);
  expect(decide(policySet, agentOf(), asked("crm/read", '{"limit":"x"}'), 0)).toMatchObject({
    rule: { name: "works", file: "policies/test.yaml", line: 5 },
    conditionFaults: ["broken"],
  });
  expect(decide(policySet, agentOf(), asked("crm/write", '{"path":5}'), 0)).toMatchObject({
    refused: "arguments_denied",
    note: "guard (policies/test.yaml:6) decides crm/write; conditions that could not be evaluated: guard",
  });
});

test("a refusal tells the caller nothing of the policy", () => {
  for (const path of ["tickets/close", "tickets/delete_all", "tickets/nonsense"]) {
    expect(decide(OFFICE, agentOf(), asked(path), 0)).toMatchObject({ refused: "tool_unknown", facts: {} });
  }
});

test("a metered call draws on every budget that applies, in the order of the file; a free one on none", () => {
  const policySet = policies(`
entitlements: [{ name: a, permit: ["tickets/*", "resource:tickets/*"] }]
budgets:
  - { name: team-calls, who: { team: support }, each: team, meter: calls, limit: 1_000, period: day, timeZone: Europe/Berlin }
  - { name: others, who: { team: sales }, meter: calls, limit: 1, period: day }
  - { name: searches, tools: [tickets/search], each: [agent, tool], meter: calls, limit: 10, period: hour }
  - { name: shared, meter: tool_tokens, limit: 500, period: total, hard: false, overrun: deliver }
  - { name: people, each: subject, meter: calls, limit: 5, period: week }
`);
  const permit = decide(policySet, agentOf({ team: "support", subject: "alice" }), asked("tickets/search"), 0);
  expect(permit).toMatchObject({
    draws: [
      {
        budget: "team-calls",
        scope: "team=support",
        limit: 1000,
        period: "day",
        timeZone: "Europe/Berlin",
        hard: true,
        overrun: "withhold",
      },
      { budget: "searches", scope: "agent=agt_01&tool=tickets/search", meter: "calls" },
      { budget: "shared", scope: "", meter: "tool_tokens", timeZone: "UTC", hard: false, overrun: "deliver" },
      { budget: "people", scope: expect.stringMatching(/^subject=sha256:[0-9a-f]{16}$/) },
    ],
  });
  expect(decide(policySet, agentOf(), { ...asked("resource:tickets/x"), course: "other" }, 0)).toMatchObject({ draws: [] });
});

test("a team's name cannot reach into another team's counter", () => {
  const policySet = policies(`
entitlements: [{ name: a, permit: ["tickets/*"] }]
budgets: [{ name: b, each: [team, server], meter: calls, limit: 1, period: day }]
`);
  const permit = decide(policySet, agentOf({ team: "x&server=crm" }), asked("tickets/a"), 0);
  expect(permit).toMatchObject({ draws: [{ scope: "team=x%26server%3Dcrm&server=tickets" }] });
});

test("a list shows what a call with the right arguments and scopes could reach", () => {
  const see = (caller: Caller, nowMs = NINE) => {
    const shows = visible(OFFICE, agentOf(caller), "tickets", nowMs);
    return ["search", "get_x", "list_all", "delete_x", "close", "export"].filter((name) => shows({ kind: "tool", name }));
  };
  expect(see({})).toEqual(["search", "get_x", "list_all"]);
  expect(see({ roles: ["admin"], team: null })).toEqual(["search", "get_x", "list_all", "close", "export"]);
  expect(see({ team: "night" })).toEqual(["search"]);
  expect(see({ team: "night" }, 0)).toEqual([]);
  expect(visible(OFFICE, agentOf(REFUNDER), "billing", 0)({ kind: "tool", name: "refund" })).toBe(true);
});

test("a server exists for an agent when some permit is left that no forbid takes away whole", () => {
  const policySet = policies(`
entitlements:
  - { name: a, permit: ["crm/read_*", billing/pay] }
  - { name: b, forbid: ["crm/read*", billing/other] }
`);
  expect(reaches(policySet, agentOf(), "crm", 0)).toBe(false);
  expect(reaches(policySet, agentOf(), "billing", 0)).toBe(true);
  expect(reaches(policySet, agentOf(), "tickets", 0)).toBe(false);
});

test("a scope may be issued when a permit for the agent requires it", () => {
  expect(scopesFor(OFFICE, agentOf(REFUNDER).profile, 0)).toEqual(["mcp", "billing.read", "billing.refund"]);
  expect(scopesFor(OFFICE, agentOf().profile, 0)).toEqual(["mcp"]);
});

test("an agent that changes its team is judged anew", () => {
  expect(verdict(OFFICE, { team: "support" }, "tickets/list_all")).toBe("permit support-lists");
  expect(verdict(OFFICE, { team: "sales" }, "tickets/list_all")).toBe("server_unknown");
});

test("of several permits that ask for as little, one that says how the call is dealt with is heard, whatever their names", () => {
  const rules = (general: string, particular: string) => `
entitlements:
  - { name: ${general}, permit: ["tickets/*"] }
  - { name: ${particular}, permit: [tickets/search], when: args.limit <= 100, idempotency: { replay: 24h }, reserve: { tool_tokens: 500 } }
  - { name: not-met, permit: [tickets/search], when: args.limit > 5000, idempotency: { replay: 1h } }
  - { name: dearer, permit: [tickets/search], requires: [more], idempotency: { replay: 2h } }
`;
  const said = (policySet: ReturnType<typeof policies>, args: string) => {
    const answer = decide(policySet, agentOf({}), asked("tickets/search", args), 0);
    return isRefusal(answer) ? answer.refused : [answer.replayMs, answer.reserve];
  };
  for (const policySet of [policies(rules("a", "b")), policies(rules("b", "a"))]) {
    expect(said(policySet, '{"limit":1}')).toEqual([86_400_000, { tool_tokens: 500 }]);
    expect(said(policySet, '{"limit":101}')).toEqual([null, null]);
  }
});
