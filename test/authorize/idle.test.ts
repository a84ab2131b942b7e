import { describe, expect, test } from "vitest";
import { policySetOf } from "../../src/call/authorize/candidates.ts";
import { explainDecision } from "../../src/call/authorize/explain.ts";
import { useKey } from "../../src/call/authorize/idle.ts";
import { scopesFor, visible } from "../../src/call/authorize/visible.ts";
import { agentOf, asked, policies, problemsIn, verdict } from "./fixture.ts";

const DAY_MS = 86_400_000;
const day = (count: number) => Date.UTC(2026, 0, 1) + count * DAY_MS;
const set = policies(`entitlements:
  - { name: pays, permit: [billing/pay], from: 2026-01-01, idle: 30d, requires: [pay] }
  - { name: reads, permit: [tickets/get_a] }
  - { name: named, permit: [tickets/named], from: 2026-01-01, idle: 30d, disclosure: named }
`);
const used = (...uses: [rule: string, agent: string, atMs: number][]) =>
  policySetOf({ ...set, lastUses: new Map(uses.map(([rule, agent, atMs]) => [useKey(rule, agent), atMs])) });
const never = used();
const pay = (among: typeof set, nowMs: number, id = "agt_01") =>
  verdict(among, { id: id as never, scopes: ["pay"] }, "billing/pay", "{}", nowMs);

describe("a permit that lapses", () => {
  test.each([
    ["before it begins", never, -1, "server_unknown"],
    ["from its beginning", never, 0, "permit pays"],
    ["to the last millisecond of its idle time", never, 30 - 1 / DAY_MS, "permit pays"],
    ["and no longer", never, 30, "server_unknown"],
    ["for as long again after a use", used(["pays", "agt_01", day(20)]), 50 - 1 / DAY_MS, "permit pays"],
    ["and no longer than that", used(["pays", "agt_01", day(20)]), 50, "server_unknown"],
    ["whoever else uses it", used(["pays", "agt_02", day(49)]), 50, "server_unknown"],
    ["whatever else the agent uses", used(["reads", "agt_01", day(49)]), 50, "server_unknown"],
    ["however long before its beginning it was used", used(["pays", "agt_01", day(-10)]), 29, "permit pays"],
  ])("counts %s", (_, among, days, expected) => {
    expect(pay(among, day(days))).toBe(expected);
  });

  test("counts for as long as it is written where nobody knows when it was used, as when policies are only read", () => {
    expect(pay(set, day(400))).toBe("permit pays");
  });

  test("is as if it were not there: not listed, not disclosed, and its scopes are not issued", () => {
    const agent = agentOf();
    for (const [days, there] of [
      [29, true],
      [31, false],
    ] as const) {
      expect(visible(never, agent, "billing", day(days))({ kind: "tool", name: "pay" })).toBe(there);
      expect(scopesFor(never, agent.profile, day(days))).toEqual(there ? ["mcp", "pay"] : ["mcp"]);
      expect(verdict(never, {}, "tickets/named", "{}", day(days))).toBe(there ? "permit named" : "tool_unknown");
    }
  });

  test("is explained: since when it was not used, and what renews it", () => {
    const considered = (among: typeof set, days: number) =>
      explainDecision(among, agentOf({ scopes: ["pay"] }), asked("billing/pay"), day(days)).considered.find(({ name }) => name === "pays");
    expect(considered(used(["pays", "agt_01", day(5)]), 40)?.differs).toEqual([
      "it lapsed: not used since 2026-01-06T00:00:00.000Z; write a newer from to renew it",
    ]);
    expect(considered(never, 40)?.differs).toEqual([
      "it lapsed: not used since it began at 2026-01-01T00:00:00.000Z; write a newer from to renew it",
    ]);
    expect(considered(never, 10)?.outcome).toBe("decides");
  });

  test("is renewed by a newer from", () => {
    const renewed = policies("entitlements: [{ name: pays, permit: [billing/pay], from: 2026-02-05, idle: 30d }]");
    const among = policySetOf({ ...renewed, lastUses: new Map([[useKey("pays", "agt_01"), day(1)]]) });
    expect(pay(among, day(40))).toBe("permit pays");
  });
});

test.each([
  ["{ name: a, permit: [crm/x], idle: 30d }", "idle counts from its beginning, so it needs a from"],
  ["{ name: a, forbid: [crm/x], from: 2026-01-01, idle: 30d }", "a forbid does not lapse"],
  ["{ name: a, permit: [crm/x], from: 2026-01-01, idle: 30d, shadow: true }", "a rule that is only tried is never used, so it would lapse"],
  ["{ name: a, permit: [crm/x], from: 2026-01-01, idle: 30 }", "idle: must be a whole number with s, m, h or d: 30d"],
  ["{ name: a, permit: [crm/x], from: 2026-01-01, idle: 0d }", "idle: must be a whole number with s, m, h or d: 30d"],
  ["{ name: a, permit: [crm/x], from: 2026-01-01, idle: 4000d }", "idle: is longer than 3660 days"],
])("%s is refused", (rule, words) => {
  expect(problemsIn(`entitlements:\n  - ${rule}\n`).join()).toContain(words);
});
