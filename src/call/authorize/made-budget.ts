/** Pure. A budget that was made at run time, compiled as those of policy files are, and counted beside them. */
import { type BudgetFile, drawingBudget } from "./budget-file.ts";
import { isPattern } from "./glob.ts";
import { checkMeter, type MeterFacts } from "./meter-facts.ts";
import { didYouMean } from "./nearest.ts";
import { FEATURES, parsePattern, type TargetPattern } from "./pattern.ts";
import type { Budget, Rules, ServerFacts } from "./policy-set.ts";
import { TargetIndex } from "./target-index.ts";

/** What is read of it in a configuration that has changed since counts all the same: a budget that goes is a budget that permits. */
export function compileMade(file: BudgetFile): Budget | { readonly problem: string } {
  const targets = targetsOf(file);
  return "problem" in targets ? targets : drawingBudget(file, file.who, targets.patterns);
}

/** Null: it means what it says, under this configuration. */
export function faultOfMade(file: BudgetFile, servers: ServerFacts, meters: MeterFacts): string | null {
  const group = [file.who?.agent ?? [], file.tools ?? []].flat().find((written) => written.startsWith("group:"));
  if (group !== undefined) return `${group}: groups are of policy files: write out what it holds`;
  const targets = targetsOf(file);
  if ("problem" in targets) return `tools: ${targets.problem}`;
  const stray = targets.patterns?.find(({ server }) => !isPattern(server) && !servers.has(server) && server !== FEATURES);
  if (stray !== undefined)
    return `tools: the config has no server ${stray.server}, so that it would match nothing${didYouMean(stray.server, servers.keys())}`;
  let fault: string | null = null;
  checkMeter(
    file,
    targets.patterns,
    servers,
    meters,
    (message) => {
      fault ??= `meter: ${message}`;
    },
    () => {},
  );
  return fault;
}

/** After those of the files, which win their names: the first that cannot carry a call is the one named. */
export function withMade(rules: Pick<Rules, "budgets">, made: readonly Budget[]): Pick<Rules, "budgets" | "budgetIndex"> {
  const names = new Set(rules.budgets.map(({ draw }) => draw.budget));
  const budgets = [...rules.budgets, ...made.filter(({ draw }) => !names.has(draw.budget))];
  const budgetIndex = new TargetIndex<Budget>();
  for (const budget of budgets) for (const target of budget.targets ?? []) budgetIndex.add(target, budget);
  return { budgets, budgetIndex };
}

function targetsOf({ tools }: BudgetFile): { readonly patterns: readonly TargetPattern[] | null } | { readonly problem: string } {
  const patterns: TargetPattern[] = [];
  for (const written of tools ?? []) {
    const pattern = parsePattern(written);
    if ("problem" in pattern) return pattern;
    patterns.push(pattern);
  }
  return { patterns: tools === undefined ? null : patterns };
}
