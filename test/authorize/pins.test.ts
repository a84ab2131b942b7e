/** Entitlements that hold a server to a version or a tool to a definition: not met, they do not apply; listing and calling agree. */
import { describe, expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { explainDecision } from "../../src/call/authorize/explain.ts";
import type { Offered } from "../../src/call/authorize/pins.ts";
import { visible } from "../../src/call/authorize/visible.ts";
import { imagineCall } from "../../src/imagined.ts";
import { isRefusal } from "../../src/refusal.ts";
import { agentOf, policies, problemsIn } from "./fixture.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);

function judge(yaml: string, offered: Offered | null, tool = "tickets/search"): { decision: string; listed: boolean } {
  const policySet = { ...policies(`entitlements:\n${yaml}`), offered: () => offered };
  const agent = agentOf();
  const asked = imagineCall(tool, {});
  if ("problem" in asked || asked.target === null) throw new Error("no call");
  const verdict = decide(policySet, agent, asked, 0);
  const listed = visible(policySet, agent, asked.server, 0)(asked.target);
  return { decision: isRefusal(verdict) ? verdict.refused : (verdict.rule?.name ?? "nobody"), listed };
}

describe.each([
  ["2", { "2": true, "2.3": true, "2.3.1": true, "20": false, "2-beta": false, "1.2": false, "": false }],
  ["2.3", { "2.3": true, "2.3.9": true, "2.30": false, "2": false, "2.3-rc1": false }],
  ["2.3.1", { "2.3.1": true, "2.3.1.4": true, "2.3.10": false, "2.3": false }],
])("version %s", (pin, cases) => {
  test.each(Object.entries(cases))("is met by %s: %s", (version, met) => {
    const said = judge(`  - { name: p, permit: [tickets/*], pins: { version: "${pin}" } }`, { version, definition: null });
    expect(said).toEqual(met ? { decision: "p", listed: true } : { decision: "tool_changed", listed: false });
  });
});

test("a server that says no version meets none", () => {
  const said = judge('  - { name: p, permit: [tickets/*], pins: { version: "2" } }', { version: null, definition: null });
  expect(said).toEqual({ decision: "tool_changed", listed: false });
});

test("a definition is met by itself alone", () => {
  const yaml = `  - { name: p, permit: [tickets/search], pins: { definition: "sha256:${A}" } }`;
  expect(judge(yaml, { version: null, definition: A })).toEqual({ decision: "p", listed: true });
  expect(judge(yaml, { version: null, definition: B })).toEqual({ decision: "tool_changed", listed: false });
  expect(judge(yaml, { version: null, definition: null })).toEqual({ decision: "tool_changed", listed: false });
});

test("what is listed is held against the definition that is shown, whatever was read before", () => {
  const yaml = `entitlements:\n  - { name: p, permit: [tickets/search], pins: { definition: "sha256:${A}" } }`;
  const policySet = { ...policies(yaml), offered: () => ({ version: null, definition: A }) };
  const shows = visible(policySet, agentOf(), "tickets", 0);
  const target = { kind: "tool", name: "search" } as const;
  expect([shows(target, A), shows(target, B), shows(target, "")]).toEqual([true, false, false]);
});

test("another permit without the pin suffices; a forbid wins; what no permit names stays unknown", () => {
  const pinned = '  - { name: p, permit: [tickets/*], pins: { version: "2" } }';
  const offered = { version: "3", definition: null };
  expect(judge(`${pinned}\n  - { name: q, permit: [tickets/search] }`, offered).decision).toBe("q");
  expect(judge(`${pinned}\n  - { name: f, forbid: [tickets/search] }`, offered).decision).toBe("tool_unknown");
  expect(judge(`${pinned}\n  - { name: c, permit: [crm/x] }`, offered, "crm/y").decision).toBe("tool_unknown");
});

test("before a server has been read its pins decide nothing: a call reads it first", () => {
  expect(judge('  - { name: p, permit: [tickets/*], pins: { version: "2" } }', null)).toEqual({ decision: "p", listed: true });
});

test("an explanation says what the server would have to be", () => {
  const policySet = {
    ...policies(`entitlements:\n  - { name: p, permit: [tickets/search], pins: { version: "2", definition: "sha256:${A}" } }`),
    offered: () => ({ version: "3.1", definition: B }),
  };
  const asked = imagineCall("tickets/search", {});
  if ("problem" in asked) throw new Error(asked.problem);
  const { reason, considered } = explainDecision(policySet, agentOf(), asked, 0);
  expect(reason).toBe("tool_changed");
  expect(considered[0]?.differs).toEqual([
    "the server would have to be version 2: it says 3.1",
    `the tool's definition would have to be sha256:${A}: it is sha256:${B}`,
  ]);
});

test("what pins nothing, what is pinned of several tools, and a forbid with pins do not load", () => {
  expect(
    problemsIn(`entitlements:
  - { name: a, permit: [tickets/x], pins: {} }
  - { name: b, permit: [tickets/x, tickets/y], pins: { definition: "sha256:${A}" } }
  - { name: c, permit: ["tickets/*"], pins: { definition: "sha256:${A}" } }
  - { name: d, permit: ["prompt:tickets/x"], pins: { definition: "sha256:${A}" } }
  - { name: e, forbid: [tickets/x], pins: { version: "2" } }
  - { name: f, permit: [tickets/x], pins: { version: 2.3 } }
  - { name: g, permit: [tickets/x], pins: { definition: "${A}" } }
`).map((problem) => problem.replace(/^\d+:\d+: /, "")),
  ).toEqual([
    "entitlements[0].pins: pins nothing; leave it out",
    "entitlements[1].pins.definition: is that of one tool: permit exactly one, as server/tool without *",
    "entitlements[2].pins.definition: is that of one tool: permit exactly one, as server/tool without *",
    "entitlements[3].pins.definition: is that of one tool: permit exactly one, as server/tool without *",
    "entitlements[4]: a forbid holds for every version: write a permit that pins one",
    'entitlements[5].pins.version: must be a text in quotes: "2.3"',
    "entitlements[6].pins.definition: must be sha256: and 64 hex digits, as tool list --json shows them",
  ]);
});
