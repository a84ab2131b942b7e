import { expect, test } from "vitest";
import type { CallGroup } from "../../src/call/record/history.ts";
import { addUse, nothingUsed, privilegeOf } from "../../src/policy-used.ts";
import { agentOf, policies } from "./fixture.ts";

const group = (server: string, name: string, rule: string): CallGroup => ({
  agent: {
    id: "agt_01",
    name: "triage-bot",
    kind: "autonomous",
    instance: null,
    customer: "acme",
    team: "support",
    workflow: null,
    owner: "o",
    purpose: "p",
    risk_class: "limited",
  },
  ...{
    has_subject: false,
    has_arguments: true,
    method: "tools/call",
    server,
    target: { kind: "tool", name },
    policy_version: "v",
    entitlement_result: "permitted",
  },
  ...{
    reason: null,
    rule: { name: rule, file: "a.yaml", line: 1 },
    approval: false,
    shadow: null,
    sent: true,
    first_ms: 0,
    last_ms: 0,
    calls: 1,
  },
});
const set = policies(`entitlements:
  - { name: reads, permit: ["tickets/get_*"], requires: [read] }
  - { name: sells, permit: ["crm/*"], requires: [sell] }
  - { name: late, permit: [billing/pay], until: 2020-01-01 }
  - { name: others, who: { team: sales }, permit: [billing/refund] }
  - { name: no, forbid: [tickets/get_secret] }
`);
const used = nothingUsed();
addUse(used, group("tickets", "get_a", "reads"));
const tools = new Map([["tickets", ["get_a", "get_b", "get_secret", "drop"]]]);

test("a pattern counts as the tools that are known of its server, without those that are forbidden anyway, or else as one thing", () => {
  const {
    held,
    used: count,
    never,
    scopes,
  } = privilegeOf(set, agentOf(), used, { tools, issued: ["mcp", "read", "sell"] }, Date.UTC(2026, 0, 1));
  expect([held, count]).toEqual([3, 1]);
  expect(never).toEqual([
    { rule: "reads", pattern: "tickets/get_*", tools: ["tickets/get_b"] },
    { rule: "sells", pattern: "crm/*", tools: null },
  ]);
  expect(scopes).toEqual({ may: ["read", "sell"], issued: ["read", "sell"], used: ["read"] });
});

test("where no tools are known a pattern that something used has matched is used", () => {
  const { held, used: count, never, scopes } = privilegeOf(set, agentOf(), used, { tools: new Map(), issued: null }, Date.UTC(2026, 0, 1));
  expect([held, count, never.map(({ rule }) => rule), scopes.issued]).toEqual([2, 1, ["sells"], null]);
});
