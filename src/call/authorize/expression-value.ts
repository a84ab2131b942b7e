/** Pure. The parts of a condition as values of which something is known before any call: what variables and functions give. */
import type { ArgumentType, Kind } from "./argument-types.ts";

/** What is known of a part of the expression. Kinds null: it may be anything. */
export type Value = {
  readonly kinds: ReadonlySet<Kind> | null;
  readonly type: ArgumentType | null;
  /** Null: it is no argument. */
  readonly path: string | null;
  /** Written out in the expression. */
  readonly literal?: unknown;
};

export type Variables = ReadonlyMap<string, Value>;

export const ANY: Value = { kinds: null, type: null, path: null };
export const ofKind = (...kinds: Kind[]): Value => ({ kinds: new Set(kinds), type: null, path: null });
export const NOTHING_THERE: ReadonlySet<string> = new Set();

export const VARIABLES: ReadonlyMap<string, Value> = new Map([
  ["now", ofKind("timestamp")],
  ...["tool", "server", "customer", "region"].map((name) => [name, ofKind("string")] as const),
]);
export const RESULTS: ReadonlyMap<string, Value> = new Map([
  ["has", ofKind("bool")],
  ["like", ofKind("bool")],
  ["bool", ofKind("bool")],
  ["size", ofKind("number")],
  ["int", ofKind("number")],
  ["uint", ofKind("number")],
  ["double", ofKind("number")],
  ["string", ofKind("string")],
  ["timestamp", ofKind("timestamp")],
  ...["startsWith", "endsWith", "contains", "all", "exists", "exists_one"].map((name) => [name, ofKind("bool")] as const),
  ...["indexOf", "lastIndexOf"].map((name) => [name, ofKind("number")] as const),
  ...["substring", "trim", "lowerAscii", "upperAscii"].map((name) => [name, ofKind("string")] as const),
]);
/** Functions by what they are for. */
export const OF = {
  texts: new Set("startsWith endsWith contains indexOf lastIndexOf substring trim lowerAscii upperAscii like".split(" ")),
  lists: new Set(["all", "exists", "exists_one", "filter", "map"]),
};
export const OPERATORS = {
  equal: new Set(["==", "!="]),
  order: new Set(["<", "<=", ">", ">="]),
  arithmetic: new Set(["+", "-", "*", "/", "%"]),
};

const WORDS: Readonly<Record<Kind, string>> = {
  null: "null",
  bool: "true or false",
  number: "a number",
  string: "a text",
  list: "a list",
  map: "an object",
  timestamp: "a time",
};

export function wordsOf(kinds: ReadonlySet<Kind>): string {
  return [...kinds].map((kind) => WORDS[kind]).join(" or ");
}
