import { describe, expect, test } from "vitest";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import { type PolicySet, policySetOf } from "../../src/call/authorize/candidates.ts";
import { decide } from "../../src/call/authorize/decide.ts";
import { useKey } from "../../src/call/authorize/idle.ts";
import { decidedBy, decidePartly, type PartlyAsked } from "../../src/call/authorize/partly-known.ts";
import { NOTHING_READ } from "../../src/call/authorize/pins.ts";
import type { EntitlementFile } from "../../src/call/authorize/policy-file.ts";
import { compilePolicies } from "../../src/call/authorize/policy-set.ts";
import { type Random, seededRandom } from "../fixtures/seeded-random.ts";
import { agentOf, asked, type Caller, policies } from "./fixture.ts";
import { asFile, type Question, randomCase, SERVERS } from "./random-policies.ts";

const judge = (yaml: string, path: string, caller: Caller = {}, nowMs = Date.UTC(2026, 5, 1)) =>
  decidePartly(policies(yaml), { agent: agentOf(caller), hasSubject: false, hasArguments: true, asked: asked(path), nowMs });

describe("a decision of which not everything is known", () => {
  test.each<[string, string, object]>([
    ["no condition", "{ name: a, permit: [crm/x] }", { decision: "permit", rule: { name: "a" } }],
    ["nothing permits it", "{ name: a, permit: [crm/y] }", { decision: "refuse", reason: "tool_unknown", rule: null }],
    ["a condition on what is known", "{ name: a, permit: [crm/x], when: agent.team == 'support' }", { decision: "permit" }],
    ["a condition on arguments", "{ name: a, permit: [crm/x], when: args.n > 1 }", { without: ["arguments"] }],
    ["scopes", "{ name: a, permit: [crm/x], requires: [w] }", { without: ["scopes"] }],
    ["roles in a condition", "{ name: a, permit: [crm/x], when: \"'r' in agent.roles\" }", { without: ["roles"] }],
    ["roles in who", "{ name: a, who: { role: r }, permit: [crm/x] }", { without: ["roles"] }],
    ["claims", "{ name: a, permit: [crm/x], when: claims.n == 1 }", { without: ["claims"] }],
    ["a person", "{ name: a, permit: [crm/x], approval: { by: [role:approver] } }", { decision: "ask", reason: "approval_required" }],
    ["no subject is known to be none", "{ name: a, who: { subject: '*' }, permit: [crm/x] }", { decision: "refuse" }],
    ["when it was used", "{ name: a, permit: [crm/x], from: 2026-01-01, idle: 30d }", { without: ["use"] }],
    ["it cannot have lapsed yet", "{ name: a, permit: [crm/x], from: 2026-05-15, idle: 30d }", { decision: "permit" }],
    [
      "what is not known of another tool",
      "{ name: a, permit: [crm/x] }\n  - { name: b, permit: [crm/y], when: args.n > 1 }",
      { decision: "permit" },
    ],
    [
      "a permit beside the doubtful one",
      "{ name: a, permit: [crm/x] }\n  - { name: b, permit: [crm/x], when: args.n > 1 }",
      { decision: "permit", rule: { name: "a" } },
    ],
    [
      "only what matters is named",
      "{ name: a, permit: [crm/x], requires: [w] }\n  - { name: b, permit: [crm/x], when: 'true' }\n  - { name: c, forbid: [crm/x], when: args.n > 1 }",
      { without: ["arguments"] },
    ],
    [
      "refused for one reason or another",
      "{ name: a, permit: [crm/y] }\n  - { name: b, who: { role: r }, forbid: [crm/*], disclosure: named }",
      { decision: "refuse", reason: null },
    ],
  ])("%s", (_, rules, expected) => {
    expect(judge(`entitlements:\n  - ${rules}\n`, "crm/x")).toMatchObject(expected);
  });

  test("what was recorded tells of the unknown: a condition that held then holds in the proposed set", () => {
    const before = policies("entitlements: [{ name: a, permit: [crm/x], when: args.n <= 100, requires: [w] }]");
    const ask = (yaml: string, decision: "permit" | "refuse", reason: string | null) =>
      decidePartly(
        policies(yaml),
        { agent: agentOf(), hasSubject: false, hasArguments: true, asked: asked("crm/x"), nowMs: 0 },
        { policySet: before, decision, reason, rule: "a" },
      );
    const moved = "entitlements: [{ name: b, permit: ['crm/*'], when: args.n <= 100 }]";
    expect(ask(moved, "permit", null)).toMatchObject({ decision: "permit", rule: { name: "b" } });
    expect(ask(moved, "refuse", "arguments_denied")).toMatchObject({ decision: "refuse" });
    expect(ask(moved, "refuse", "scope_insufficient")).toMatchObject({ decision: "permit" });
    expect(ask("entitlements: [{ name: b, permit: [crm/x], when: args.n <= 10 }]", "permit", null)).toEqual({ without: ["arguments"] });
    // The condition of a permit that did not apply may have failed to evaluate, and a forbid then counts.
    const forbids = "entitlements: [{ name: b, permit: [crm/x] }, { name: c, forbid: [crm/x], when: args.n <= 100 }]";
    expect(ask(forbids, "refuse", "arguments_denied")).toEqual({ without: ["arguments"] });
    // A record that does not fit: nothing is learnt from it.
    expect(ask(moved, "refuse", "tool_unknown")).toEqual({ without: ["arguments"] });
  });

  test("more ways than can be tried are not known", () => {
    const rules = Array.from({ length: 9 }, (_, n) => `  - { name: r${n}, permit: [crm/x], when: args.n > ${n} }`);
    expect(judge(`entitlements:\n${rules.join("\n")}\n`, "crm/x")).toEqual({ without: ["arguments"] });
  });
});

const FACTS = new Map(SERVERS.map((name) => [name, { reserve: { tool_tokens: 0 } }]));

function build(entitlements: readonly EntitlementFile[], lastUses: ReadonlyMap<string, number>): PolicySet {
  const { rules } = compilePolicies([{ file: "a.yaml", policy: asFile(entitlements), lineOf: () => 1 }], FACTS, "v");
  return policySetOf({ ...rules, lastUses }, "enforce", NOTHING_READ, { views: 2, candidates: 3 });
}

/** Permits with a beginning lapse after a time, and some were used. */
function lapsing(random: Random, rules: readonly EntitlementFile[], nowMs: number) {
  const written = rules.map((rule) => (rule.permit && rule.from && !rule.shadow && random() < 0.7 ? { ...rule, idle: "100d" } : rule));
  const uses = written.flatMap(({ name }) => (random() < 0.5 ? [[useKey(name, "agt_01"), nowMs - random() * 2e10] as const] : []));
  return { written, lastUses: new Map(uses) };
}

/** The call as a record tells of it. */
function recorded({ agent, asked: call, nowMs }: Question): PartlyAsked {
  const known: Agent = { ...agent, roles: [], scopes: new Set(["mcp"]), subject: null, person: null, claims: {} };
  return {
    agent: known,
    hasSubject: agent.subject !== null,
    hasArguments: call.target !== null,
    asked: { ...call, argumentsSpan: null },
    nowMs,
  };
}

/** The call as it was, and as it may have been. */
function completions(random: Random, { agent, asked: call }: Question): { agent: Agent; call: Question["asked"] }[] {
  const some = <T>(from: readonly T[]): T[] => from.filter(() => random() < 0.5);
  const others = Array.from({ length: 4 }, () => {
    const json = Buffer.from(['{"n":2}', '{"n":1,"m":1}', "{}", '{"missing":1}', '{"list":[1]}'][Math.floor(random() * 5)] ?? "{}");
    const subject = agent.subject === null ? null : (["alice", "bob", "al"][Math.floor(random() * 3)] ?? null);
    const scopes = new Set(["mcp", ...some(["read", "write", "admin"])]);
    const body = call.target === null ? call : { ...call, body: json, argumentsSpan: { start: 0, end: json.length } };
    return { agent: { ...agent, scopes, roles: some(["admin", "reader", "adm"]), subject, person: subject }, call: body };
  });
  return [{ agent, call }, ...others];
}

test("whenever it is known, the real decision is the same, whatever the unknown was", () => {
  const random = seededRandom(5);
  let known = 0;
  let asking = 0;
  for (let i = 0; i < 400; i++) {
    const { entitlements, questions } = randomCase(random);
    for (const question of questions.filter(({ asked: { method } }) => method !== "subscriptions/listen")) {
      const { written, lastUses } = lapsing(random, entitlements, question.nowMs);
      const said = decidePartly(build(written, new Map()), recorded(question));
      asking += 1;
      if ("without" in said) continue;
      known += 1;
      const real = build(written, lastUses);
      for (const { agent, call } of completions(random, question)) {
        const was = decidedBy(decide(real, agent, call, question.nowMs));
        const told = {
          decision: was.decision,
          reason: said.reason === null ? null : was.reason,
          rule: said.rule === null ? null : (was.rule?.name ?? null),
        };
        expect(told).toEqual({ ...said, rule: said.rule?.name ?? null });
      }
    }
  }
  expect([asking > 1_000, known > asking / 2]).toEqual([true, true]);
});

test("what was recorded under other policies makes more of it known, and nothing wrong", () => {
  const random = seededRandom(6);
  let learnt = 0;
  for (let i = 0; i < 400; i++) {
    const { entitlements, questions } = randomCase(random);
    const next = entitlements.filter(() => random() < 0.8);
    for (const question of questions.filter(({ asked: { method } }) => method !== "subscriptions/listen")) {
      const { written, lastUses } = lapsing(random, entitlements, question.nowMs);
      const kept = written.filter(({ name }) => next.some((rule) => rule.name === name));
      const before = decidedBy(decide(build(written, lastUses), question.agent, question.asked, question.nowMs));
      const evidence = {
        policySet: build(written, new Map()),
        decision: before.decision,
        reason: before.reason,
        rule: before.rule?.name ?? null,
      };
      const alone = decidePartly(build(kept, new Map()), recorded(question));
      const said = decidePartly(build(kept, new Map()), recorded(question), evidence);
      if ("without" in said) continue;
      if ("without" in alone) learnt += 1;
      expect(said.decision).toBe(decidedBy(decide(build(kept, lastUses), question.agent, question.asked, question.nowMs)).decision);
    }
  }
  expect(learnt).toBeGreaterThan(20);
});
