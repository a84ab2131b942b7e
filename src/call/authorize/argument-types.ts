/** Pure. What a JSON Schema says that a value may be, as far as it says it surely: what is not understood may be anything. */

/** As conditions see JSON: an integer may arrive as `5.0` and is a double then, so both are one kind here. */
export type Kind = "null" | "bool" | "number" | "string" | "list" | "map" | "timestamp";

export type Schema = Readonly<Record<string, unknown>>;
/** All of these schemas hold. */
type Alternative = readonly Schema[];
/** One of the alternatives holds; null: anything. */
export type ArgumentType = { readonly alternatives: readonly Alternative[] | null; readonly root: Schema };

export type Member = { readonly type: ArgumentType; readonly required: boolean };

/** More is a schema that nobody has written by hand; it may then be anything. */
const ALTERNATIVES_MAX = 32;
/** Schemas that hold at once. */
const TOGETHER_MAX = 64;

/** Made once for each schema: many rules are about the same tool. */
const types = new WeakMap<Schema, ArgumentType>();

export function typeOf(schema: unknown): ArgumentType {
  if (!isSchema(schema)) return { alternatives: null, root: {} };
  const type = types.get(schema) ?? { alternatives: alternativesOf(schema, schema), root: schema };
  types.set(schema, type);
  return type;
}

/** Null: any. */
export function kindsOf({ alternatives }: ArgumentType): ReadonlySet<Kind> | null {
  return unionOf(alternatives, (alternative) => {
    const sets = alternative.map(kindsOfSchema).filter((set) => set !== null);
    const kinds = sets.length === 0 ? null : sets.reduce((a, b) => a.intersection(b));
    // A contradiction: the schema allows nothing here, and there is nothing to be said of it.
    return kinds?.size === 0 ? null : kinds;
  });
}

/** The values of an enumeration that are plain; null: it is none. */
export function valuesOf({ alternatives }: ArgumentType): ReadonlySet<unknown> | null {
  return unionOf(alternatives, (alternative) => {
    const lists = alternative.flatMap((schema) => ("const" in schema ? [[schema.const]] : Array.isArray(schema.enum) ? [schema.enum] : []));
    return lists[0] === undefined ? null : new Set<unknown>(lists[0].filter((value) => value === null || typeof value !== "object"));
  });
}

/** `unknown`: there may be one of this name. Null: there is none. */
export function memberOf(type: ArgumentType, name: string): Member | "unknown" | null {
  const { alternatives, root } = type;
  if (alternatives === null) return "unknown";
  const maps = alternatives.filter((alternative) => kindsOf({ alternatives: [alternative], root })?.has("map") !== false);
  if (maps.some((alternative) => !declares(alternative, name) && isOpen(alternative))) return "unknown";
  const having = maps.filter((alternative) => declares(alternative, name));
  if (having.length === 0) return null;
  const types = having.map((alternative) => {
    const declared = alternative.flatMap((schema) => (isDeclaredIn(schema, name) ? [propertiesOf(schema)[name]] : []));
    return declared.map((schema) => alternativesOf(schema, root)).reduce(both);
  });
  const required = maps.every((alternative) => declares(alternative, name) && alternative.some((schema) => requiredIn(schema).has(name)));
  return { type: { alternatives: either(types), root }, required };
}

/** The names that it declares. */
export function namesOf({ alternatives }: ArgumentType): readonly string[] {
  return [...new Set((alternatives ?? []).flat().flatMap((schema) => Object.keys(propertiesOf(schema))))];
}

export function itemsOf({ alternatives, root }: ArgumentType): ArgumentType {
  if (alternatives === null) return { alternatives, root };
  const lists = alternatives.filter((alternative) => kindsOf({ alternatives: [alternative], root })?.has("list") !== false);
  const types = lists.map((alternative) => {
    const items = alternative.flatMap((schema) => (isSchema(schema.items) && schema.prefixItems === undefined ? [schema.items] : []));
    return items.length === 0 ? null : items.map((schema) => alternativesOf(schema, root)).reduce(both);
  });
  return { alternatives: either(types), root };
}

/** The set that one of them is in; null as soon as one knows nothing. */
function unionOf<T>(alternatives: ArgumentType["alternatives"], of: (alternative: Alternative) => ReadonlySet<T> | null) {
  let all: ReadonlySet<T> = new Set();
  for (const alternative of alternatives ?? []) {
    const set = of(alternative);
    if (set === null) return null;
    all = all.union(set);
  }
  return alternatives === null ? null : all;
}

type Alternatives = ArgumentType["alternatives"];

function either(types: readonly Alternatives[]): Alternatives {
  const all: Alternative[] = [];
  for (const type of types) {
    if (type === null || all.length + type.length > ALTERNATIVES_MAX) return null;
    all.push(...type);
  }
  return all.length === 0 ? null : all;
}

function both(a: Alternatives, b: Alternatives): Alternatives {
  if (a === null || b === null) return a ?? b;
  if (a.length * b.length > ALTERNATIVES_MAX) return null;
  const all = a.flatMap((one) => b.map((other) => [...new Set([...one, ...other])]));
  return all.some((together) => together.length > TOGETHER_MAX) ? null : all;
}

/** What was found of each part of a document: parts that refer to each other many times over are read once. */
const foundIn = new WeakMap<Schema, Map<Schema, Alternatives>>();

function alternativesOf(schema: unknown, root: Schema): Alternatives {
  if (!isSchema(schema)) return null;
  const known = foundIn.get(root) ?? new Map<Schema, Alternatives>();
  foundIn.set(root, known);
  const before = known.get(schema);
  if (before !== undefined) return before;
  // Whoever meets it again on the way may be anything.
  known.set(schema, null);
  const found = combined(schema, root);
  known.set(schema, found);
  return found;
}

function combined(schema: Schema, root: Schema): Alternatives {
  let found: Alternatives = [[schema]];
  if (schema.$ref !== undefined) {
    const meant = resolveRef(schema.$ref, root);
    const there = meant === undefined ? null : alternativesOf(meant, root);
    // What cannot be found may say anything, and what stands beside it must not sound complete.
    if (there === null) return null;
    found = both(found, there);
  }
  for (const part of listOf(schema.allOf)) {
    const there = alternativesOf(part, root);
    if (there === null) return null;
    found = both(found, there);
  }
  for (const parts of [listOf(schema.anyOf), listOf(schema.oneOf)]) {
    if (parts.length === 0) continue;
    const there = either(parts.map((part) => alternativesOf(part, root)));
    if (there === null) return null;
    found = both(found, there);
  }
  return found;
}

/** Within the same document only: `#`, `#/$defs/Filter`, `#/properties/a`. */
export function resolveRef(ref: unknown, root: Schema): unknown {
  if (typeof ref !== "string" || !/^#(\/|$)/.test(ref)) return undefined;
  let node: unknown = root;
  for (const step of ref.slice(1).split("/").slice(1)) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof node !== "object" || node === null || !Object.hasOwn(node, key)) return undefined;
    node = (node as Record<string, unknown>)[key];
  }
  return node;
}

const KINDS: ReadonlyMap<unknown, Kind> = new Map([
  ["null", "null"],
  ["boolean", "bool"],
  ["integer", "number"],
  ["number", "number"],
  ["string", "string"],
  ["array", "list"],
  ["object", "map"],
] as const);

function kindsOfSchema(schema: Schema): ReadonlySet<Kind> | null {
  const written = schema.type === undefined ? [] : [schema.type].flat();
  const kinds = written.map((type) => KINDS.get(type));
  if (kinds.includes(undefined)) return null;
  const known = kinds.filter((kind) => kind !== undefined);
  const values = "const" in schema ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : null;
  if (known.length > 0) return new Set(schema.nullable === true ? [...known, "null"] : known);
  return values === null ? null : new Set(values.map(kindOf));
}

/** Of a value as JSON has it, or as an expression writes it out. */
export function kindOf(value: unknown): Kind {
  if (value === null) return "null";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "string";
  if (typeof value === "number" || typeof value === "bigint") return "number";
  return Array.isArray(value) ? "list" : "map";
}

const declares = (alternative: Alternative, name: string): boolean => alternative.some((schema) => isDeclaredIn(schema, name));

function isDeclaredIn(schema: Schema, name: string): boolean {
  return Object.hasOwn(propertiesOf(schema), name);
}

function propertiesOf(schema: Schema): Schema {
  return isSchema(schema.properties) ? schema.properties : {};
}

function requiredIn({ required }: Schema): ReadonlySet<unknown> {
  return new Set(listOf(required));
}

/** Keywords that may bring members of which `properties` says nothing. */
const OPENING = ["patternProperties", "if", "then", "else", "dependentSchemas", "dependencies", "unevaluatedProperties", "$dynamicRef"];

/**
 * JSON Schema lets an object have members beyond `properties` unless it says otherwise. Authors of tools who mean that say so;
 * of the rest, nobody could know what another member means.
 */
function isOpen(alternative: Alternative): boolean {
  if (alternative.some((schema) => schema.additionalProperties === false)) return false;
  if (alternative.some((schema) => schema.additionalProperties !== undefined || OPENING.some((keyword) => keyword in schema))) return true;
  return !alternative.some((schema) => isSchema(schema.properties));
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
