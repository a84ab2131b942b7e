import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { openBooks } from "../../src/call/record/books.ts";
import { PAGE_RECORDS } from "../../src/call/record/history.ts";
import { openReader } from "../../src/call/record/store.ts";
import type { Report } from "../../src/policy-backtest.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { folderWithCalls, type PastCall, policyFolder } from "./past-calls.ts";
import { folderOf, tollgate } from "./terminal.ts";

const RULES = `apiVersion: tollgate/v1
entitlements:
  - { name: reads, who: { team: support }, permit: ["up/get_*"] }
  - { name: small, who: { team: support }, permit: [up/sum], when: args.a <= 100 }
  - { name: writes, who: { team: support }, permit: [up/write], requires: [w] }
  - { name: pays, who: { team: support }, permit: [up/pay], approval: { by: [role:approver] } }
`;
const AT = "2026-11-20T10:00:00Z";
const CALLS: readonly PastCall[] = [
  { at: AT, tool: "get_a", rule: "reads", times: 5 },
  { at: AT, tool: "get_b", rule: "reads", times: 2, agent: { id: "agt_other", name: "other" } },
  { at: AT, tool: "get_b", rule: "reads", reason: "budget_exhausted" },
  { at: AT, tool: "sum", rule: "small", times: 3 },
  { at: AT, tool: "sum", rule: "small", refused: "arguments_denied" },
  { at: AT, tool: "write", rule: "writes" },
  { at: AT, tool: "pay", rule: "pays", reason: "approval_required" },
  { at: AT, tool: "drop", refused: "tool_unknown", times: 4 },
  { at: "2026-10-01T10:00:00Z", tool: "get_old", rule: "reads" },
];

let config: string;
const versionOf = () => {
  const loaded = loadPolicies(join(config, "../policies"), new Map([["up", { reserve: { tool_tokens: 0 } }]]));
  return "policySet" in loaded ? loaded.policySet.policyVersion : "";
};
const backtest = (...args: string[]) => tollgate(["policy", "backtest", "-c", config, "--since", "2026-11-01", ...args]);
async function report(rules: string, ...args: string[]) {
  const { code, out } = await backtest("--policies", policyFolder(rules), "--json", ...args);
  const said = JSON.parse(out) as Report;
  const flips = said.flips.map(
    ({ agent, target, was, would, calls }) =>
      `${agent} ${target} ${was.reason ?? was.decision} -> ${would.reason ?? would.decision} ${calls}`,
  );
  return { ...said, code, flips: flips.toSorted() };
}

beforeAll(async () => {
  config = join(folderOf({ "policies/a.yaml": RULES }), "none");
  const policy_version = versionOf();
  config = await folderWithCalls(
    RULES,
    CALLS.map((call) => ({ ...call, more: { ...call.more, policy_version } })),
  );
});
// A command that answers no sets it for its process, which here is that of the tests.
afterEach(() => {
  process.exitCode = undefined;
});

describe("policy backtest", () => {
  test("finds nothing to tell where the policies are those that decided", async () => {
    const { code, out } = await backtest();
    expect([code, out]).toEqual([0, "18 calls judged, 0 would be decided otherwise"]);
  });

  test("lists what would be decided otherwise by agent, tool and rule, and ends with 1 where what passed would not", async () => {
    const narrower = "  - { name: one, permit: [up/get_a, up/sum, up/write] }\n  - { name: no, forbid: [up/write] }";
    expect(await report(narrower)).toMatchObject({
      code: 1,
      calls: 18,
      narrows: true,
      flips: [
        "bot up/get_b permit -> tool_unknown 1",
        "bot up/pay approval_required -> tool_unknown 1",
        "bot up/sum arguments_denied -> permit 1",
        "bot up/write permit -> tool_unknown 1",
        "other up/get_b permit -> tool_unknown 2",
      ],
    });
    const text = await backtest("--policies", policyFolder(narrower));
    expect(text.out).toMatch(/^other +up\/get_b +2 +permit +reads \(policies\/a\.yaml:3\) +tool_unknown +-$/m);
    expect(text.out).toMatch(/^bot +up\/write +1 +permit +writes \S+ +tool_unknown +no \(.*a\.yaml:4\)$/m);
    expect(text.out).toContain("18 calls judged, 6 would be decided otherwise: some that passed would not");
  });

  test("what never passed does not narrow, and what would pass now widens", async () => {
    const same = RULES.split("\n").slice(2).join("\n");
    expect(await report(same.replace('"up/get_*"', "up/get_a, up/get_b").replace("[up/write]", "[up/write, up/drop]"))).toMatchObject({
      code: 0,
      widens: false,
      flips: [],
    });
    const wider = `${same}  - { name: more, permit: [up/drop] }`;
    expect(await report(wider)).toMatchObject({ code: 0, widens: true, narrows: false, flips: ["bot up/drop tool_unknown -> permit 4"] });
    expect((await report(wider, "--fail-on", "widen")).code).toBe(1);
    expect((await report(wider, "--fail-on", "any")).code).toBe(1);
    const less = same.replace('"up/get_*"', "up/get_a").replace("up/get_a", "up/get_a, up/get_b");
    expect(await report(less)).toMatchObject({ code: 0, flips: [] });
    const strict = same.replace("[up/pay], approval: { by: [role:approver] }", "[up/other]");
    expect(await report(strict)).toMatchObject({ code: 0, narrows: false, flips: ["bot up/pay approval_required -> tool_unknown 1"] });
    expect((await report("  - { name: none, permit: [up/x] }", "--fail-on", "none")).code).toBe(0);
  });

  test("says of how many calls it cannot know, and for want of what", async () => {
    const tighter = await report(
      "  - { name: t, permit: [up/sum], when: args.a <= 10 }\n  - { name: s, permit: [up/get_a], requires: [r] }\n  - { name: r, who: { role: x }, permit: [up/get_b] }\n  - { name: k, permit: [up/pay], when: claims.x == 1 }",
    );
    expect(tighter.unjudged).toEqual([
      { without: "scopes", calls: 5 },
      { without: "arguments", calls: 4 },
      { without: "roles", calls: 3 },
      { without: "claims", calls: 1 },
    ]);
    const { out } = await backtest("--policies", policyFolder("  - { name: t, permit: [up/sum], when: args.a <= 10 }"));
    expect(out).toContain("4 calls could not be judged: not recorded is arguments");
  });

  test("learns from what was decided: a condition that held then holds where it stands now", async () => {
    const moved =
      "  - { name: all, permit: ['up/*'] }\n  - { name: limit, permit: [up/sum], when: args.a <= 100 }\n  - { name: large, forbid: [up/sum], when: args.a > 100000 }";
    expect((await report(moved)).unjudged).toEqual([{ without: "arguments", calls: 4 }]);
    const renamed = "  - { name: sums, permit: [up/sum], when: args.a <= 100 }";
    expect((await report(renamed)).flips).not.toContainEqual(expect.stringContaining("up/sum"));
    expect((await report(renamed)).unjudged).toEqual([]);
  });

  test("judges each call as of its own time, and only calls of the time and the agent that are asked for", async () => {
    expect((await report("  - { name: until, permit: ['up/*'], until: 2026-11-20T10:00:01Z }", "--agent", "other")).flips).toEqual([]);
    expect((await report("  - { name: until, permit: ['up/*'], until: 2026-11-20T10:00:00Z }", "--agent", "other")).flips).toEqual([
      "other up/get_b permit -> server_unknown 2",
    ]);
    expect((await report("  - { name: early, permit: ['up/*'], when: now.getHours() < 10 }", "--agent", "agt_other")).flips).toEqual([
      "other up/get_b permit -> tool_unknown 2",
    ]);
    expect((await report("  - { name: x, permit: [up/x] }", "--until", "2026-11-20")).calls).toBe(0);
    expect((await report("  - { name: x, permit: [up/x] }", "--since", "2026-09-01")).calls).toBe(19);
  });

  test.each([
    [["--since", "yesterday"], "--since yesterday: a duration (7d, 12h), a date or an RFC 3339 time"],
    [["--policies", "/no/such"], "there is no folder"],
    [["--fail-on", "x"], "narrow, widen, any, none"],
  ])("refuses %j with exit 2", async (args, words) => {
    expect(await backtest(...args)).toMatchObject({ code: 2, err: expect.stringContaining(words) });
  });

  test("a name from a record does not steer the terminal", async () => {
    const file = await folderWithCalls(RULES, [{ at: AT, tool: "get_\u001b[2J", rule: "reads" }]);
    const { out } = await tollgate([
      "policy",
      "backtest",
      "-c",
      file,
      "--since",
      "2026-11-01",
      "--policies",
      policyFolder("  - { name: x, permit: [up/x] }"),
    ]);
    expect(out).toContain("get_\\u001b[2J");
  });
});

test("what was only observed is told as passed, and what was observed of it is known", async () => {
  const observed = (reason: string, rule: string | null) => ({
    shadow: {
      mode: "observe" as const,
      decision: "refuse" as const,
      reason: reason as "tool_unknown",
      rule: rule === null ? null : { name: rule, file: "a", line: 1 },
      note: null,
    },
    policy_version: versionOf(),
  });
  const file = await folderWithCalls(RULES, [
    { at: AT, tool: "drop", more: observed("tool_unknown", null) },
    { at: AT, tool: "sum", more: observed("arguments_denied", "small") },
  ]);
  const { code, out } = await tollgate(["policy", "backtest", "-c", file, "--since", "2026-11-01", "--json"]);
  const { flips, unjudged } = JSON.parse(out) as Report;
  expect([code, unjudged, flips.map(({ target, was, would }) => [target, was.decision, would.reason])]).toEqual([
    1,
    [],
    [
      ["up/drop", "permit", "tool_unknown"],
      ["up/sum", "permit", "arguments_denied"],
    ],
  ]);
});

test("a journal of 100,000 calls is read page by page, and each different question is judged once", async () => {
  const at = (i: number) => new Date(Date.parse(AT) + i * 1000).toISOString();
  const many = Array.from({ length: 1_000 }, (_, i): PastCall => ({ at: at(i), tool: `get_${i % 10}`, rule: "reads", times: 100 }));
  const file = await folderWithCalls(RULES, many);
  const store = openReader(join(file, "../data/journal.db"));
  const page = openBooks(store).calls({ sinceMs: 0, untilMs: null, from: 10_000, agent: null, customer: null, borders: [] });
  store.close();
  expect([page.read, page.next, page.groups.length <= 10, page.size >= 100_000]).toEqual([PAGE_RECORDS, 12_000, true, true]);
  // The records alone are 150 MB of text.
  const main = join(import.meta.dirname, "../../src/main.ts");
  const args = ["--max-old-space-size=80", main, "policy", "backtest", "-c", file, "--since", "2026-11-01", "--json"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(JSON.parse(stdout)).toMatchObject({ calls: 100_000, flips: [] });
}, 120_000);
