/** Pure. Which rules can be about a caller: by look-up where a rule writes a name out, tried one by one only where it has patterns. */
import { isPattern } from "./glob.ts";
import type { WhoFile } from "./policy-file.ts";
import type { Facets } from "./who.ts";

type Key = keyof WhoFile & keyof Facets;
/** A rule is found by the first of these that it writes out: what fewest callers share comes first. */
const KEYS: readonly Key[] = ["agent", "subject", "instance", "workflow", "team", "role", "customer", "kind"];

export class WhoIndex<T> {
  readonly #byKey = new Map<Key, Map<string, T[]>>();
  readonly #others: T[] = [];

  add(who: WhoFile | null, entry: T): void {
    const key = KEYS.find((each) => who?.[each] !== undefined && ![who[each]].flat().some((text) => isPattern(text ?? "*")));
    if (key === undefined) {
      this.#others.push(entry);
      return;
    }
    const byValue = this.#byKey.get(key) ?? new Map<string, T[]>();
    this.#byKey.set(key, byValue);
    for (const value of new Set([who?.[key] ?? []].flat())) {
      const entries = byValue.get(value);
      if (entries === undefined) byValue.set(value, [entry]);
      else entries.push(entry);
    }
  }

  /** Each that can match, once; whether it does is for its own `who` to say. A facet that is not known yet can be anything. */
  find(facets: Facets): Set<T> {
    const found = new Set(this.#others);
    for (const [key, byValue] of this.#byKey) {
      const facet = facets[key];
      const lists = facet === undefined ? byValue.values() : [facet ?? []].flat().map((value) => byValue.get(value) ?? []);
      for (const entries of lists) for (const entry of entries) found.add(entry);
    }
    return found;
  }
}
