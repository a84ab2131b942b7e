/** Pure. Canonical (RFC 8785) text of objects whose members are known beforehand: sorted once, not at every call. */
import { canonicalJson, quoted } from "./canonical.ts";

// Asking every value what it is and sorting its names costs 7 us for an audit record; this takes 2.

/** Writes a value of its type as canonical JSON. */
export type Write<T> = (value: T) => string;

/** One for each member, so that the compiler misses none. */
export type Writes<T> = { readonly [Name in keyof T]-?: Write<T[Name]> };

export const text: Write<string | null> = (value) => (value === null ? "null" : quoted(value));
export const flag: Write<boolean> = (value) => (value ? "true" : "false");
/** `canonicalJson` throws for what is not finite. */
export const number: Write<number | null> = (value) => (Number.isFinite(value) ? `${value}` : canonicalJson(value));
/** Where no member is set so far. */
export const nothing: Write<null> = () => "null";

export function orNull<T>(write: Write<T>): Write<T | null> {
  return (value) => (value === null ? "null" : write(value));
}

export function listOf<T>(write: Write<T>): Write<readonly T[]> {
  return (values) => (values.length === 0 ? "[]" : `[${values.map((value) => write(value)).join(",")}]`);
}

export function objectOf<T extends object>(writes: Writes<T>): Write<T> {
  const members = membersOf(writes);
  return (value) => `{${members(value)}}`;
}

/** `"name":value` of every member, or of those that are set, with commas between: for objects that are put together from parts. */
export function membersOf<T extends object>(writes: Partial<Writes<T>>, setOnly = false): Write<T> {
  const members = Object.entries<Write<never> | undefined>(writes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, write]) => ({ name: name as keyof T, label: `,${quoted(name)}:`, write: write as Write<unknown> }));
  return (value) => {
    let written = "";
    for (const { name, label, write } of members) {
      const member = value[name];
      if (!setOnly || member !== null) written += label + write(member);
    }
    return written.slice(1);
  };
}

/** For objects that are the same from call to call: written once, then known by their identity. They must not change. */
export function remembered<T extends object>(write: Write<T>): Write<T> {
  const known = new WeakMap<T, string>();
  return (value) => {
    const before = known.get(value);
    if (before !== undefined) return before;
    const written = write(value);
    known.set(value, written);
    return written;
  };
}
