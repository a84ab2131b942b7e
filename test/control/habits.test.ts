import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Activity, createHabits, type HabitRules } from "../../src/control/agents/habits.ts";

const RULES: HabitRules = { learnDays: 7, rememberDays: 28, overactive: { times: 3, atLeast: 10 } };
/** A Monday. */
const FIRST = (Date.UTC(2026, 10, 2) / 86_400_000) * 24;

/** `9 echo x2` on a day: two calls of the tool echo between nine and ten. */
function activity(day: number, written: string, agentId = "agt_1"): Activity {
  const [, hour, tool, region, calls] = /^(\d+) (\w+)(?:@(\w+))?(?: x(\d+))?$/.exec(written) ?? [];
  return { agentId, tool: `up/${tool}`, region: region ?? null, hour: FIRST + day * 24 + Number(hour), calls: Number(calls ?? 1) };
}

type Days = Readonly<Record<number, readonly string[]>>;
const everyDay = (from: number, to: number, ...written: string[]): Days =>
  Object.fromEntries(Array.from({ length: to - from + 1 }, (_, i) => [from + i, written]));

/** What was told on each day, as `signal tool hour`. */
function told(days: Days, rules: HabitRules = RULES): string[] {
  const habits = createHabits(rules);
  const found: string[] = [];
  for (const [day, written] of Object.entries(days))
    for (const each of written)
      for (const { signal, tool, hour } of habits.note(activity(Number(day), each)))
        found.push(`day ${day}: ${signal} ${tool} at ${(hour - FIRST) % 24}`);
  return found;
}

const USUAL = everyDay(0, 9, "9 echo@eu x2", "10 echo@eu");

describe("what is told", () => {
  test.each<[string, Days, string[]]>([
    ["nothing, while it does what it always does", everyDay(0, 60, "9 echo@eu x2", "10 echo@eu"), []],
    ["nothing of an agent that is watched for less than a week", { ...everyDay(0, 6, "9 echo"), 6: ["3 other@us x999"] }, []],
    ["nothing of one that has called on two days only", { 0: ["9 echo"], 8: ["9 echo"], 9: ["3 other@us x999"] }, []],
    ["a new tool, once", { ...USUAL, 10: ["9 add@eu", "9 add@eu"], 11: ["9 add@eu"] }, ["day 10: new_tool up/add at 9"]],
    [
      "a tool that was not used for longer than is remembered",
      { 0: ["9 add"], ...everyDay(1, 29, "9 echo"), 30: ["9 add"] },
      ["day 30: new_tool up/add at 9"],
    ],
    ["nothing of one that was used just within that", { 0: ["9 add"], ...everyDay(1, 27, "9 echo"), 28: ["9 add"] }, []],
    [
      "a new region, with the tool that is there",
      { ...USUAL, 10: ["9 buy@us"], 11: ["9 sell@us"] },
      ["day 10: new_tool up/buy at 9", "day 10: new_region up/buy at 9", "day 11: new_tool up/sell at 9"],
    ],
    [
      "a new region, also behind a crowd of new tools",
      { ...USUAL, 10: [...Array.from({ length: 12 }, (_, i) => `9 crowd${i}@eu`), "9 last@us"] },
      [
        ...Array.from({ length: 10 }, (_, i) => `day 10: new_tool up/crowd${i} at 9`),
        ...["day 10: overactive up/crowd9 at 9", "day 10: new_region up/last at 9"],
      ],
    ],
    ["a known tool that has moved", { ...USUAL, 10: ["9 echo@us"] }, ["day 10: new_region up/echo at 9"]],
    ["nothing of a known tool whose server was given a region", { ...everyDay(0, 9, "9 echo"), 10: ["9 echo@eu"] }, []],
    [
      "an hour far from those of other days, once a day",
      { ...USUAL, 10: ["3 echo@eu", "3 echo@eu", "5 echo@eu"] },
      ["day 10: unusual_hour up/echo at 3"],
    ],
    ["nothing of the hour before or after, across midnight too", { ...everyDay(0, 9, "0 echo"), 10: ["23 echo"], 11: ["1 echo"] }, []],
    ["nothing of that hour on the next day", { ...USUAL, 10: ["3 echo@eu"], 11: ["3 echo@eu"] }, ["day 10: unusual_hour up/echo at 3"]],
    [
      "more than three times its busiest hour, when it crosses that, once a day",
      { ...everyDay(0, 9, "9 echo x4"), 10: ["9 echo x11", "9 echo", "9 echo x50", "10 echo x40"], 11: ["9 echo x52", "10 echo x130"] },
      ["day 10: overactive up/echo at 9"],
    ],
    ["nothing below the least", { ...everyDay(0, 9, "9 echo"), 10: ["9 echo x9"] }, []],
    ["and the least itself", { ...everyDay(0, 9, "9 echo"), 10: ["9 echo x10"] }, ["day 10: overactive up/echo at 9"]],
    [
      "calls of several tools are one hour's",
      { ...everyDay(0, 9, "9 echo", "9 add"), 10: ["9 echo x6", "9 add x4"] },
      ["day 10: overactive up/add at 9"],
    ],
    ["nothing after it has leapt by years", { ...everyDay(0, 9, "9 echo"), 3650: ["3 other x999"] }, []],
  ])("%s", (_, days, expected) => {
    expect(told(days)).toEqual(expected);
  });
});

test("a clock that is set back by days leaves nothing to compare with; by an hour, it is the same day", () => {
  const habits = createHabits(RULES);
  for (let day = 20; day < 30; day++) habits.note(activity(day, "9 echo"));
  expect(habits.note(activity(28, "9 add")).map(({ signal }) => signal)).toEqual(["new_tool"]);
  expect(habits.note(activity(5, "3 other x999"))).toEqual([]);
});

test("at most ten records of new tools a day", () => {
  const many = Array.from({ length: 30 }, (_, i) => `9 tool${i}`);
  const found = told({ ...everyDay(0, 9, "9 echo"), 10: many, 11: ["9 one", "9 two"] });
  expect(found.filter((each) => each.includes("new_tool"))).toHaveLength(12);
});

test("what an agent does is nothing to another's habits", () => {
  const habits = createHabits(RULES);
  for (let day = 0; day < 10; day++) habits.note(activity(day, "9 echo", "agt_1"));
  for (let day = 0; day < 10; day++) habits.note(activity(day, "9 add", "agt_2"));
  expect(habits.note(activity(10, "9 add", "agt_1")).map(({ signal }) => signal)).toEqual(["new_tool"]);
  expect(habits.note(activity(10, "9 add", "agt_2"))).toEqual([]);
});

test("the agents and tools that were not seen for the longest are forgotten first", () => {
  const habits = createHabits(RULES);
  for (let day = 0; day < 10; day++) for (const agent of ["agt_1", "agt_2"]) habits.note(activity(day, "9 echo", agent));
  for (let i = 0; i < 9_999; i++) habits.note(activity(10, "9 echo", `agt_more_${i}`));
  expect(habits.note(activity(10, "9 add", "agt_2")).map(({ signal }) => signal)).toEqual(["new_tool"]);
  expect(habits.note(activity(10, "9 add", "agt_1"))).toEqual([]);
});

test("whatever the portions in which calls are counted, the same is told", () => {
  const event = fc.record({
    gap: fc.nat(40),
    tool: fc.nat(4),
    region: fc.constantFrom(null, "eu", "us"),
    calls: fc.integer({ min: 1, max: 12 }),
  });
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 150 }), fc.infiniteStream(fc.boolean()), (events, cuts) => {
      let hour = FIRST;
      const activities = events.map(({ gap, tool, region, calls }): Activity => {
        hour += Math.floor(gap / 4);
        return { agentId: "agt_1", tool: `up/${tool}`, region, hour, calls };
      });
      const signalsOf = (list: readonly Activity[]) => {
        const habits = createHabits(RULES);
        return list.flatMap((each) => habits.note(each)).map(({ signal, tool, hour: at }) => `${signal} ${tool} ${at}`);
      };
      const split = activities.flatMap((each) => {
        const [cut] = cuts.take(1);
        return cut === true && each.calls > 1
          ? [
              { ...each, calls: 1 },
              { ...each, calls: each.calls - 1 },
            ]
          : [each];
      });
      expect(signalsOf(split)).toEqual(signalsOf(activities));
    }),
    { numRuns: 300 },
  );
});
