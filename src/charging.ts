/** How much a call may need, what it came to, and what it costs: put together from the configuration. */

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
  readonly costOf: ReservationsParts["costOf"];
  /** All that amounts may stand on. */
  readonly meters: ReadonlySet<string>;
};

type Surroundings = { readonly count: TokenCounter["count"]; readonly now: () => number; readonly mono: () => number };

export function createCharging({ metering, servers }: Pick<Config, "metering" | "servers">, { count, now, mono }: Surroundings): Charging {
  const rules = createMeterRules(metering);
  return {
    reserve: createReserve({ servers, rules, now }),
    measure: createMeasure({ rules, count, now, mono }),
    receipted: createReceipts(metering.receipts),
    costOf(server, tool, amounts) {
      const price = rules.priceFor(server, { kind: "tool", name: tool }, now());
      return price === null ? {} : { cost_micros: costOf(price, amounts) };
    },
    meters: catalogueIn(metering).meters,
  };
}
