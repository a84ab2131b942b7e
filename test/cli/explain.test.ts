import { describe, expect, test } from "vitest";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { blankRecord } from "../../src/call/record/compose.ts";
import { explain } from "../../src/cli/explain.ts";
import { WIRE } from "../../src/refusal.ts";

const PERMITTED: AuditRecord = {
  ...blankRecord("call"),
  call_id: "call_01",
  time_start: "2026-11-23T10:00:00.000Z",
  duration_ms: 12,
  agent: {
    id: "agt_01",
    name: "triage-bot",
    kind: "autonomous",
    instance: null,
    client_id: "agt_01",
    customer: "acme",
    team: "support",
    workflow: null,
    owner: "ops@example.com",
    purpose: "sort tickets",
    risk_class: "limited",
  },
  token: { issuer: "http://127.0.0.1:8420", id: "jti" },
  server: "tickets",
  target: { kind: "tool", name: "search" },
  decision: "permit",
  rule: { name: "support-reads", file: "policies/a.yaml", line: 4 },
  budget: [
    {
      budget: "month",
      scope: "team=support",
      meter: "tool_tokens",
      window_start: "2026-11-01T00:00:00.000Z",
      window_end: null,
      held: 2_000,
      posted: 1_120,
      debt: 0,
    },
  ],
  settlement: "posted",
  usage: { calls: 1, tool_tokens: 1_120 },
  outcome: "ok",
  upstream: { status: 200, credential: "none", bytes_in: 1, bytes_out: 1, duration_ms: 1 },
};

const said = (changes: Partial<AuditRecord> = {}) => explain({ ...PERMITTED, ...changes }).join("\n");

describe("a permitted call", () => {
  test("says which budget would have refused it, where policies are only observed", () => {
    const note = "budget month of team=support: 0 of 5_000 tool_tokens left";
    const shadow = { mode: "observe", decision: "refuse", reason: "budget_exhausted", rule: null, note } as const;
    expect(said({ shadow })).toContain(`Enforced, this would be refused: budget_exhausted (${note}).`);
  });

  test("says what it cost, where there is a price", () => {
    const priced = { usage: { calls: 1, tool_tokens: 5, cost_micros: 12_000 }, prices_version: "EUR sha256:0011223344556677" };
    expect(said(priced)).toContain("Charged: 1 call, 5 tool tokens, 12_000 millionths of EUR.");
  });

  test("is told whole, from its call to its outcome", () => {
    expect(explain(PERMITTED)).toEqual([
      "call_01: tool search on tickets, 2026-11-23T10:00:00.000Z",
      "By agent triage-bot (agt_01; team support, customer acme, owner ops@example.com), with a token of http://127.0.0.1:8420.",
      "Permitted by support-reads (policies/a.yaml:4).",
      "Budget month for team=support: held 2_000 tool_tokens, posted 1_120.",
      "Charged: 1 call, 1_120 tool tokens.",
      "Outcome: ok, HTTP 200, after 12 ms.",
    ]);
  });

  test("names those through whom it came, and what is owed", () => {
    expect(said({ actor_chain: ["planner", "router"] })).toContain("through planner through router");
    const [line] = PERMITTED.budget;
    expect(said({ budget: line === undefined ? [] : [{ ...line, debt: 1_500 }] })).toContain("1_500 as debt");
  });

  test("whose fate is unknown says that the held amounts stand", () => {
    expect(said({ settlement: "unknown" })).toContain("the held amounts are charged");
  });

  test("that was not sent, or not delivered, says so", () => {
    const undelivered = said({ reason: "upstream_unreachable", settlement: "voided", usage: null, outcome: "refused" });
    expect(undelivered).toContain("Permitted by support-reads (policies/a.yaml:4), then not delivered: upstream_unreachable");
    expect(undelivered).toContain("nothing was charged");
    expect(undelivered).not.toContain("Outcome");
  });
});

describe("a refused call", () => {
  const refused = {
    decision: "refuse",
    rule: null,
    budget: [],
    settlement: null,
    usage: null,
    outcome: "refused",
    upstream: null,
  } as const;

  test.each(Object.keys(WIRE))("for %s has its meaning in words", (reason) => {
    const words = said({ ...refused, reason });
    expect(words).toContain(`Refused: ${reason}: ${WIRE[reason as keyof typeof WIRE].title}.`);
    expect(words).toContain("Nothing was charged.");
  });

  test("names the note that only the operator sees", () => {
    expect(said({ ...refused, reason: "arguments_denied", note: "small (p.yaml:9) decides tickets/search" })).toContain(
      `Refused: arguments_denied: ${WIRE.arguments_denied.title} (small (p.yaml:9) decides tickets/search).`,
    );
  });

  test("after a permit does not blame the rule that permitted", () => {
    const words = said({
      ...refused,
      entitlement_result: "permitted",
      reason: "budget_exhausted",
      rule: { name: "small", file: "p.yaml", line: 9 },
      note: "budget month",
    });
    expect(words).toContain("Permitted by small (p.yaml:9), then refused: budget_exhausted");
    expect(words).toContain("(budget month)");
  });

  test("of nobody says so, and one without a reason too", () => {
    expect(said({ ...refused, agent: null, token: null, reason: "credential_missing" })).toContain("By nobody that could be verified.");
    expect(said({ ...refused, reason: null })).toContain("no reason recorded");
  });

  test("for a reason that an older or newer version wrote is told as it is", () => {
    expect(said({ ...refused, reason: "toString" })).toContain("Refused: toString.");
  });
});

test("nothing that came from outside steers the terminal", () => {
  const evil = "x\u001b[2J\u202e\nFAKE: Permitted";
  const agent = PERMITTED.agent === null ? null : { ...PERMITTED.agent, name: evil, owner: evil, team: evil };
  const lines = explain({
    ...PERMITTED,
    agent,
    actor_chain: [evil],
    token: { issuer: evil, id: null },
    target: { kind: "tool", name: evil },
    rule: { name: evil, file: evil, line: 1 },
    note: evil,
    reason: evil,
    outcome: evil,
    server: evil,
    budget: PERMITTED.budget.map((line) => ({ ...line, scope: evil, budget: evil })),
  });
  for (const line of lines) expect(line).toMatch(/^[\x20-\x7e]*$/);
});

test("a stream that was closed is told as the call it was", () => {
  expect(said({ kind: "stream.closed" })).toBe(said());
});

test("a record that is no call is told by its kind, who did it and its facts, and was not refused", () => {
  const record = { ...blankRecord("agent.created"), administrator: "first", time_start: "2026-11-23T10:00:00.000Z" };
  expect(explain({ ...record, details: { agent: "triage-bot", team: null, risk_class: "limited" } })).toEqual([
    "agent.created: 2026-11-23T10:00:00.000Z",
    "By the administrator first.",
    "agent triage-bot, risk_class limited",
  ]);
});
