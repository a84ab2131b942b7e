/** Budgets over the admin API: what is left of each, and corrections by hand; a key that is bound to a customer sees that customer's alone. */
import { z } from "zod";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import type { Registry } from "../agents/registry.ts";
import type { Adjust, Wanted } from "../budgets/adjust.ts";
import { type BudgetRow, encodedScope } from "./budget-rows.ts";
import { agentOf } from "./registry-answers.ts";
import { type Answer, type Caller, NOT_THERE, type Route, route } from "./route.ts";
import { SHARED_LEDGER_REMEDY } from "./shared-budget-routes.ts";

export type BudgetRoutesParts = {
  readonly registry: Registry;
  readonly rowsFor: (caller: Caller) => Promise<readonly BudgetRow[]>;
  readonly budgetsOf: (profile: AgentProfile) => Promise<readonly BudgetRow[]>;
  readonly adjust: Adjust;
};

const adjustment = z.strictObject({
  amount: z.int().min(1).max(Number.MAX_SAFE_INTEGER).describe("Whole units of the budget's meter."),
  scope: z.string().max(4096).default("").describe("Whose counter, as the list shows it; left out: the shared one."),
  reason: z.string().min(1).max(512).describe("Why, for the record."),
});

export function budgetRoutes({ registry, rowsFor, budgetsOf, adjust }: BudgetRoutesParts): readonly Route[] {
  const change = (verb: "credit" | "debit", summary: string) =>
    route({
      method: "POST",
      path: `/budgets/:name/${verb}`,
      permission: "budgets:adjust",
      summary,
      body: adjustment,
      answer: ({ caller, params, body }) => correct(adjust, caller, { budget: params.name ?? "", change: verb, ...body }),
    });
  return [
    route({
      method: "GET",
      path: "/budgets",
      permission: "usage:read",
      summary: "Every counter in use, and every budget that nobody has drawn on yet.",
      body: null,
      answer: async ({ caller }) => ({ status: 200, json: { items: await rowsFor(caller), next_cursor: null } }),
    }),
    route({
      method: "GET",
      path: "/agents/:id/budgets",
      permission: "agents:read",
      summary: "The budgets that the agent's calls count against, with what remains.",
      body: null,
      async answer({ caller, params }) {
        const profile = agentOf(registry, caller, params.id);
        return profile === null ? NOT_THERE : { status: 200, json: { items: await budgetsOf(profile), next_cursor: null } };
      },
    }),
    change("credit", "Gives back what was used of a counter, at most all of it, by an entry that says why."),
    change("debit", "Takes from a counter by an entry that says why; it is a debt, which blocks new holds once nothing is left."),
  ];
}

/** The counters of a customer and of its agents, and those of budgets that were made for it. */
export function rowsOfCustomer(
  rows: readonly BudgetRow[],
  customer: string | null,
  registry: Pick<Registry, "all">,
  isMadeFor: (name: string, customer: string) => boolean,
): readonly BudgetRow[] {
  if (customer === null) return rows;
  const theirs = new Set([`customer=${encodedScope(customer)}`]);
  for (const agent of registry.all()) if (agent.customer === customer) theirs.add(`agent=${encodedScope(agent.id)}`);
  return rows.filter(({ name, scope }) => isMadeFor(name, customer) || scope.split("&").some((part) => theirs.has(part)));
}

const REFUSED: Readonly<Record<Exclude<Awaited<ReturnType<Adjust>>["state"], "adjusted">, (detail: string) => Answer>> = {
  absent: (detail) => ({ status: 404, detail }),
  refused: (detail) => ({ status: 422, detail }),
  full: (detail) => ({ status: 503, detail: `${detail}, so nothing was changed` }),
  away: (detail) => ({ status: 503, detail: `${detail}, so nothing was changed: ${SHARED_LEDGER_REMEDY}` }),
};

/** A counter may be many customers': only a key that is bound to none changes it. */
async function correct(adjust: Adjust, caller: Caller, wanted: Wanted): Promise<Answer> {
  if (caller.customer !== null) return { status: 403, detail: `this key is bound to the customer ${caller.customer}` };
  try {
    const adjusted = await adjust(wanted, caller.name);
    if (adjusted.state !== "adjusted") return REFUSED[adjusted.state](adjusted.detail);
    const lines = adjusted.lines.map(({ posted, debt }) => ({ posted, debt }));
    return { status: 201, json: { budget: wanted.budget, scope: wanted.scope, meter: adjusted.meter, lines } };
  } catch (thrown) {
    if (thrown instanceof StoreUnavailable) return { status: 503, detail: "the gateway cannot record now, so nothing was changed" };
    throw thrown;
  }
}
