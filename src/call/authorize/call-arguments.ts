/** Pure. The bytes of a call's arguments as values that CEL compares exactly: integers as int, objects as maps. */

export type CallArguments = {
  readonly value: unknown;
  /** Items of the longest list or map in it. */
  readonly longest: number;
  readonly bytes: number;
};

/** Throws on what CEL has no value for: a number beyond a double's range, an integer of more than 40 digits. */
export function readArguments(bytes: Uint8Array): CallArguments {
  if (separatorsIn(bytes) > VALUES_MAX) throw new RangeError(`more than ${VALUES_MAX} values`);
  const text = utf8.decode(bytes);
  if (!NEEDS_SOURCE.test(text)) return readPlain(text, bytes.length);
  let longest = 0;
  const value = parseJson(text, (_key, part, { source }) => {
    if (typeof part === "number") return numberOf(source ?? "");
    if (Array.isArray(part)) longest = Math.max(longest, part.length);
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    // A Map has no inherited members: `constructor` and `__proto__` are keys like any other.
    const map = new Map(Object.entries(part));
    longest = Math.max(longest, map.size);
    return map;
  });
  return { value, longest, bytes: bytes.length };
}

/** A number (or what looks like one in a text) that a double may not hold, or that is none of the integers. */
const NEEDS_SOURCE = /[0-9][.eE]|[0-9]{16}/;

/** Most arguments: asking V8 for the source of each value takes 5 us a call, this 1. A property test holds both ways equal. */
function readPlain(text: string, bytes: number): CallArguments {
  let longest = 0;
  const valueFor = (part: unknown): unknown => {
    if (typeof part === "number") return BigInt(part);
    if (typeof part !== "object" || part === null) return part;
    if (Array.isArray(part)) {
      longest = Math.max(longest, part.length);
      return part.map(valueFor);
    }
    const keys = Object.keys(part);
    longest = Math.max(longest, keys.length);
    const map = new Map<string, unknown>();
    for (const key of keys) map.set(key, valueFor((part as Record<string, unknown>)[key]));
    return map;
  };
  const value = valueFor(JSON.parse(text));
  return { value, longest, bytes };
}

/** Made once: making one costs more than decoding the arguments of a call. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Making values for CEL costs a microsecond each; a list over 1,000 items makes a condition fail anyway. */
const VALUES_MAX = 20_000;

/** Commas and brackets outside strings: never fewer than there are values. */
function separatorsIn(bytes: Uint8Array): number {
  let separators = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i];
    if (c === 0x22) inString = !inString;
    else if (c === 0x5c) i++;
    else if (!inString && (c === 0x2c || c === 0x5b || c === 0x7b)) separators++;
  }
  return separators;
}

/** `source` is the text of a primitive as it stands (ECMAScript proposal json-parse-with-source, in V8 since 11.4). */
type Reviver = (key: string, part: unknown, context: { readonly source?: string }) => unknown;
const parseJson = JSON.parse as (text: string, reviver: Reviver) => unknown;

// int64 has 19 digits, uint256 has 78; identifiers of 128 bits have 39.
const INTEGER_DIGITS_MAX = 40;

function numberOf(source: string): bigint | number {
  if (/^-?[0-9]+$/.test(source)) {
    if (source.length > INTEGER_DIGITS_MAX) throw new RangeError(`an integer of ${source.length} digits`);
    return BigInt(source);
  }
  const value = Number(source);
  if (!Number.isFinite(value)) throw new RangeError("a number beyond the range of a double");
  return value;
}
