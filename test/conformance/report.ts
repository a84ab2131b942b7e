/** Pure. The result as lines of text: a row a mode and revision, and a row for each disagreement. */
import type { Mode, Revision } from "./baseline.ts";
import type { Difference, Tally } from "./compare.ts";

export type Result = {
  readonly mode: Mode;
  readonly revision: Revision;
  readonly direct: Tally;
  readonly through: Tally;
  /** What the direct run lacks of its baseline. */
  readonly missed: readonly string[];
  readonly differences: readonly Difference[];
};

export function isGood({ missed, differences }: Result): boolean {
  return missed.length === 0 && differences.length === 0;
}

export function textOf(results: readonly Result[]): string {
  const rows = results.map(({ mode, revision, direct, through, differences }) => [
    mode,
    revision,
    `${direct.requiredPassed}/${direct.required}`,
    checksOf(direct),
    `${through.requiredPassed}/${through.required}`,
    checksOf(through),
    String(differences.length),
  ]);
  const head = ["mode", "revision", "required, direct", "passed/failed/warned", "through", "passed/failed/warned", "differences"];
  const lines = table([head, ...rows]);
  for (const { mode, revision, missed } of results)
    lines.push(...missed.map((fault) => `${mode}, ${revision}: the direct run misses its baseline: ${fault}`));
  const found = results.flatMap(({ mode, revision, differences }) =>
    differences.map(({ scenario, check, direct, through, why }) => [mode, revision, scenario, check, direct, through, brief(why)]),
  );
  if (found.length > 0) lines.push("", ...table([["mode", "revision", "scenario", "check", "direct", "through", "why"], ...found]));
  return lines.join("\n");
}

function checksOf({ passed, failed, warnings }: Tally): string {
  return `${passed}/${failed}/${warnings}`;
}

const WHY_CHARACTERS_MAX = 160;

function brief(why: string): string {
  const line = why.replaceAll(/\s+/g, " ");
  return line.length > WHY_CHARACTERS_MAX ? `${line.slice(0, WHY_CHARACTERS_MAX)} ...` : line;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
