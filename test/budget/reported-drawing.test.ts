/** Where reported usage is counted: in windows that are open in the ledger's present, whatever this machine's clock says. */
import { expect, test } from "vitest";
import { LedgerAway } from "../../src/call/budget/redis-link.ts";
import { createInTurn } from "../../src/control/budgets/in-turn.ts";
import { createReportedDrawing } from "../../src/control/budgets/reported-drawing.ts";
import { policies } from "../authorize/fixture.ts";
import { DAY_MS, NOON } from "./draws.ts";

const SET = policies(`
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: model, meter: llm_tokens, limit: 1000, period: day }
`);
const NOBODY = { team: null, workflow: null, customer: "c", kind: "agent", instance: null, server: null, tool: null };
const use = (meter: string) => ({ ...NOBODY, agentId: "agt_1", agentName: "bot", meter });
const drawing = (nowMs: number | null) => createReportedDrawing(() => SET, { apply() {}, nowMs: () => nowMs }, createInTurn());
const TODAY = Date.parse("2026-03-10T00:00:00Z");

test.each([
  ["that says no time, now", null, [TODAY]],
  ["of an hour ago, then", NOON - DAY_MS / 24, [TODAY]],
  ["whose reporter's clock is years ahead, now", NOON + 3_650 * DAY_MS, [TODAY]],
  ["of a window that is over, nowhere", NOON - DAY_MS, []],
])("usage %s", (_, atMs, starts) => {
  expect(
    drawing(NOON)
      .placesOf(use("llm_tokens"), atMs)
      .map(({ windowStartMs }) => windowStartMs),
  ).toEqual(starts);
});

test("where the present is not known yet, what draws on a budget is to be sent again, and all else is taken", () => {
  expect(() => drawing(null).placesOf(use("llm_tokens"), NOON)).toThrow(LedgerAway);
  expect(drawing(null).placesOf(use("pages"), NOON)).toEqual([]);
});
