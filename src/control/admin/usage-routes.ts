/** Usage and budgets over the admin API; a key that is bound to a customer reads that customer's alone. */

import { USAGE_DIMENSIONS } from "../../call/record/queries.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Registry } from "../agents/registry.ts";
import { type BudgetRow, encodedScope } from "./budget-rows.ts";
import { type Route, route } from "./route.ts";
import { usageQuestion } from "./usage-question.ts";

export type UsageParts = {
  readonly reader: Reader;
  readonly registry: Registry;
  readonly budgets: () => Promise<readonly BudgetRow[]>;
  readonly now: () => number;
};

export function usageRoutes({ reader, registry, budgets, now }: UsageParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/budgets",
      permission: "usage:read",
      summary: "Every counter in use, and every budget that nobody has drawn on yet.",
      body: null,
      async answer({ caller }) {
        const rows = await budgets();
        if (caller.customer === null) return { status: 200, json: { items: rows, next_cursor: null } };
        const theirs = new Set([`customer=${encodedScope(caller.customer)}`]);
        for (const { id, customer } of registry.all()) if (customer === caller.customer) theirs.add(`agent=${encodedScope(id)}`);
        const items = rows.filter(({ scope }) => scope.split("&").some((part) => theirs.has(part)));
        return { status: 200, json: { items, next_cursor: null } };
      },
    }),
    route({
      method: "GET",
      path: "/metering/usage",
      permission: "usage:read",
      summary: `Sums of the usage events by any of ${USAGE_DIMENSIONS.join(", ")}, of those that the same names restrict, from since until before until.`,
      body: null,
      async answer({ caller, query }) {
        const question = usageQuestion(query, now());
        if ("fault" in question) return { status: 400, detail: question.fault };
        return { status: 200, json: await reader.ask("usage", { ...question, customer: caller.customer }) };
      },
    }),
  ];
}
