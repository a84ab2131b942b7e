/** What can be counted, as the configuration declares it: for those who report, and for the policies that set limits. */
import type { MeterFacts } from "./call/authorize/meter-facts.ts";
import { parsePattern, type TargetPattern } from "./call/authorize/pattern.ts";
import { type Catalogue, catalogueOf } from "./call/record/event-types.ts";
import type { Config, Metering } from "./config.ts";

export function catalogueIn({ eventTypes, outcomes, meters }: Pick<Metering, "eventTypes" | "outcomes" | "meters">): Catalogue {
  const names = (rules: readonly { readonly name: string }[]) => [...new Set(rules.map(({ name }) => name))];
  return catalogueOf(eventTypes, names(outcomes), names(meters));
}

/** What calls draw on by themselves: nothing that others have to report. */
export function metersOfCalls({ metering }: Pick<Config, "metering">): ReadonlySet<string> {
  const named = [...metering.outcomes.map(({ name }) => `outcome:${name}`), ...metering.meters.map(({ name }) => name)];
  return new Set(["calls", "tool_tokens", "bytes", "duration_ms", "cost_micros", ...named]);
}

/** What policies are compared with. */
export function meterFactsOf({ metering }: Pick<Config, "metering">): MeterFacts {
  return { meters: new Set([...catalogueIn(metering).meters, "bytes"]), priced: metering.prices.flatMap(({ tool }) => patternOf(tool)) };
}

/** Checked when the configuration was read. */
function patternOf(written: string): TargetPattern[] {
  const pattern = parsePattern(written);
  return "problem" in pattern ? [] : [pattern];
}
