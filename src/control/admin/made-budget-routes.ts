/** Budgets made at run time, over the admin API: a key that is bound to a customer makes and changes that customer's alone. */
import { StoreUnavailable } from "../../call/record/journal.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import type { MadeBudget, MadeBudgets } from "../budgets/made-budgets.ts";
import { act } from "./bodies.ts";
import { budgetChanges, budgetIn, changesIn, madeJson, type NewBudget, newBudget } from "./budget-bodies.ts";
import type { BudgetFacts, BudgetRow } from "./budget-rows.ts";
import { termsOf } from "./budget-terms.ts";
import { agentOf, elsewhere, faultAnswer } from "./registry-answers.ts";
import { type Answer, type Caller, notThere, type Route, route } from "./route.ts";

export type MadeBudgetRoutesParts = {
  readonly registry: Registry;
  readonly made: MadeBudgets;
  /** The counters that the caller may see. */
  readonly rowsFor: (caller: Caller) => Promise<readonly BudgetRow[]>;
  readonly isInFile: (name: string) => boolean;
  /** Of a budget that counts. */
  readonly factsOf: (name: string) => BudgetFacts | undefined;
};

type Owner = { readonly who: NewBudget["who"]; readonly about: string; readonly customer: string | null };

export function madeBudgetRoutes({ registry, made, rowsFor, isInFile, factsOf }: MadeBudgetRoutesParts): readonly Route[] {
  const json = (budget: MadeBudget) => madeJson(budget, !isInFile(budget.file.name));
  const create = async (caller: Caller, body: NewBudget, { who, about, customer }: Owner): Promise<Answer> => {
    const file = budgetIn(body, who, about);
    if ("problem" in file) return { status: 422, detail: file.problem };
    // The route of the shared ledger has that path.
    if (file.name === "shared") return { status: 422, detail: "name: shared is the name of a route" };
    return await recorded(async () => {
      const budget = await made.create(file, customer, caller.name);
      const answer = answerOf(caller, budget, 201);
      const warnings = "fault" in budget ? [] : unmet(file.who?.agent, customer);
      return warnings.length === 0 || !("json" in answer) ? answer : { ...answer, json: { ...(answer.json as object), warnings } };
    });
  };
  /** Agents whom it names and who are not there, or another customer's: allowed, since they may come, and hardly meant. */
  const unmet = (agents: NonNullable<NewBudget["who"]>["agent"], customer: string | null): string[] =>
    [agents ?? []]
      .flat()
      .filter((name) => !/[*:]/.test(name))
      .filter((name) => {
        const profile = registry.find(name);
        return profile === undefined || (customer !== null && profile.customer !== customer);
      })
      .map((name) => `there is no agent ${name}: nothing counts on it until there is one`);
  const answerOf = (caller: Caller, budget: MadeBudget | RegistryFault, status: 200 | 201): Answer => {
    if (!("fault" in budget)) return { status, json: json(budget) };
    // Names are one space for all customers: that one cannot be had is said, but not who has it.
    const isTold = budget.fault === "conflict" && caller.customer !== null;
    return isTold ? { status: 409, detail: "the name is taken, or a policy file has it" } : faultAnswer(budget);
  };
  /** Runs `then` with the budget of the path, if it is the caller's to change. */
  const withMade = async (caller: Caller, name: string | undefined, then: (name: string) => Promise<Answer>): Promise<Answer> => {
    const budget = made.find(name ?? "");
    if (budget !== undefined && (caller.customer === null || caller.customer === budget.customer))
      return await recorded(() => then(budget.file.name));
    if (caller.customer === null && isInFile(name ?? "")) return { status: 409, detail: `a policy file has ${name}: change it there` };
    return notThere(caller, `there is no budget ${name}`);
  };
  return [
    route({
      method: "POST",
      path: "/budgets",
      permission: "budgets:write",
      summary:
        "Makes a budget that counts from the next call on: as a policy file writes it, in snake_case, or {period, token_limit, hard_cap}.",
      body: newBudget,
      async answer({ caller, body }) {
        if (caller.customer === null) return await create(caller, body, { who: body.who, about: "all", customer: null });
        const { customer: theirs } = caller;
        // A list of one is that one: the command line always writes a list.
        const named = [body.who?.customer ?? theirs].flat();
        if (named.length !== 1 || named[0] !== theirs) return elsewhere(caller);
        return await create(caller, body, { who: { ...body.who, customer: theirs }, about: theirs, customer: theirs });
      },
    }),
    route({
      method: "POST",
      path: "/agents/:id/budgets",
      permission: "budgets:write",
      summary: "Makes a budget of one agent's calls; it goes on under the agent's id, whatever its name becomes.",
      body: newBudget,
      async answer({ caller, params, body }) {
        const profile = agentOf(registry, caller, params.id);
        if (profile === null) return notThere(caller, `there is no agent ${params.id}`);
        if (body.who !== undefined) return { status: 422, detail: "who: it is this agent's: leave it out" };
        return await create(caller, body, { who: { agent: profile.id }, about: profile.name, customer: profile.customer });
      },
    }),
    route({
      method: "GET",
      path: "/budgets/:name",
      permission: "usage:read",
      summary: "One budget: its terms, its counters, and how it was made if that was at run time.",
      body: null,
      async answer({ caller, params }) {
        const { name = "" } = params;
        const found = made.find(name);
        const budget = found !== undefined && (caller.customer === null || caller.customer === found.customer) ? found : undefined;
        const counters = (await rowsFor(caller)).filter((row) => row.name === name);
        if (budget === undefined && counters.length === 0) return notThere(caller, `there is no budget ${name}`);
        const facts = factsOf(name);
        const terms = facts === undefined ? null : termsOf(facts, budget === undefined || isInFile(name) ? null : budget.file);
        return { status: 200, json: { name, made: budget === undefined ? null : json(budget), terms, counters } };
      },
    }),
    route({
      method: "PATCH",
      path: "/budgets/:name",
      permission: "budgets:write",
      summary: "Changes limit, hard, notify, overage or hint of a budget made at run time, from the next call on.",
      body: budgetChanges,
      answer: ({ caller, params, body }) =>
        withMade(caller, params.name, async (name) => {
          const { token_limit, hard_cap, limit, hard } = body;
          if (token_limit !== undefined && limit !== undefined) return { status: 422, detail: "token_limit stands in place of limit" };
          if (hard_cap !== undefined && hard !== undefined) return { status: 422, detail: "hard_cap stands in place of hard" };
          if (token_limit !== undefined && made.find(name)?.file.meter !== "tool_tokens")
            return { status: 422, detail: "token_limit is of budgets on tool_tokens" };
          if (Object.values(changesIn(body)).every((value) => value === undefined))
            return { status: 422, detail: "nothing to change: limit, hard, notify, overage or hint" };
          return answerOf(caller, await made.change(name, changesIn(body), caller.name), 200);
        }),
    }),
    route({
      method: "POST",
      path: "/budgets/:name/end",
      permission: "budgets:write",
      summary: "Ends a budget made at run time: it counts no more, and what it has counted stays in the books.",
      body: act,
      answer: ({ caller, params, body }) =>
        withMade(caller, params.name, async (name) => {
          const fault = await made.end(name, body.reason ?? null, caller.name);
          return fault === null ? { status: 200, json: { ended: name } } : faultAnswer(fault);
        }),
    }),
  ];
}

async function recorded(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof StoreUnavailable) return { status: 503, detail: "the gateway cannot record now, so nothing was changed" };
    throw thrown;
  }
}
