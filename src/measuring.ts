/** Counts what a call came to: its tokens always, and by the rules of the configuration what its result or its arguments say. */
import { argumentsOf, inputTextsOf, type McpRequest } from "./call/accept/request.ts";
import { type CallArguments, readArguments } from "./call/authorize/call-arguments.ts";
import { costOf } from "./call/budget/price.ts";
import type { Usage } from "./call/budget/reservation.ts";
import type { TaskBill } from "./call/budget/rounds.ts";
import { dueOf, takeTurn } from "./call/budget/task-bill.ts";
import type { Outcome } from "./call/forward/outcome.ts";
import { amountsIn, type Measures, namedIn } from "./call/record/measures.ts";
import type { CountTokens, TokenCount } from "./call/record/token-count.ts";
import type { Steps } from "./call/steps.ts";
import type { MeterRules, TargetRules } from "./meter-rules.ts";

/** Read for rules: of a larger result each meter counts its most, and no condition holds. Reading one of this size takes about 40 ms. */
const RESULT_BYTES_MAX = 4_194_304;

export type MeasureParts = {
  readonly rules: MeterRules;
  readonly count: CountTokens;
  readonly now: () => number;
  readonly mono: () => number;
};

export function createMeasure({ rules, count, now, mono }: MeasureParts): Steps["measure"] {
  return async (request, { task, calls }, outcome) => {
    const counted = outcome.kind === "http_error" ? null : await count(inputTextsOf(request), outcome.resultTexts);
    const target = task?.target ?? request.target;
    const isTask = outcome.kind === "task";
    const succeeded = (outcome.kind === "result" || isTask) && outcome.refusal === null && target?.kind === "tool";
    const found = succeeded ? rules.rulesFor(request.server, target) : null;
    const isCounted = found !== null && found.outcomes.length + found.meters.length > 0;
    const whole = isCounted ? measuresOf(isTask ? soFar(found, outcome) : found, request, outcome, task) : null;
    const bytes = request.body.length + outcome.bytesIn;
    // A look at a task that brings nothing of what it came to is free, as far as it is one.
    const beside = task === null ? 0 : Math.max(0, bytes - (outcome.cameTo?.length ?? 0) - LOOK_BYTES);
    if (task !== null && outcome.cameTo === null) return { tokenCount: counted, measures: whole, usage: { ...NOTHING, bytes: beside } };
    const { isKnown, measures } = task === null ? { isKnown: false, measures: whole } : await dueOfLook(task, request, outcome, whole);
    const tokenCount = isKnown ? null : counted;
    const usage: Record<string, number> & Usage = {
      calls,
      tool_tokens: tokensOf(tokenCount),
      bytes: isKnown ? beside : bytes,
      duration_ms: isKnown ? 0 : Math.max(0, Math.round(mono() - request.receivedMonoMs)),
    };
    Object.assign(usage, amountsIn(measures));
    const price = target === null ? null : rules.priceFor(request.server, target, now());
    if (price !== null) usage.cost_micros = costOf(price, usage);
    return { tokenCount, measures, usage };
  };
}

/** Of what a look at a task brings, what no look before it was charged for. Until it is settled no other look of the task is. */
async function dueOfLook({ bill }: TaskBill, { callId }: McpRequest, { cameTo }: Outcome, measures: Measures | null) {
  await takeTurn(bill, callId);
  const { isKnown, amounts } = dueOf(bill, cameTo ?? NO_TEXT, amountsIn(measures));
  return { isKnown, measures: measures === null ? null : { ...measures, ...namedIn(Object.entries(amounts)) } };
}

const NO_TEXT = Buffer.alloc(0);
/** Of a look: its request, and what is told of a task beside what it came to. */
const LOOK_BYTES = 16_384;

const NOTHING: Usage = Object.freeze({ calls: 0, tool_tokens: 0 });

function tokensOf(count: TokenCount | null): number {
  return count === null ? 0 : count.input + count.output;
}

/**
 * Of a task that is under way: what it was given counts when the call is answered with it. A part that is delivered counts as it is; an
 * outcome without a condition waits for the end.
 */
function soFar({ outcomes, meters }: TargetRules, { cameTo }: Outcome): Counted {
  if (cameTo === null) return { outcomes: [], meters: meters.filter(({ of }) => of === "arguments") };
  return { outcomes: outcomes.filter(({ when }) => when !== null), meters };
}

type Counted = Pick<TargetRules, "outcomes" | "meters">;

function measuresOf(rules: Counted, request: McpRequest, { toolResult }: Outcome, task: TaskBill | null): Measures {
  const notes: string[] = [];
  const outcomes: Record<string, number> = {};
  const outputs: Record<string, number> = {};
  const given: Record<string, number> = {};
  const add = (of: string, name: string, amount: number) => {
    for (const amounts of of === "arguments" ? [outputs, given] : [outputs]) amounts[name] = (amounts[name] ?? 0) + amount;
  };
  const result = toolResult === null || toolResult.length > RESULT_BYTES_MAX ? null : readOrNull(toolResult);
  const args = remembered(() => {
    if (task !== null) return task.given === null ? null : readOrNull(task.given);
    return request.course === "metered" ? readOrNull(argumentsOf(request)) : null;
  });
  for (const { name, when } of rules.outcomes) {
    const verdict = when === null ? true : result === null ? "unread" : when.holds(result, when.readsArguments ? args() : null);
    // Whoever pads what they ask for, or what comes back, has it no cheaper.
    if (verdict === "unread") notes.push(`outcome ${name}: too large for its condition, or not known to it any more, so it counts`);
    if (verdict === "faulty") notes.push(`outcome ${name}: its condition met an error, so it does not count`);
    if (verdict === true || verdict === "unread") outcomes[name] = 1;
  }
  for (const { name, of, pointer, max } of rules.meters) {
    const read = of === "result" ? result : args();
    // What a task was given is counted already.
    if (of === "arguments" && task !== null) continue;
    const amount = read === null ? null : amountAt(read, pointer);
    if (amount === undefined) notes.push(`meter ${name}: there is nothing at its pointer`);
    else if (amount === null) {
      // What cannot be read may be as much as was held for it: nobody gets it for nothing by writing it oddly, or by making it large.
      notes.push(`meter ${name}: there is no whole number at its pointer, so it counts as ${max}`);
      add(of, name, max);
    } else {
      if (amount > max) notes.push(`meter ${name}: ${amount} cut to ${max}`);
      add(of, name, Number(amount > max ? max : amount));
    }
  }
  return { outcomes, outputs, given, note: notes.length === 0 ? null : notes.join("; ") };
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

/** RFC 6901. A whole number of zero or more, or how many items a list has; null: something else; undefined: nothing. */
function amountAt(read: CallArguments, pointer: string): bigint | null | undefined {
  let value: unknown = read.value;
  for (const token of pointer.split("/").slice(1)) value = childOf(value, token.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return BigInt(value.length);
  if (typeof value === "number" && Number.isSafeInteger(value)) value = BigInt(value);
  return typeof value === "bigint" && value >= 0n ? value : null;
}

function childOf(value: unknown, token: string): unknown {
  if (value instanceof Map) return value.get(token);
  return Array.isArray(value) && /^(0|[1-9][0-9]{0,8})$/.test(token) ? value[Number(token)] : undefined;
}
