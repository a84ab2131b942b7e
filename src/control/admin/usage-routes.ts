/** Usage over the admin API; a key that is bound to a customer reads that customer's alone. */

import { USAGE_DIMENSIONS } from "../../call/record/queries.ts";
import type { Reader } from "../../call/record/reader.ts";
import { type Route, route } from "./route.ts";
import { usageQuestion } from "./usage-question.ts";

export type UsageParts = {
  readonly reader: Reader;
  readonly now: () => number;
};

export function usageRoutes({ reader, now }: UsageParts): readonly Route[] {
  return [
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
