/** Pure. From a target to the rules that name it: literal names by look-up, patterns only where their server can match. */
import type { Target } from "../accept/request.ts";
import { type Glob, globOf, isPattern } from "./glob.ts";
import type { TargetPattern } from "./pattern.ts";

/** Maps only: a tool called `__proto__` or `constructor` is a name like any other. */
export class TargetIndex<T> {
  readonly #byServer = new Map<string, Names<T>>();
  readonly #anyServer: { readonly kind: string; readonly server: Glob; readonly names: Names<T> }[] = [];

  add({ kind, server, name }: TargetPattern, entry: T): void {
    if (isPattern(server)) {
      const names = emptyNames<T>();
      this.#anyServer.push({ kind, server: globOf(server), names });
      addName(names, name, entry);
      return;
    }
    const key = `${kind}:${server}`;
    const names = this.#byServer.get(key) ?? emptyNames<T>();
    this.#byServer.set(key, names);
    addName(names, name, entry);
  }

  /** Every entry with a pattern that matches, once. */
  find(server: string, { kind, name }: Target): ReadonlySet<T> {
    const found = new Set<T>();
    const own = this.#byServer.get(`${kind}:${server}`);
    if (own !== undefined) collect(own, name, found);
    for (const any of this.#anyServer) if (any.kind === kind && any.server(server)) collect(any.names, name, found);
    return found;
  }
}

type Names<T> = { readonly literal: Map<string, T[]>; readonly globs: { readonly matches: Glob; readonly entry: T }[] };

const emptyNames = <T>(): Names<T> => ({ literal: new Map(), globs: [] });

function addName<T>(names: Names<T>, name: string, entry: T): void {
  if (isPattern(name)) names.globs.push({ matches: globOf(name), entry });
  else names.literal.set(name, [...(names.literal.get(name) ?? []), entry]);
}

function collect<T>(names: Names<T>, name: string, found: Set<T>): void {
  for (const entry of names.literal.get(name) ?? []) found.add(entry);
  for (const { matches, entry } of names.globs) if (matches(name)) found.add(entry);
}
