/** Pure. Whether a budget's meter exists, and whether a call can say before it is sent how much of it it may need. */
import type { BudgetFile } from "./budget-file.ts";
import { globOf, isPattern } from "./glob.ts";
import { didYouMean } from "./nearest.ts";
import type { TargetPattern } from "./pattern.ts";
import type { ServerFacts } from "./policy-set.ts";

/** What the configuration says of meters. */
export type MeterFacts = {
  readonly meters: ReadonlySet<string>;
  /** What there is a price for. */
  readonly priced: readonly TargetPattern[];
};

/** What a server's `reserve` declares. */
const RESERVED = ["tool_tokens", "bytes", "duration_ms"];

/** A hard limit can only hold if something is set aside before the result is known. `facts` null: nothing is known of meters. */
export function checkMeter(
  { meter, hard, overage }: BudgetFile,
  targets: readonly TargetPattern[] | null,
  servers: ServerFacts,
  facts: MeterFacts | null,
  say: (message: string) => void,
  /** What is refused later, and not wrong by itself. */
  warn: (message: string) => void,
): void {
  if (facts !== null && !facts.meters.has(meter)) {
    const name = meter.startsWith("outcome:") ? `${meter}: outcomes of the config has no such name` : `the config has no meter ${meter}`;
    return say(`${name}${didYouMean(meter, facts.meters)}`);
  }
  if (!hard && overage === undefined) return;
  const drawn = [...servers].filter(
    ([server]) => targets === null || targets.some((each) => isPattern(each.server) || each.server === server),
  );
  for (const [server, { reserve }] of drawn) {
    if (RESERVED.includes(meter) && reserve[meter] === 0)
      say(`a hard budget needs a reserve, and servers.${server}.reserve.${meter} is 0: raise it, or set hard: false`);
    if (meter !== "cost_micros" || facts === null) continue;
    const priced = facts.priced.filter((pattern) => globOf(pattern.server)(server));
    if (priced.length === 0)
      say(`a hard budget of money needs prices, and prices has none for ${server}: add one, of 0 where it is free, or set hard: false`);
    else if (!pricedWhole(server, priced, targets))
      warn(
        `prices name some of what ${server} has, not all: calls of the rest are refused under this budget; add a row for ${server}/*, of 0 where it is free`,
      );
  }
}

/** Whether every tool that the budget counts on that server has a price, as far as names tell. */
function pricedWhole(server: string, priced: readonly TargetPattern[], targets: readonly TargetPattern[] | null): boolean {
  const counted = (targets ?? [{ kind: "tool", server, name: "*" } as const]).filter((target) => globOf(target.server)(server));
  return counted.every(({ kind, name }) => priced.some((row) => row.kind === kind && (row.name === "*" || globOf(row.name)(name))));
}
