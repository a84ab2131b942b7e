/** Pure. Arguments that a tool's schema surely allows: the fewest, all of them, and those at the borders. */
import { isSchema, resolveRef, type Schema } from "./argument-types.ts";

/** A handful: each is evaluated once for each condition and tool. */
const SAMPLES_MAX = 24;
const DEPTH_MAX = 6;
const TEXT_LENGTH_MAX = 2000;
const ITEMS_MAX = 20;
/** Schemas that are looked at for one tool: forty properties that are all the same recursive one would be looked at without end. */
const WORK_MAX = 2_000;

/** The document that references are about, and how much may still be looked at. */
type Source = { readonly root: Schema; left: number };

/** Empty where not one is sure: a keyword may ask for what cannot be made up here. */
export function samplesOf(inputSchema: unknown): readonly Schema[] {
  if (!isSchema(inputSchema)) return [];
  const made = valuesFor(inputSchema, { root: inputSchema, left: WORK_MAX }, 0).filter(isSchema);
  return [...new Map(made.map((sample) => [JSON.stringify(sample), sample])).values()].slice(0, SAMPLES_MAX);
}

/** Each is understood; of a schema with any other that says what is valid, no value is made. */
const UNDERSTOOD = new Set(
  (
    "$schema $id $defs definitions title description default examples deprecated readOnly writeOnly $comment type properties required " +
    "additionalProperties enum const minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength format items minItems maxItems " +
    "$ref anyOf oneOf nullable minProperties"
  ).split(" "),
);

/** Of no use for being valid, and of no harm. */
const isUnderstood = (keyword: string): boolean => UNDERSTOOD.has(keyword) || keyword.startsWith("x-");

/** The first is the plainest. */
function valuesFor(schema: unknown, source: Source, depth: number): readonly unknown[] {
  source.left -= 1;
  return source.left < 0 || depth > DEPTH_MAX ? [] : madeFor(schema, source, depth).slice(0, SAMPLES_MAX);
}

function madeFor(schema: unknown, source: Source, depth: number): readonly unknown[] {
  if (schema === true) return ["a text"];
  if (!isSchema(schema)) return [];
  if (Array.isArray(schema.enum)) return schema.enum;
  if ("const" in schema) return [schema.const];
  if (!Object.keys(schema).every(isUnderstood)) return [];
  const beside = Object.keys(schema).filter((keyword) => !NOTES.has(keyword));
  if (schema.$ref !== undefined) return beside.length > 1 ? [] : valuesFor(resolveRef(schema.$ref, source.root), source, depth + 1);
  const branches = schema.anyOf ?? schema.oneOf;
  // What several branches allow, oneOf may refuse; what stands beside them as well.
  if (Array.isArray(branches))
    return beside.length > 1 || schema.oneOf !== undefined
      ? []
      : branches.slice(0, SAMPLES_MAX).flatMap((each) => valuesFor(each, source, depth + 1));
  const types = schema.type === undefined ? [] : [schema.type].flat();
  const values = types.flatMap((type) => MAKERS.get(type)?.(schema, source, depth) ?? []);
  return schema.nullable === true ? [...values, null] : values;
}

const NOTES = new Set(["$schema", "$id", "$defs", "definitions", "title", "description", "default", "examples", "deprecated", "$comment"]);

type Maker = (schema: Schema, source: Source, depth: number) => readonly unknown[];

const MAKERS: ReadonlyMap<unknown, Maker> = new Map<unknown, Maker>([
  ["null", () => [null]],
  ["boolean", () => [true, false]],
  ["integer", (schema) => numbersFor(schema, [1, 0, 2, -1])],
  ["number", (schema) => numbersFor(schema, [1, 1.5, 0, -1])],
  ["string", textsFor],
  ["array", listsFor],
  ["object", objectsFor],
]);

function numbersFor(schema: Schema, usual: readonly number[]): readonly number[] {
  const border = (key: string) => (typeof schema[key] === "number" ? [schema[key]] : []);
  const [min, max, above, below] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map(border);
  const whole = [...(above ?? []).map((edge) => Math.floor(edge) + 1), ...(below ?? []).map((edge) => Math.ceil(edge) - 1)];
  const isWhole = !usual.includes(1.5);
  return [...new Set([...usual, ...(min ?? []), ...(max ?? []), ...whole])].filter(
    (value) =>
      (!isWhole || Number.isInteger(value)) &&
      [...(min ?? [])].every((edge) => value >= edge) &&
      [...(max ?? [])].every((edge) => value <= edge) &&
      [...(above ?? [])].every((edge) => value > edge) &&
      [...(below ?? [])].every((edge) => value < edge),
  );
}

const FORMATS: ReadonlyMap<unknown, string> = new Map([
  ["date-time", "2026-01-31T12:00:00Z"],
  ["date", "2026-01-31"],
  ["time", "12:00:00Z"],
  ["email", "somebody@example.com"],
  ["uri", "https://example.com/a"],
  ["uuid", "00000000-0000-4000-8000-000000000000"],
]);

function textsFor({ format, minLength, maxLength }: Schema): readonly string[] {
  const least = typeof minLength === "number" ? minLength : 0;
  const most = typeof maxLength === "number" ? maxLength : TEXT_LENGTH_MAX;
  if (least > TEXT_LENGTH_MAX) return [];
  const plain = "a text".padEnd(least, "x").slice(0, Math.max(most, 0));
  const texts = format === undefined ? [plain, "x".repeat(least)] : [FORMATS.get(format) ?? null];
  return texts.filter((text) => text !== null).filter(({ length }) => length >= least && length <= most);
}

function listsFor(schema: Schema, source: Source, depth: number): readonly unknown[] {
  const least = typeof schema.minItems === "number" ? schema.minItems : 0;
  const most = typeof schema.maxItems === "number" ? schema.maxItems : ITEMS_MAX;
  const items = schema.items === undefined ? ["a text"] : valuesFor(schema.items, source, depth + 1);
  if (least > ITEMS_MAX || (items.length === 0 && least > 0)) return [];
  const filled = items.length === 0 ? [] : Array.from({ length: Math.max(least, 1) }, (_, index) => items[index % items.length]);
  return [filled, ...(least === 0 && filled.length > 0 ? [[]] : [])].filter(({ length }) => length <= most);
}

function objectsFor(schema: Schema, source: Source, depth: number): readonly unknown[] {
  const properties = Object.entries(isSchema(schema.properties) ? schema.properties : {});
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const values = properties.map(([name, of]) => [name, valuesFor(of, source, depth + 1)] as const);
  const cannot = [...required].filter((name) => (values.find(([known]) => known === name)?.[1].length ?? 0) === 0);
  if (cannot.length > 0) return [];
  const possible = values.filter(([, list]) => list.length > 0);
  const all = Object.fromEntries(possible.map(([name, list]) => [name, list[0]]));
  const fewest = Object.fromEntries(Object.entries(all).filter(([name]) => required.has(name)));
  const without = possible
    .filter(([name]) => !required.has(name))
    .slice(0, SAMPLES_MAX)
    .map(([name]) => omit(all, name));
  const varied = possible
    .flatMap(([name, list]) => list.slice(1).map((value) => [name, value] as const))
    .slice(0, SAMPLES_MAX)
    .map(([name, value]) => ({ ...all, [name]: value }));
  const least = typeof schema.minProperties === "number" ? schema.minProperties : 0;
  return [all, fewest, ...varied, ...without].filter((object) => Object.keys(object).length >= least);
}

function omit(object: Schema, name: string): Schema {
  return Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));
}
