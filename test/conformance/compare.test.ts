import { expect, test } from "vitest";
import { BASELINES, missed } from "./baseline.ts";
import { type Check, differences, type Run, tallyOf } from "./compare.ts";
import { isGood, type Result, textOf } from "./report.ts";

const check = (id: string, status: string, name = id): Check => ({ id, name, status });
const run = (scenarios: Readonly<Record<string, readonly Check[]>>, required: readonly string[] = []): Run => ({
  required,
  scenarios: Object.entries(scenarios).map(([name, checks]) => ({ name, checks })),
});

const DIRECT = run({ ping: [check("ping", "SUCCESS"), check("wire", "SUCCESS")], tasks: [check("tasks", "FAILURE")] }, ["ping"]);

test("two runs that say the same agree, failures included, in whatever order their scenarios come", () => {
  const again = { ...DIRECT, scenarios: DIRECT.scenarios.toReversed() };
  expect(differences(DIRECT, again)).toEqual([]);
});

test.each<[string, readonly Check[], string, string]>([
  ["a check that fails", [check("ping", "FAILURE"), check("wire", "SUCCESS")], "SUCCESS", "FAILURE"],
  ["a check that only warns", [check("ping", "WARNING"), check("wire", "SUCCESS")], "SUCCESS", "WARNING"],
  ["a check that is skipped", [check("ping", "SKIPPED"), check("wire", "SUCCESS")], "SUCCESS", "SKIPPED"],
  ["a check that is missing", [check("wire", "SUCCESS")], "SUCCESS", "missing"],
  [
    "a check that comes twice",
    [check("ping", "SUCCESS"), check("ping", "SUCCESS"), check("wire", "SUCCESS")],
    "SUCCESS",
    "SUCCESS SUCCESS",
  ],
])("%s is a difference", (_, ping, direct, through) => {
  const found = differences(DIRECT, run({ ping, tasks: [check("tasks", "FAILURE")] }));
  expect(found).toEqual([{ scenario: "ping", check: "ping", direct, through, why: "" }]);
});

test("a failure that the gateway turns into a success is a difference too", () => {
  const found = differences(DIRECT, run({ ping: DIRECT.scenarios[0]?.checks ?? [], tasks: [check("tasks", "SUCCESS")] }));
  expect(found).toMatchObject([{ scenario: "tasks", direct: "FAILURE", through: "SUCCESS" }]);
});

test("a check that only one run knows is found from either side", () => {
  const more = run({ a: [check("x", "SUCCESS"), { ...check("scenario-timeout", "FAILURE"), errorMessage: "too late" }] });
  const less = run({ a: [check("x", "SUCCESS")] });
  expect(differences(less, more)).toMatchObject([{ check: "scenario-timeout", direct: "missing", through: "FAILURE", why: "too late" }]);
  expect(differences(more, less)).toMatchObject([{ check: "scenario-timeout", direct: "FAILURE", through: "missing" }]);
});

test("checks that share an id are told apart by name and by turn", () => {
  const first = run({ a: [check("x", "SUCCESS", "One"), check("x", "FAILURE", "Two")] });
  expect(differences(first, run({ a: [check("x", "FAILURE", "One"), check("x", "SUCCESS", "Two")] }))).toHaveLength(2);
  const turns = run({ a: [check("x", "SUCCESS"), check("x", "FAILURE")] });
  expect(differences(turns, run({ a: [check("x", "FAILURE"), check("x", "SUCCESS")] }))).toHaveLength(1);
});

test("the same check of another scenario does not stand in", () => {
  const found = differences(run({ a: [check("x", "SUCCESS")] }), run({ b: [check("x", "SUCCESS")] }));
  expect(found.map(({ scenario, through }) => [scenario, through])).toEqual([
    ["a", "missing"],
    ["b", "SUCCESS"],
  ]);
});

test("a scenario without checks that did not run is a difference", () => {
  expect(differences(run({ empty: [] }), run({ empty: [] }))).toEqual([]);
  expect(differences(run({ empty: [] }), run({}))).toMatchObject([{ scenario: "empty", through: "missing" }]);
});

test("a required scenario passes only with a success and without a failure", () => {
  const required = ["good", "warned", "failed", "skipped", "absent"];
  const tally = tallyOf(
    run(
      {
        good: [check("a", "SUCCESS")],
        warned: [check("a", "SUCCESS"), check("b", "WARNING")],
        failed: [check("a", "SUCCESS"), check("b", "FAILURE")],
        skipped: [check("a", "SKIPPED")],
      },
      required,
    ),
  );
  expect(tally).toMatchObject({ passed: 3, failed: 1, warnings: 1, required: 5, requiredPassed: 2 });
  expect(tally.lacking).toEqual(["failed", "skipped", "absent"]);
});

test("a direct run below its baseline is told, whatever the gateway says", () => {
  const whole = { passed: 84, failed: 0, warnings: 0, required: 30, requiredPassed: 30, lacking: [] };
  const baseline = BASELINES.server["2025-11-25"];
  expect(missed(whole, baseline)).toEqual([]);
  expect(missed({ ...whole, passed: 83 }, baseline)).toHaveLength(1);
  expect(missed({ ...whole, failed: 1 }, baseline)).toHaveLength(1);
  expect(missed({ ...whole, lacking: ["ping"] }, baseline)).toEqual(["ping did not pass"]);
  // A suite that did not run at all agrees with itself.
  expect(missed(tallyOf(run({})), baseline)).not.toEqual([]);
});

test("the report names each disagreement, and is good only without any", () => {
  const tally = tallyOf(DIRECT);
  const good: Result = { mode: "server", revision: "2025-11-25", direct: tally, through: tally, missed: [], differences: [] };
  const found = differences(DIRECT, run({}));
  expect(isGood(good)).toBe(true);
  expect(isGood({ ...good, differences: found })).toBe(false);
  expect(isGood({ ...good, missed: ["ping did not pass"] })).toBe(false);
  const text = textOf([{ ...good, differences: found, missed: ["ping did not pass"] }]);
  for (const { scenario, check: id } of found)
    expect(text).toMatch(new RegExp(`^server +2025-11-25 +${scenario} +${id} +\\w+ +missing$`, "m"));
  expect(text).toContain("misses its baseline: ping did not pass");
});
