/** Pure. The budgets that usage which somebody reports draws on: those of its meter that are about the agent, and about what the report names. */
import type { Target } from "../accept/request.ts";
import type { Draw } from "./permit.ts";
import type { Budget, Rules } from "./policy-set.ts";
import { scopeOf } from "./scope.ts";
import type { Facets } from "./who.ts";

/** What a report says of where its usage is from; null: it does not say. */
export type ReportedUse = Pick<Facets, "team" | "workflow" | "customer" | "kind"> & {
  readonly agentId: string;
  readonly agentName: string;
  readonly instance: string | null;
  readonly server: string | null;
  readonly tool: string | null;
  readonly meter: string;
};

export function drawsOfReport({ budgets, budgetIndex }: Pick<Rules, "budgets" | "budgetIndex">, use: ReportedUse): Draw[] {
  const { agentId, agentName, team, workflow, customer, kind, instance, server, tool, meter } = use;
  // Nobody proves to the gateway for whom the usage was: a budget of a person or a role hears of calls alone.
  const nobody = { subject: null, role: [], person: null };
  const facets: Facets = { agent: [agentId, agentName], team, workflow, customer, kind, instance, ...nobody };
  const target: Target | null = tool === null ? null : { kind: "tool", name: tool };
  const named: ReadonlySet<Budget> = server === null || target === null ? NONE : budgetIndex.find(server, target);
  return budgets
    .filter((budget) => budget.draw.meter === meter && (budget.targets === null || named.has(budget)) && budget.who(facets))
    .map((budget) => ({ ...budget.draw, scope: scopeOf(budget, facets, server ?? "", target) }));
}

const NONE: ReadonlySet<Budget> = new Set();
