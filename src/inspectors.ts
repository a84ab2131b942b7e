/** The external guards of the configuration, as the life of a call asks them. */
import type { PolicySet } from "./call/authorize/candidates.ts";
import { watchesResults } from "./call/authorize/guards.ts";
import { mayWithhold } from "./call/budget/counter.ts";
import { createInspection, type Inspection } from "./call/inspect/inspect.ts";
import { createInspector, type InspectorOptions } from "./call/inspect/inspector.ts";
import type { Config } from "./config.ts";
import type { Log } from "./observe.ts";

type Surroundings = Pick<InspectorOptions, "fetch" | "mono"> & { readonly now: () => number; readonly log: Log };

export function createInspectors({ inspectors, mode }: Config, { fetch, mono, now, log }: Surroundings): Inspection {
  return createInspection({
    inspectors: new Map([...inspectors].map(([name, inspector]) => [name, createInspector({ ...inspector, fetch, mono })])),
    observes: mode === "observe",
    now,
    warn: (facts, message) => log.warn(facts, message),
  });
}

/** Whether a result may be kept from its client: a stream of the same session must then not bring it after all. */
export function withholdsResults({ budgets, rules, mode }: PolicySet): boolean {
  return budgets.some(({ draw }) => mayWithhold(draw)) || (mode === "enforce" && rules.some(watchesResults));
}
