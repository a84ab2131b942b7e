import fc from "fast-check";
import { expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { globOf } from "../../src/call/authorize/glob.ts";
import type { Permit } from "../../src/call/authorize/permit.ts";
import { visible } from "../../src/call/authorize/visible.ts";
import { isRefusal, type Refusal } from "../../src/refusal.ts";
import { agentOf, asked, policies } from "./fixture.ts";

const TEAMS = ["support", "sales"];
const TOOLS = ["search", "get_a", "get_b", "delete_a"];
const PATTERNS = ["tickets/search", "tickets/get_a", "tickets/get_*", "tickets/*", "*/delete_*", "*/*_a", "crm/search"];
const CONDITIONS = [
  "args.n > 1",
  "args.n > 1 && has(args.m)",
  "args.missing == 1",
  "agent.team == 'sales'",
  "now.getHours() < 12",
  "agent.team.size() > 5",
];
const SCOPES = ["read", "write"];

const rule = fc.record(
  {
    effect: fc.constantFrom("permit", "permit", "permit", "forbid"),
    targets: fc.uniqueArray(fc.constantFrom(...PATTERNS), { minLength: 1, maxLength: 2 }),
    team: fc.constantFrom(...TEAMS),
    when: fc.constantFrom(...CONDITIONS),
    requires: fc.uniqueArray(fc.constantFrom(...SCOPES), { minLength: 1 }),
  },
  { requiredKeys: ["effect", "targets"] },
);
type RuleText = typeof rule extends fc.Arbitrary<infer T> ? T : never;

const caller = fc.record({
  team: fc.constantFrom(...TEAMS, null),
  scopes: fc.uniqueArray(fc.constantFrom(...SCOPES)),
});
const args = fc.constantFrom("{}", '{"n":1}', '{"n":2}', '{"n":2,"m":1}', '{"n":"x"}', '{"missing":1}');
const nowMs = fc.constantFrom(0, 13 * 3_600_000);

function written(rules: readonly (RuleText & { name: string })[]): string {
  return `entitlements: ${JSON.stringify(
    rules.map(({ name, effect, targets, team, when, requires }) => ({
      name,
      [effect ?? "permit"]: targets,
      ...(team === undefined ? {} : { who: { team } }),
      ...(when === undefined ? {} : { when }),
      ...(requires === undefined || effect === "forbid" ? {} : { requires }),
    })),
  )}`;
}

const named = fc.array(rule, { minLength: 1, maxLength: 8 }).map((rules) => rules.map((each, index) => ({ ...each, name: `r${index}` })));

/** All of an answer but the lines of rules, which move when the rules do. */
function summaryOf(answer: Permit | Refusal): unknown {
  return isRefusal(answer) ? [answer.refused, answer.facts] : [answer.rule?.name, answer.conditionFaults];
}

test("the order of the rules changes nothing", () => {
  fc.assert(
    fc.property(named, fc.infiniteStream(fc.nat()), caller, args, nowMs, (rules, order, who, json, now) => {
      const shuffled = rules.map((each) => ({ each, at: order.next().value ?? 0 })).toSorted((a, b) => a.at - b.at);
      const judge = (text: string) => {
        const policySet = policies(text);
        return TOOLS.map((tool) => summaryOf(decide(policySet, agentOf(who), asked(`tickets/${tool}`, json), now)));
      };
      expect(judge(written(shuffled.map(({ each }) => each)))).toEqual(judge(written(rules)));
    }),
    { numRuns: 150 },
  );
});

test("what is not listed is never callable, and every refusal of a listed tool names its demand", () => {
  fc.assert(
    fc.property(named, caller, args, nowMs, (rules, who, json, now) => {
      const policySet = policies(written(rules));
      const agent = agentOf(who);
      const shows = visible(policySet, agent, "tickets", now);
      for (const tool of TOOLS) {
        const answer = decide(policySet, agent, asked(`tickets/${tool}`, json), now);
        const refused = isRefusal(answer) ? answer.refused : null;
        if (shows({ kind: "tool", name: tool })) expect([null, "arguments_denied", "scope_insufficient"]).toContain(refused);
        else expect(["tool_unknown", "server_unknown"]).toContain(refused);
      }
    }),
    { numRuns: 300 },
  );
});

test("one more forbid never permits what was refused, one more permit never refuses what was permitted", () => {
  const isPermitted = (rules: readonly (RuleText & { name: string })[], who: { team: string | null; scopes: string[] }, json: string) => {
    const policySet = policies(written(rules));
    return TOOLS.map((tool) => !isRefusal(decide(policySet, agentOf(who), asked(`tickets/${tool}`, json), 0)));
  };
  fc.assert(
    fc.property(named, rule, caller, args, (rules, more, who, json) => {
      const before = isPermitted(rules, who, json);
      const after = isPermitted([...rules, { ...more, name: "more" }], who, json);
      for (const [index, was] of before.entries()) {
        if (more.effect === "forbid") expect(was || !after[index]).toBe(true);
        else expect(!was || after[index]).toBe(true);
      }
    }),
    { numRuns: 150 },
  );
});

test("a pattern matches as its regular expression would", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "/", "\n"), maxLength: 6 });
  fc.assert(
    fc.property(letters, fc.string({ unit: fc.constantFrom("a", "b", "/", "\n"), maxLength: 10 }), (pattern, text) => {
      const source = pattern
        .split("*")
        .map((part) => part.replace(/[/]/g, "\\/"))
        .join("[\\s\\S]*");
      expect(globOf(pattern)(text)).toBe(new RegExp(`^(?:${source})$(?![\\s\\S])`).test(text));
    }),
    { numRuns: 2000 },
  );
});

test("an account only ever takes away: within it nothing changes, beyond it nothing is permitted, shown or reached", () => {
  const bounds = fc.uniqueArray(fc.constantFrom(...PATTERNS, "prompt:tickets/*"), { maxLength: 3 });
  fc.assert(
    fc.property(named, caller, bounds, args, nowMs, (rules, who, tools, json, now) => {
      const policySet = policies(written(rules));
      const free = agentOf(who);
      const bound = agentOf({ ...who, account: { tools, scopes: null } });
      const covered = (tool: string) => tools.some((pattern) => globOf(pattern)(`tickets/${tool}`));
      for (const tool of TOOLS) {
        const answer = summaryOf(decide(policySet, bound, asked(`tickets/${tool}`, json), now));
        const before = summaryOf(decide(policySet, free, asked(`tickets/${tool}`, json), now));
        if (covered(tool)) expect(answer).toEqual(before);
        else expect(isRefusal(decide(policySet, bound, asked(`tickets/${tool}`, json), now))).toBe(true);
        const shown = visible(policySet, bound, "tickets", now)({ kind: "tool", name: tool });
        expect(shown).toBe(covered(tool) && visible(policySet, free, "tickets", now)({ kind: "tool", name: tool }));
      }
      if (tools.length === 0)
        expect(decide(policySet, bound, asked("method:tickets/tools/list"), now)).toMatchObject({ refused: "server_unknown" });
    }),
    { numRuns: 150 },
  );
});
