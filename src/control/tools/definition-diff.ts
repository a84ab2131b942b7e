/** Pure. What differs between two definitions of a tool: by path, the old value and the new one. */

/** Absent `was`: it has been added. Absent `is`: it has been taken away. Values as JSON holds them. */
export type Difference = { readonly path: string; readonly was?: unknown; readonly is?: unknown };

/** Beyond them the whole definition is the shorter reading. */
const DIFFERENCES_MAX = 500;
/** Characters of a record's list of paths. */
const PATHS_CHARACTERS_MAX = 500;

/** Of two texts of JSON. `was` null: the tool is new, and all of it is added. */
export function differencesOf(was: string | null, is: string): readonly Difference[] {
  const found: Difference[] = [];
  compare("", was === null ? {} : JSON.parse(was), JSON.parse(is), found);
  return found.slice(0, DIFFERENCES_MAX);
}

/** Only where they differ, for a record. */
export function pathsOf(was: string, is: string): string {
  const text = differencesOf(was, is)
    .map(({ path }) => path)
    .join(", ");
  return text.length <= PATHS_CHARACTERS_MAX ? text : `${text.slice(0, PATHS_CHARACTERS_MAX)}...`;
}

function compare(path: string, was: unknown, is: unknown, found: Difference[]): void {
  if (JSON.stringify(was) === JSON.stringify(is)) return;
  if (!isObject(was) || !isObject(is)) return void found.push({ path, was, is });
  for (const name of new Set([...Object.keys(was), ...Object.keys(is)])) {
    const at = PLAIN.test(name) ? `${path}${path === "" ? "" : "."}${name}` : `${path}[${JSON.stringify(name)}]`;
    if (!Object.hasOwn(was, name)) found.push({ path: at, is: is[name] });
    else if (!Object.hasOwn(is, name)) found.push({ path: at, was: was[name] });
    else compare(at, was[name], is[name], found);
  }
}

const PLAIN = /^[A-Za-z0-9_$-]+$/;

/** A list is shown whole: what moved within one is seldom read by its numbers. */
function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
