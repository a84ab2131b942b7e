import fc from "fast-check";
import { expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { explainDecision } from "../../src/call/authorize/explain.ts";
import { isRefusal } from "../../src/refusal.ts";
import { agentOf, asked, policies } from "./fixture.ts";

const rule = fc.record(
  {
    effect: fc.constantFrom("permit", "permit", "forbid"),
    target: fc.constantFrom("tickets/*", "tickets/get_*", "tickets/a", "*/a", "crm/a", "method:tickets/*"),
    team: fc.constantFrom("support", "sales", "s*"),
    when: fc.constantFrom("args.n > 1", "agent.team == 'sales'", "args.missing == 1", "now.getHours() < 12"),
    requires: fc.constantFrom("read", "write"),
    shadow: fc.boolean(),
    approval: fc.constant({ by: ["role:approver"] }),
    inspect: fc.constant(["pii"]),
    until: fc.constantFrom("1960-01-01", "2100-01-01"),
  },
  { requiredKeys: ["effect", "target"] },
);

test("an explanation never disagrees with the decision, and names the rule that gives it among those considered", () => {
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 8 }),
      fc.constantFrom("tickets/a", "tickets/get_b", "crm/a", "method:tickets/tools/list", "nowhere/a"),
      fc.constantFrom("{}", '{"n":2}'),
      fc.subarray(["read", "write"]),
      fc.constantFrom("support", "sales"),
      (rules, path, args, scopes, team) => {
        const written = rules.map(({ effect, target, team: of, requires, approval, inspect, ...rest }, index) => ({
          ...{ name: `r${index}`, [effect]: [target], ...rest },
          ...(of === undefined ? {} : { who: { team: of } }),
          ...(effect === "forbid"
            ? {}
            : {
                ...(requires && { requires: [requires] }),
                ...(approval && { approval }),
                ...(inspect && !target.startsWith("method:") && { inspect }),
              }),
        }));
        const set = policies(`entitlements: ${JSON.stringify(written)}`);
        const [agent, call] = [agentOf({ team, scopes }), asked(path, args)];
        const verdict = decide(set, agent, call, 0);
        const said = explainDecision(set, agent, call, 0);
        const waits = !isRefusal(verdict) && verdict.approval !== null;
        expect(said.decision).toBe(isRefusal(verdict) || waits ? "refuse" : "permit");
        expect(said.reason).toBe(isRefusal(verdict) ? verdict.refused : waits ? "approval_required" : null);
        expect(said.rule).toEqual(verdict.rule);
        expect(said.considered.length + said.others).toBe(rules.length);
        const deciding = said.considered.filter(({ outcome }) => outcome === "decides").map(({ name }) => name);
        if (call.target !== null) expect(deciding).toEqual(verdict.rule === null ? [] : [verdict.rule.name]);
        // A permit in force that nothing is held against is a call that goes through, unless a forbid stands against it.
        const free = said.considered.some(({ effect, differs }) => effect === "permit" && differs.length === 0);
        // A forbid whose condition cannot be evaluated counts, and says so.
        const forbidden = said.considered.some(
          ({ effect, differs, outcome }) => effect === "forbid" && (differs.length === 0 || outcome === "decides"),
        );
        if (call.target !== null && set.servers.has(call.server)) expect(said.decision === "permit").toBe(free && !forbidden);
      },
    ),
    { numRuns: 400 },
  );
});
