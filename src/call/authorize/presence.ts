/** Pure. What a part of a condition proves to be there when it is true, or false: `has(args.a)`, `"a" in args`. */
import type { ASTNode } from "@marcbachmann/cel-js";
import type { Variables } from "./expression-value.ts";

const NOTHING: ReadonlySet<string> = new Set();

export class Presence {
  readonly #variables: Variables;

  constructor(variables: Variables) {
    this.#variables = variables;
  }

  when(node: ASTNode, isTrue: boolean): ReadonlySet<string> {
    if (node.op === "!_") return this.when(node.args, !isTrue);
    if (node.op === "&&" || node.op === "||") {
      const [a, b] = [this.when(node.args[0], isTrue), this.when(node.args[1], isTrue)];
      return (node.op === "&&") === isTrue ? a.union(b) : a.intersection(b);
    }
    if (!isTrue) return NOTHING;
    if (node.op === "call" && node.args[0] === "has" && node.args[1][0] !== undefined) return withParents(this.#pathOf(node.args[1][0]));
    if (node.op !== "in") return NOTHING;
    const [name, map] = node.args;
    const path = this.#pathOf(map);
    return path === null || name.op !== "value" || typeof name.args !== "string" ? NOTHING : withParents(joined(path, name.args));
  }

  /** Null: it is no argument. */
  #pathOf(node: ASTNode): string | null {
    if (node.op === "id") return node.args === "args" ? "" : (this.#variables.get(node.args)?.path ?? null);
    if (node.op === ".") return joined(this.#pathOf(node.args[0]), node.args[1]);
    if (node.op !== "[]") return null;
    const [map, name] = node.args;
    return name.op === "value" && typeof name.args === "string" ? joined(this.#pathOf(map), name.args) : null;
  }
}

function joined(path: string | null, name: string): string | null {
  if (path === null) return null;
  return path === "" ? name : `${path}.${name}`;
}

function withParents(path: string | null): ReadonlySet<string> {
  const found = new Set<string>();
  for (let at = path; at !== null && at !== ""; at = at.includes(".") ? at.slice(0, at.lastIndexOf(".")) : null) found.add(at);
  return found;
}
