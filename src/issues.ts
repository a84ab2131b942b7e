/** Pure. What a schema found wrong with a file, in words that name the key and the remedy, at the line where it stands. */
import { isNear } from "./call/authorize/nearest.ts";
import type { Document, Path, Problem } from "./document.ts";

/** The part of a zod issue that is read here. */
export type Issue = {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly expected?: string;
  readonly origin?: string;
  readonly values?: readonly unknown[];
  readonly keys?: readonly string[];
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly issues?: readonly Issue[];
  readonly errors?: readonly (readonly Issue[])[];
};

/** JSON Schema of the same definitions: it knows which keys there are. */
export type KeySource = { readonly [keyword: string]: unknown };

export function problemsOf(document: Document, issues: readonly Issue[], schema: KeySource): Problem[] {
  return issues.flatMap((issue) => problemsOfIssue(document, issue, [], schema));
}

function problemsOfIssue(document: Document, issue: Issue, base: Path, schema: KeySource): Problem[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === "number" ? step : String(step)))];
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(schema, path);
    return (issue.keys ?? []).map((key) => problemAtKey(document, [...path, key], unknownKey(key, known)));
  }
  if (issue.code === "invalid_union") {
    const branch = branchMeant(issue.errors ?? []);
    if (branch !== null) return branch.flatMap((inner) => problemsOfIssue(document, inner, path, schema));
  }
  if (issue.code === "invalid_key") return [problemAtKey(document, path, issue.issues?.[0]?.message ?? issue.message)];
  const value = valueAt(document.data, path);
  if (value === undefined && path.length > 0) {
    const parent = path.slice(0, -1);
    return [problemAtValue(document, parent, `the key ${JSON.stringify(String(path.at(-1)))} is missing`)];
  }
  return [problemAtValue(document, path, wordsOf(issue, value))];
}

export function problemAtValue(document: Document, path: Path, message: string): Problem {
  return { file: document.file, ...document.locate(path), message: named(path, message) };
}

export function problemAtKey(document: Document, path: Path, message: string): Problem {
  return { file: document.file, ...document.locateKey(path), message: named(path, message) };
}

/** `servers.tickets.url: ...`, `issuers[0].audience: ...` */
function named(path: Path, message: string): string {
  let text = "";
  for (const step of path) text += typeof step === "number" ? `[${step}]` : text === "" ? step : `.${step}`;
  return text === "" ? message : `${text}: ${message}`;
}

const TYPES = new Map([
  ["string", "a text"],
  ["number", "a number"],
  ["int", "a whole number"],
  ["boolean", "true or false"],
  ["array", "a list"],
  ["object", "a map of keys and values"],
  ["record", "a map of keys and values"],
]);

/** What it must be; `value` is what stands there. */
export function wordsOf(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case "invalid_type": {
      if (!issue.message.startsWith("Invalid input")) return issue.message;
      const expected = `must be ${TYPES.get(issue.expected ?? "") ?? issue.expected}`;
      const quotable = issue.expected === "string" && typeof value !== "object";
      return value === null ? `has no value; it ${expected}` : quotable ? `${expected}: put it in quotes` : expected;
    }
    case "invalid_value":
      return `must be ${(issue.values ?? []).map(String).join(" or ")}`;
    case "too_small":
      return issue.origin === "number" || issue.origin === "int" ? `must be at least ${issue.minimum}` : "must not be empty";
    case "too_big":
      return `must be at most ${issue.maximum}${issue.origin === "string" ? " characters" : issue.origin === "array" ? " items" : ""}`;
    default:
      return issue.message;
  }
}

/** The branch that the writer most likely meant, or null where what the union says of itself is clearer. */
function branchMeant(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const [first, second] = branches
    .map((issues) => ({ issues, weight: issues.reduce((sum, issue) => sum + weightOf(issue), 0) }))
    .toSorted((a, b) => a.weight - b.weight);
  if (first === undefined || first.weight >= 8 || first.weight === second?.weight) return null;
  return first.issues;
}

/** A wrong key speaks against a branch, a wrong kind of value more so; what is wrong inside speaks for it. */
function weightOf(issue: Issue): number {
  if (issue.code === "unrecognized_keys") return issue.path.length === 0 ? 3 * (issue.keys?.length ?? 1) : 1;
  return issue.path.length === 0 ? 8 : issue.path.length === 1 ? 2 : 1;
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = known.filter((candidate) => isNear(key, candidate));
  if (near.length > 0) return `unknown key; did you mean ${near.join(" or ")}?`;
  return known.length === 0 ? "unknown key" : `unknown key; known here: ${known.join(", ")}`;
}

function knownKeys(schema: KeySource, path: Path): string[] {
  let nodes: KeySource[] = variants(schema);
  for (const step of path) nodes = nodes.flatMap((node) => variants(childOf(node, step)));
  return [...new Set(nodes.flatMap((node) => (isRecord(node.properties) ? Object.keys(node.properties) : [])))];
}

function childOf(node: KeySource, step: string | number): unknown {
  if (typeof step === "number") return node.items;
  if (isRecord(node.properties) && Object.hasOwn(node.properties, step)) return node.properties[step];
  return node.additionalProperties;
}

function variants(node: unknown): KeySource[] {
  if (!isRecord(node)) return [];
  const branches = [node.anyOf, node.oneOf, node.allOf].flatMap((list) => (Array.isArray(list) ? list : []));
  return [node, ...branches.flatMap(variants)];
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
