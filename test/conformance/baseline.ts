/** Pure. What the suite says of the fixture itself: without it a comparison proves nothing, for two runs that fail alike agree. */
import type { Tally } from "./compare.ts";

export type Baseline = { readonly required: number; readonly passed: number; readonly failed: number };

/** The failures of 2026-07-28 are the tasks extension, which no revision requires and the fixture does not have. */
export const BASELINES = {
  "2025-11-25": { required: 30, passed: 84, failed: 0 },
  "2026-07-28": { required: 37, passed: 164, failed: 30 },
} as const satisfies Record<string, Baseline>;

export type Revision = keyof typeof BASELINES;
export const REVISIONS: readonly Revision[] = ["2025-11-25", "2026-07-28"];

export function missed(tally: Tally, baseline: Baseline): string[] {
  const faults = tally.lacking.map((name) => `${name} did not pass`);
  if (tally.required !== baseline.required) faults.push(`${tally.required} required scenarios instead of ${baseline.required}`);
  if (tally.passed < baseline.passed) faults.push(`${tally.passed} checks passed instead of ${baseline.passed}`);
  if (tally.failed > baseline.failed) faults.push(`${tally.failed} checks failed instead of ${baseline.failed}`);
  return faults;
}
