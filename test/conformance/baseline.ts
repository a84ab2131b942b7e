/** Pure. What the suite says of the fixture and of the client themselves: two runs that fail alike agree, and prove nothing. */
import type { Tally } from "./compare.ts";

export type Baseline = { readonly required: number; readonly passed: number; readonly failed: number };

/** What the suite plays: a client of the fixture, or a server for the client. */
export type Mode = "server" | "client";
export type Revision = "2025-11-25" | "2026-07-28";

export const BASELINES: Readonly<Record<Mode, Readonly<Record<Revision, Baseline>>>> = {
  server: { "2025-11-25": { required: 30, passed: 84, failed: 0 }, "2026-07-28": { required: 37, passed: 196, failed: 0 } },
  client: { "2025-11-25": { required: 4, passed: 25, failed: 0 }, "2026-07-28": { required: 7, passed: 80, failed: 0 } },
};

export const MODES: readonly Mode[] = ["server", "client"];
export const REVISIONS: readonly Revision[] = ["2025-11-25", "2026-07-28"];

export function missed(tally: Tally, baseline: Baseline): string[] {
  const faults = tally.lacking.map((name) => `${name} did not pass`);
  if (tally.required !== baseline.required) faults.push(`${tally.required} required scenarios instead of ${baseline.required}`);
  if (tally.passed < baseline.passed) faults.push(`${tally.passed} checks passed instead of ${baseline.passed}`);
  if (tally.failed > baseline.failed) faults.push(`${tally.failed} checks failed instead of ${baseline.failed}`);
  return faults;
}
