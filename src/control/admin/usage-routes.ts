/** Usage and budgets over the admin API; a key that is bound to a customer reads that customer's alone. */

import { instantOf } from "../../call/authorize/written.ts";
import { USAGE_DIMENSIONS, type UsageDimension } from "../../call/record/queries.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Registry } from "../agents/registry.ts";
import { type BudgetRow, encodedScope } from "./budget-rows.ts";
import { type Route, route } from "./route.ts";

export type UsageParts = { readonly reader: Reader; readonly registry: Registry; readonly budgets: () => readonly BudgetRow[] };

export function usageRoutes({ reader, registry, budgets }: UsageParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/budgets",
      permission: "usage:read",
      summary: "Every counter in use, and every budget that nobody has drawn on yet.",
      body: null,
      async answer({ caller }) {
        const rows = budgets();
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
      summary: `Sums of the usage events by any of ${USAGE_DIMENSIONS.join(", ")}, from since until before until.`,
      body: null,
      async answer({ caller, query }) {
        const by = (query.by ?? "agent,server,tool").split(",").filter(Boolean);
        const wrong = by.find((name) => !USAGE_DIMENSIONS.includes(name as UsageDimension));
        if (wrong !== undefined) return { status: 400, detail: `by: there is ${USAGE_DIMENSIONS.join(", ")}` };
        const [since = null, until = null] = [query.since ?? null, query.until ?? null];
        const question = { by: by as UsageDimension[], since: since && instantOf(since), until: until && instantOf(until) };
        if ((since !== null && !question.since) || (until !== null && !question.until))
          return { status: 400, detail: "since and until are RFC 3339 times or dates" };
        return { status: 200, json: await reader.ask("usage", { ...question, customer: caller.customer }) };
      },
    }),
  ];
}
