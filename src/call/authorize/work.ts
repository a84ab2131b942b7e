/** Pure. How long a condition can take at most, by the size of what it looks at: what a caller sends must not hold up the others. */
import type { ASTNode } from "@marcbachmann/cel-js";

export type Work = {
  /** Steps for each byte looked at. */
  readonly perByte: number;
  /** Texts of the caller's are sought in each other: a step for each pair of bytes. */
  readonly pairs: number;
  /** A macro's body looks at args or claims again: all of it once an item. */
  readonly repeats: boolean;
  /** How much longer than what was sent a text can become. */
  readonly growth: number;
};

/** A step is about 3 ns: 50 ms. One search through 4 MiB is a quarter of it. */
export const STEPS_MAX = 16_777_216;

export function stepsOf({ perByte, pairs, repeats, growth }: Work, bytes: number, longest: number): number {
  const size = bytes * growth;
  return (perByte * size + pairs * size * size) * (repeats ? Math.max(1, longest) : 1);
}

/**
 * For each byte, relative to a search for one character: measured on 4 MB of `a`, where a search for `aaab` took four times as
 * long as one for `b`, and counting characters ten times.
 */
const SCANS: ReadonlyMap<string, number> = new Map([
  ["size", 3],
  ["lowerAscii", 1],
  ["upperAscii", 1],
  ["trim", 1],
  ["contains", 1],
  ["indexOf", 1],
  ["lastIndexOf", 1],
  ["like", 1],
  ["double", 1],
  ["int", 1],
  ["uint", 1],
  ["timestamp", 1],
]);
const SEARCHES = new Set(["contains", "indexOf", "lastIndexOf"]);
const COMPARISONS = new Set(["==", "!=", "<", "<=", ">", ">=", "in"]);
const MACROS = new Set(["all", "exists", "exists_one", "filter", "map"]);
/** Two texts of the caller's, compared character by character. */
const COMPARING = 0.25;
/** Searching backwards tries every place anew. */
const BACKWARDS = 0.25;
const FORWARDS = 1 / 32;

export function workOf(expression: ASTNode): Work {
  const counter = new Counter();
  counter.walk(expression, null);
  const { perByte, pairs, repeats, sums, doublings } = counter;
  return { perByte, pairs, repeats, growth: (1 + sums) * 2 ** doublings };
}

class Counter {
  perByte = 0;
  pairs = 0;
  repeats = false;
  /** Additions outside macros add what is written; within one, a chain of macros doubles its items at each. */
  sums = 0;
  doublings = 0;

  /** `variable`: of the macro in whose body this stands. */
  walk(node: ASTNode, variable: string | null): void {
    if (node.op === "id" && isSent(node.args) && variable !== null) this.repeats = true;
    if (node.op === "+" && variable === null) this.sums += 1;
    if (node.op === "+" && variable !== null) this.doublings += 1;
    if (COMPARISONS.has(node.op) && partsOf(node).every((part) => isFromCaller(part, variable))) this.perByte += COMPARING;
    if (node.op !== "call" && node.op !== "rcall") {
      for (const part of partsOf(node)) this.walk(part, variable);
      return;
    }
    const [name] = node.args;
    const [receiver, args] = node.op === "call" ? [null, node.args[1]] : [node.args[1], node.args[2]];
    this.#scan(name, name === "like" ? args.at(-1) : args[0], variable);
    if (receiver !== null) this.walk(receiver, variable);
    const [first] = args;
    const inside = MACROS.has(name) && first?.op === "id" ? first.args : variable;
    for (const arg of args) this.walk(arg, inside);
  }

  #scan(name: string, needle: ASTNode | undefined, variable: string | null): void {
    this.perByte += SCANS.get(name) ?? 0;
    if (needle?.op === "value" && typeof needle.args === "string")
      this.perByte += needle.args.length * (name === "lastIndexOf" ? BACKWARDS : FORWARDS);
    else if (SEARCHES.has(name) && needle !== undefined) {
      if (isFromCaller(needle, variable)) this.pairs += 1;
      else this.perByte += ATTRIBUTE_LENGTH * BACKWARDS;
    }
  }
}

/** Of an agent's attributes the longest, about. */
const ATTRIBUTE_LENGTH = 256;

const isSent = (name: string): boolean => name === "args" || name === "claims" || name === "result";

function isFromCaller(node: ASTNode, variable: string | null): boolean {
  if (node.op === "id") return isSent(node.args) || node.args === variable || node.args === "tool";
  return partsOf(node).some((part) => isFromCaller(part, variable));
}

function partsOf(node: ASTNode): ASTNode[] {
  return partsIn(node.args);
}

function partsIn(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(partsIn);
  return typeof args === "object" && args !== null && "op" in args ? [args as ASTNode] : [];
}
