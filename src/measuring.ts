/** Counts what a call came to: its tokens always, and by the rules of the configuration what its result or its arguments say. */
import { argumentsOf, inputTextsOf, type McpRequest, type Target } from "./call/accept/request.ts";
import { type CallArguments, readArguments } from "./call/authorize/call-arguments.ts";
import { globOf } from "./call/authorize/glob.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import { compileResultCondition, type ResultCondition } from "./call/authorize/result-condition.ts";
import type { Outcome } from "./call/forward/outcome.ts";
import type { Measures } from "./call/record/measures.ts";
import type { CountTokens } from "./call/record/token-count.ts";
import type { Steps } from "./call/steps.ts";
import type { Metering, MeterRule } from "./config.ts";

/** Read for rules: a larger result counts nothing beyond its tokens, and says so. Reading one of this size takes about 10 ms. */
const RESULT_BYTES_MAX = 1_048_576;
/** Names of tools whose rules are at hand: more than servers list. */
const TOOLS_MAX = 10_000;

type OutcomeCheck = { readonly name: string; readonly covers: Covers; readonly when: ResultCondition | null };
type MeterReading = MeterRule & { readonly covers: Covers };
type Covers = (server: string, tool: string) => boolean;
type ToolRules = { readonly outcomes: readonly OutcomeCheck[]; readonly meters: readonly MeterReading[] };

export function createMeasure({ outcomes, meters }: Pick<Metering, "outcomes" | "meters">, count: CountTokens): Steps["measure"] {
  const checks = outcomes.flatMap(({ name, tool, when }) =>
    tool === null ? [] : [{ name, covers: coversOf(tool), when: conditionOf(when) }],
  );
  const readings = meters.map((rule) => ({ ...rule, covers: coversOf(rule.tool) }));
  const known = new Map<string, ToolRules | null>();
  const rulesOf = (server: string, tool: string): ToolRules | null => {
    const key = `${server}/${tool}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = {
      outcomes: checks.filter(({ covers }) => covers(server, tool)),
      meters: readings.filter(({ covers }) => covers(server, tool)),
    };
    const rules = found.outcomes.length + found.meters.length === 0 ? null : found;
    if (known.size >= TOOLS_MAX) known.clear();
    known.set(key, rules);
    return rules;
  };
  return async (request, { task }, outcome) => {
    const tokens = count(inputTextsOf(request), outcome.resultTexts);
    const target: Target | null = task?.target ?? request.target;
    const succeeded = outcome.kind === "result" && outcome.refusal === null && target?.kind === "tool";
    const rules = succeeded ? rulesOf(request.server, target.name) : null;
    return { tokenCount: await tokens, measures: rules === null ? null : measuresOf(rules, request, outcome) };
  };
}

/** Patterns and conditions were checked when the configuration was read. */
function coversOf(written: string): Covers {
  const pattern = parsePattern(written);
  if ("problem" in pattern) throw new Error(pattern.problem);
  const [server, name] = [globOf(pattern.server), globOf(pattern.name)];
  return (ofServer, ofTool) => server(ofServer) && name(ofTool);
}

function conditionOf(written: string | null): ResultCondition | null {
  if (written === null) return null;
  const condition = compileResultCondition(written);
  if (typeof condition !== "function") throw new Error(condition.message);
  return condition;
}

function measuresOf(rules: ToolRules, request: McpRequest, { toolResult }: Outcome): Measures {
  const notes: string[] = [];
  const outcomes: Record<string, number> = {};
  const outputs: Record<string, number> = {};
  const result = toolResult === null || toolResult.length > RESULT_BYTES_MAX ? null : readOrNull(toolResult);
  // A request that follows a task says nothing of what its call was given.
  const args = remembered(() => (request.course === "metered" ? readOrNull(argumentsOf(request)) : null));
  for (const { name, when } of rules.outcomes) {
    const holds = when === null ? true : result === null ? null : when(result, args);
    if (holds === null) notes.push(`outcome ${name}: its condition could not be evaluated`);
    else if (holds) outcomes[name] = 1;
  }
  for (const { name, of, pointer, max } of rules.meters) {
    const amount = amountAt(of === "result" ? result : args(), pointer);
    if (amount === null) notes.push(`meter ${name}: there is no whole number at its pointer`);
    else {
      if (amount > max) notes.push(`meter ${name}: ${amount} cut to ${max}`);
      outputs[name] = (outputs[name] ?? 0) + Number(amount > max ? max : amount);
    }
  }
  return { outcomes, outputs, note: notes.length === 0 ? null : notes.join("; ") };
}

function remembered<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function readOrNull(bytes: Uint8Array): CallArguments | null {
  try {
    return readArguments(bytes);
  } catch {
    return null;
  }
}

/** RFC 6901. A whole number of zero or more, or how many items a list has; null: there is neither. */
function amountAt(read: CallArguments | null, pointer: string): bigint | null {
  let value: unknown = read?.value;
  for (const token of pointer.split("/").slice(1)) value = childOf(value, token.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (Array.isArray(value)) return BigInt(value.length);
  if (typeof value === "number" && Number.isSafeInteger(value)) value = BigInt(value);
  return typeof value === "bigint" && value >= 0n ? value : null;
}

function childOf(value: unknown, token: string): unknown {
  if (value instanceof Map) return value.get(token);
  return Array.isArray(value) && /^(0|[1-9][0-9]{0,8})$/.test(token) ? value[Number(token)] : undefined;
}
