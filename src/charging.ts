/** How much a call may need, what it came to, and what it costs: put together from the configuration. */

import { argumentsOf, type McpRequest } from "./call/accept/request.ts";
import { costOf } from "./call/budget/price.ts";
import type { TokenCounter } from "./call/record/token-counter.ts";
import type { Steps } from "./call/steps.ts";
import { catalogueIn } from "./catalogue.ts";
import type { Config } from "./config.ts";
import type { ReservationsParts } from "./control/me/reservations.ts";
import { createMeasure } from "./measuring.ts";
import { createMeterRules } from "./meter-rules.ts";
import { createReceipts } from "./receipts.ts";
import { createReserve, type Reserve } from "./reserving.ts";

export type Charging = Pick<Steps, "measure" | "receipted"> & {
  readonly reserve: Reserve;
  /** The arguments that a rule looks at once the task has ended with which the call was answered. */
  readonly givenToTask: (request: Pick<McpRequest, "server" | "target" | "argumentsSpan" | "body">) => Uint8Array | null;
  readonly costOf: ReservationsParts["costOf"];
  /** All that amounts may stand on. */
  readonly meters: ReadonlySet<string>;
};

/** Of each task that is remembered. Larger ones are not looked at, and the outcome counts. */
const GIVEN_BYTES_MAX = 2_048;

type Surroundings = { readonly count: TokenCounter["count"]; readonly now: () => number; readonly mono: () => number };

export function createCharging({ metering, servers }: Pick<Config, "metering" | "servers">, { count, now, mono }: Surroundings): Charging {
  const rules = createMeterRules(metering);
  return {
    reserve: createReserve({ servers, rules, now }),
    measure: createMeasure({ rules, count, now, mono }),
    receipted: createReceipts(metering.receipts),
    givenToTask(request) {
      const { server, target } = request;
      if (target === null || !rules.rulesFor(server, target).outcomes.some(({ when }) => when?.readsArguments === true)) return null;
      const given = argumentsOf(request);
      // A copy: a piece of it would keep the whole request.
      return given.length > GIVEN_BYTES_MAX ? null : Buffer.from(given);
    },
    costOf(server, tool, amounts) {
      const price = rules.priceFor(server, { kind: "tool", name: tool }, now());
      return price === null ? {} : { cost_micros: costOf(price, amounts) };
    },
    meters: catalogueIn(metering).meters,
  };
}
