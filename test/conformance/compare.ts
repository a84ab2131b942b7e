/** Pure. What two runs of the suite say, scenario by scenario and check by check, and where they disagree. */

export type Check = {
  readonly id: string;
  readonly name: string;
  /** SUCCESS, FAILURE, WARNING, SKIPPED or INFO. */
  readonly status: string;
  readonly errorMessage?: string;
};
export type Scenario = { readonly name: string; readonly checks: readonly Check[] };
/** One run at one revision: everything that the suite ran, and the scenarios of it that the revision requires. */
export type Run = { readonly required: readonly string[]; readonly scenarios: readonly Scenario[] };

export type Difference = {
  readonly scenario: string;
  /** The id, and the name where several checks share an id. */
  readonly check: string;
  /** The statuses in their order, or `missing`. */
  readonly direct: string;
  readonly through: string;
  /** What the suite says of the run through the gateway. */
  readonly why: string;
};

export function differences(direct: Run, through: Run): Difference[] {
  const before = verdictsOf(direct);
  const after = verdictsOf(through);
  const found: Difference[] = [];
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const a = before.get(key);
    const b = after.get(key);
    const said = { direct: a?.statuses.join(" ") ?? "missing", through: b?.statuses.join(" ") ?? "missing" };
    if (said.direct === said.through) continue;
    const { scenario, check } = a ?? b ?? { scenario: "", check: "" };
    found.push({ scenario, check, ...said, why: b?.why ?? "" });
  }
  return found;
}

type Verdict = { readonly scenario: string; readonly check: string; readonly statuses: string[]; why: string };

/** One id may stand for several checks, told apart by their names, and one name for several cases in turn. */
function verdictsOf({ scenarios }: Run): Map<string, Verdict> {
  const verdicts = new Map<string, Verdict>();
  for (const scenario of scenarios) {
    // A scenario that ran without a single check has run all the same.
    const checks = scenario.checks.length > 0 ? scenario.checks : [{ id: "(no checks)", name: "", status: "INFO" }];
    for (const { id, name, status, errorMessage } of checks) {
      const key = JSON.stringify([scenario.name, id, name]);
      const verdict = verdicts.get(key) ?? { scenario: scenario.name, check: id, statuses: [], why: "" };
      verdict.statuses.push(status);
      if (errorMessage !== undefined) verdict.why = errorMessage;
      verdicts.set(key, verdict);
    }
  }
  return verdicts;
}

export type Tally = {
  readonly passed: number;
  readonly failed: number;
  readonly warnings: number;
  readonly requiredPassed: number;
  readonly required: number;
  /** Required scenarios that failed or did not run. */
  readonly lacking: readonly string[];
};

export function tallyOf({ required, scenarios }: Run): Tally {
  const checks = scenarios.flatMap((scenario) => scenario.checks);
  const count = (status: string) => checks.filter((check) => check.status === status).length;
  const passes = new Set(scenarios.filter(isPassed).map((scenario) => scenario.name));
  const lacking = required.filter((name) => !passes.has(name));
  return {
    passed: count("SUCCESS"),
    failed: count("FAILURE"),
    warnings: count("WARNING"),
    requiredPassed: required.length - lacking.length,
    required: required.length,
    lacking,
  };
}

function isPassed({ checks }: Scenario): boolean {
  return checks.some((check) => check.status === "SUCCESS") && checks.every((check) => check.status !== "FAILURE");
}
