/** Which rules of the configuration count what a call to a target comes to: outcomes, meters, and its price. */
import type { Target } from "./call/accept/request.ts";
import { globOf, isPattern } from "./call/authorize/glob.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import { compileResultCondition, type ResultCondition } from "./call/authorize/result-condition.ts";
import type { Price } from "./call/budget/price.ts";
import type { Metering, MeterRule, PriceRule } from "./config.ts";

export type OutcomeCheck = { readonly name: string; readonly when: ResultCondition | null };
export type TargetRules = {
  readonly outcomes: readonly OutcomeCheck[];
  readonly meters: readonly MeterRule[];
  /** In the order of their beginnings; which counts depends on the time. */
  readonly prices: readonly { readonly fromMs: number; readonly price: Price }[];
};

export type MeterRules = {
  rulesFor(server: string, target: Target): TargetRules;
  /** Null: nobody has said what it costs. */
  priceFor(server: string, target: Target, nowMs: number): Price | null;
};

/** Targets whose rules are at hand: more than servers list. */
const TARGETS_MAX = 10_000;

export function createMeterRules({ outcomes, meters, prices }: Pick<Metering, "outcomes" | "meters" | "prices">): MeterRules {
  const checks = outcomes.flatMap(({ name, tool, when }) =>
    tool === null ? [] : [{ check: { name, when: conditionOf(when) }, covers: coversOf(tool) }],
  );
  const readings = meters.map((rule) => ({ rule, covers: coversOf(rule.tool) }));
  const rows = prices.map((row) => ({ row, covers: coversOf(row.tool) }));
  const known = new Map<string, TargetRules>();
  const rulesFor = (server: string, target: Target): TargetRules => {
    const key = `${target.kind} ${server} ${target.name}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const rules = {
      outcomes: checks.filter(({ covers }) => covers(server, target)).map(({ check }) => check),
      meters: readings.filter(({ covers }) => covers(server, target)).map(({ rule }) => rule),
      prices: nearestRows(rows.filter(({ covers }) => covers(server, target)).map(({ row }) => row)),
    };
    if (known.size >= TARGETS_MAX) known.clear();
    known.set(key, rules);
    return rules;
  };
  return {
    rulesFor,
    priceFor: (server, target, nowMs) => rulesFor(server, target).prices.findLast(({ fromMs }) => fromMs <= nowMs)?.price ?? null,
  };
}

type Covers = (server: string, target: Target) => boolean;

/** Patterns and conditions were checked when the configuration was read. */
function coversOf(written: string): Covers {
  const pattern = parsePattern(written);
  if ("problem" in pattern) throw new Error(pattern.problem);
  const [server, name] = [globOf(pattern.server), globOf(pattern.name)];
  return (ofServer, target) => target.kind === pattern.kind && server(ofServer) && name(target.name);
}

function conditionOf(written: string | null): ResultCondition | null {
  if (written === null) return null;
  const condition = compileResultCondition(written);
  if ("message" in condition) throw new Error(condition.message);
  return condition;
}

/** The rows that name the target most closely, however many others cover it too. */
function nearestRows(rows: readonly PriceRule[]): TargetRules["prices"] {
  const closest = Math.max(...rows.map(({ tool }) => closenessOf(tool)));
  return rows
    .filter(({ tool }) => closenessOf(tool) === closest)
    .toSorted((a, b) => a.fromMs - b.fromMs)
    .map(({ fromMs, price }) => ({ fromMs, price }));
}

/** A name in full is closer than any pattern; of patterns the one that says more. */
export function closenessOf(written: string): number {
  return isPattern(written) ? written.replaceAll("*", "").length : Number.MAX_SAFE_INTEGER;
}
