/** Pure. How a condition reads the arguments of one tool: what the tool's schema does not have, leaves out, or has of another kind. */
import type { ASTNode } from "@marcbachmann/cel-js";
import {
  type ArgumentType,
  itemsOf,
  type Kind,
  kindOf,
  kindsOf,
  type Member,
  memberOf,
  namesOf,
  typeOf,
  valuesOf,
} from "./argument-types.ts";
import { evaluatePlain } from "./condition.ts";
import { ANY, NOTHING_THERE, OF, OPERATORS, ofKind, RESULTS, VARIABLES, type Value, type Variables, wordsOf } from "./expression-value.ts";
import { Presence } from "./presence.ts";

export type ReadingFinding = {
  /** No such argument; it may be left out; of another kind than what it is compared with; it never has such a value. */
  readonly kind: "absent" | "optional" | "mismatch" | "never";
  /** In characters of the expression. */
  readonly offset: number;
  /** `filter.status`, `items[].qty` */
  readonly path: string;
  /** What is so, without naming the tool. */
  readonly text: string;
  /** Names that it could have meant. */
  readonly names: readonly string[];
  /** The condition asks with `has` before it reads. */
  readonly guarded: boolean;
};

/** Where in the expression arguments of this tool are read at all, and where the kind of one that it has, or may have, matters. */
export type ArgumentReading = {
  readonly findings: readonly ReadingFinding[];
  readonly reached: ReadonlySet<number>;
  readonly judged: ReadonlySet<number>;
};

export function readingOf(expression: ASTNode, server: string, tool: string, inputSchema: unknown): ArgumentReading {
  const reader = new Reader(server, tool, typeOf(inputSchema));
  const result = reader.walk(expression, NOTHING_THERE, new Map());
  reader.demand(expression, result, "bool", (kinds) => `is ${kinds}, and a condition gives true or false`);
  return { findings: [...reader.findings.values()], reached: reader.reached, judged: reader.judged };
}

class Reader {
  readonly findings = new Map<string, ReadingFinding>();
  readonly reached = new Set<number>();
  readonly judged = new Set<number>();
  readonly #server: string;
  readonly #tool: string;
  readonly #args: Value;

  constructor(server: string, tool: string, type: ArgumentType) {
    this.#server = server;
    this.#tool = tool;
    this.#args = { kinds: new Set(["map"]), type, path: "" };
  }

  /** `there`: paths that are known to be there wherever this part is evaluated to an end. */
  walk(node: ASTNode, there: ReadonlySet<string>, variables: Variables): Value {
    const next = (part: ASTNode, more = there) => this.walk(part, more, variables);
    switch (node.op) {
      case "value":
        return { ...ofKind(kindOf(node.args)), literal: node.args };
      case "id":
        return node.args === "args" ? this.#args : (variables.get(node.args) ?? VARIABLES.get(node.args) ?? ANY);
      case ".":
        return this.#member(next(node.args[0]), node.args[1], node.end - node.args[1].length, there);
      case "[]":
        return this.#element(next(node.args[0]), node.args[1], next(node.args[1]), there);
      case "list":
        for (const part of node.args) next(part);
        return ofKind("list");
      case "map":
        for (const part of node.args.flat()) next(part);
        return ofKind("map");
      case "!_":
        this.demand(node.args, next(node.args), "bool", (kinds) => `is ${kinds} and cannot be negated with !`);
        return ofKind("bool");
      case "-_":
        this.demand(node.args, next(node.args), "number", (kinds) => `is ${kinds} and has no negative`);
        return ofKind("number");
      case "?:":
        return this.#choose(node.args, there, variables);
      case "call":
        return this.#call(node.args[0], null, node.args[1], there, variables);
      case "rcall":
        return this.#call(node.args[0], node.args[1], node.args[2], there, variables);
      case "&&":
      case "||":
        return this.#connect(node.op, node.args, there, variables);
      case "in":
        return this.#isIn(node.args, there, variables);
      default:
        return this.#binary(node.op, node.args as [ASTNode, ASTNode], there, variables);
    }
  }

  /** Says so where it certainly is of another kind than all of those. */
  demand(node: ASTNode, value: Value, wanted: Kind | readonly Kind[], text: (kinds: string) => string): void {
    const { kinds, path } = value;
    if (path !== null) this.judged.add(node.start);
    if (kinds === null || path === null || [wanted].flat().some((kind) => kinds.has(kind))) return;
    this.#say("mismatch", node.start, path, `${path} ${text(wordsOf(kinds))}`);
  }

  #say(kind: ReadingFinding["kind"], offset: number, path: string, text: string, more: Partial<ReadingFinding> = {}): void {
    const key = kind === "optional" ? `${kind} ${path}` : `${kind} ${offset}`;
    if (!this.findings.has(key)) this.findings.set(key, { kind, offset, path, text, names: [], guarded: false, ...more });
  }

  /** Where one side decides by the tool's or server's name alone, the other is not asked; where one asks for presence, the other may read. */
  #connect(op: "&&" | "||", [a, b]: readonly [ASTNode, ASTNode], there: ReadonlySet<string>, variables: Variables): Value {
    const goesOn = op === "&&";
    const presence = new Presence(variables);
    for (const [side, other] of [
      [a, b],
      [b, a],
    ] as const) {
      if (this.#constant(other) === !goesOn) continue;
      // An error on one side is none where the other decides: the order of the two does not matter.
      const value = this.walk(side, there.union(presence.when(other, goesOn)), variables);
      this.demand(side, value, "bool", (kinds) => `is ${kinds}, and ${op} joins what is true or false`);
    }
    return ofKind("bool");
  }

  #choose([test, yes, no]: readonly [ASTNode, ASTNode, ASTNode], there: ReadonlySet<string>, variables: Variables): Value {
    const decided = this.#constant(test);
    const presence = new Presence(variables);
    this.demand(test, this.walk(test, there, variables), "bool", (kinds) => `is ${kinds}, and ? asks what is true or false`);
    const results = [
      ...(decided === false ? [] : [this.walk(yes, there.union(presence.when(test, true)), variables)]),
      ...(decided === true ? [] : [this.walk(no, there.union(presence.when(test, false)), variables)]),
    ];
    return results.length === 1 ? (results[0] ?? ANY) : ANY;
  }

  /** What a part says that looks at nothing but the names of the tool and its server. */
  #constant(node: ASTNode): unknown {
    return evaluatePlain(node, new Map([["tool", this.#tool] as const, ["server", this.#server] as const]));
  }

  #member(receiver: Value, name: string, offset: number, there: ReadonlySet<string>): Value {
    const { path, type } = receiver;
    if (path === null) return ANY;
    const full = path === "" ? name : `${path}.${name}`;
    this.reached.add(offset);
    const found = this.#find(receiver, name, full, offset, there.has(full));
    if (found === null) return ANY;
    if (found === "unknown" || type === null) return { ...ANY, path: full };
    if (!found.required && !there.has(full)) this.#say("optional", offset, full, `${full} may be left out`);
    return { type: found.type, kinds: kindsOf(found.type), path: full };
  }

  #find({ kinds, type, path }: Value, name: string, full: string, offset: number, guarded: boolean): Member | "unknown" | null {
    this.judged.add(offset);
    if (kinds?.has("map") === false) {
      this.#say("mismatch", offset, full, `${path} is ${wordsOf(kinds)} and has no member ${name}`);
      return null;
    }
    const found = type === null ? "unknown" : memberOf(type, name);
    if (found === "unknown" || type === null) return "unknown";
    if (found !== null) return found;
    const names = namesOf(type).map((each) => full.slice(0, full.length - name.length) + each);
    this.#say("absent", offset, full, `no argument ${full}`, { names, guarded });
    return null;
  }

  #element(receiver: Value, index: ASTNode, at: Value, there: ReadonlySet<string>): Value {
    if (typeof at.literal === "string") return this.#member(receiver, at.literal, index.start, there);
    if (receiver.type === null || receiver.path === null) return ANY;
    if (receiver.kinds?.has("list") !== true) return ANY;
    return this.#itemOf(receiver);
  }

  #itemOf({ type, path }: Value): Value {
    if (type === null || path === null) return ANY;
    const items = itemsOf(type);
    return { type: items, kinds: kindsOf(items), path: `${path}[]` };
  }

  #call(name: string, receiver: ASTNode | null, args: readonly ASTNode[], there: ReadonlySet<string>, variables: Variables): Value {
    const result = RESULTS.get(name) ?? ANY;
    if (name === "has" && args[0]?.op === ".") {
      const [parent, member] = args[0].args;
      this.#asksFor(this.walk(parent, there, variables), member, args[0].end - member.length);
      return result;
    }
    const subject = receiver ?? args[0];
    const on = subject === undefined ? ANY : this.walk(subject, there, variables);
    if (subject !== undefined && OF.texts.has(name)) this.demand(subject, on, "string", (kinds) => `is ${kinds}, and ${name} is for texts`);
    if (subject !== undefined && name === "size")
      this.demand(subject, on, ["string", "list", "map"], (kinds) => `is ${kinds} and has no size`);
    if (receiver !== null && OF.lists.has(name)) {
      this.demand(receiver, on, "list", (kinds) => `is ${kinds}, and ${name} is for lists`);
      return this.#loop(name, on, args, there, variables) ?? result;
    }
    for (const arg of receiver === null ? args.slice(1) : args) this.walk(arg, there, variables);
    return result;
  }

  #loop(name: string, on: Value, [variable, ...bodies]: readonly ASTNode[], there: ReadonlySet<string>, variables: Variables) {
    if (variable?.op !== "id") return null;
    const inside = new Map(variables).set(variable.args, on.path === null ? ANY : this.#itemOf(on));
    for (const body of bodies) {
      const value = this.walk(body, there, inside);
      if (name !== "map") this.demand(body, value, "bool", (kinds) => `is ${kinds}, and ${name} asks what is true or false`);
    }
    return name === "filter" ? on : null;
  }

  /** A question whether it is there: a name that the schema does not have is never there. */
  #asksFor(receiver: Value, name: string, offset: number): void {
    if (receiver.path === null) return;
    const full = receiver.path === "" ? name : `${receiver.path}.${name}`;
    this.reached.add(offset);
    this.#find(receiver, name, full, offset, true);
  }

  #isIn([left, right]: readonly [ASTNode, ASTNode], there: ReadonlySet<string>, variables: Variables): Value {
    const [item, all] = [this.walk(left, there, variables), this.walk(right, there, variables)];
    this.demand(
      right,
      all,
      ["list", "map"],
      (kinds) => `is ${kinds}, and in looks into lists${kinds === "a text" ? "; use contains" : ""}`,
    );
    if (right.op === "list") {
      const members = right.args.map((part) => this.walk(part, there, variables));
      if (members.length > 0 && item.path !== null) this.#compare(left, item, right.args, members, "is never in a list of");
    } else if (typeof item.literal === "string" && all.kinds?.has("map") === true && all.kinds.size === 1) {
      this.#asksFor(all, item.literal, left.start);
    } else if (all.path !== null && all.kinds?.has("list") === true) {
      this.#compare(right, this.#itemOf(all), [left], [item], "never holds");
    }
    return ofKind("bool");
  }

  #binary(op: string, [left, right]: readonly [ASTNode, ASTNode], there: ReadonlySet<string>, variables: Variables): Value {
    const [a, b] = [this.walk(left, there, variables), this.walk(right, there, variables)];
    const [node, value, otherNode, other] = a.path === null ? [right, b, left, a] : [left, a, right, b];
    if (OPERATORS.equal.has(op)) this.#compare(node, value, [otherNode], [other], op === "==" ? "never equals" : "is always other than");
    if (OPERATORS.order.has(op)) this.#order(node, value, other, op);
    if (OPERATORS.arithmetic.has(op))
      this.demand(node, value, ["number", "string", "list", "timestamp"], (kinds) => `is ${kinds} and cannot be used with ${op}`);
    return OPERATORS.equal.has(op) || OPERATORS.order.has(op) ? ofKind("bool") : ANY;
  }

  #compare(node: ASTNode, value: Value, nodes: readonly ASTNode[], others: readonly Value[], never: string): void {
    const { kinds, path, type } = value;
    if (path !== null) this.judged.add(node.start);
    if (kinds === null || path === null) return;
    const possible = others.filter((other) => other.kinds === null || !other.kinds.isDisjointFrom(kinds));
    const onlyNull = others.every(({ literal }) => literal === null);
    if (possible.length === 0 && onlyNull)
      this.#say("never", node.start, path, `${path} is never null; ask with has(args.${path}) whether it is there`);
    else if (possible.length === 0) {
      const found = wordsOf(new Set(others.flatMap((other) => [...(other.kinds ?? [])])));
      const quoted = kinds.has("number") && others.some(({ literal }) => typeof literal === "string" && /^-?\d+$/.test(literal));
      this.#say(
        "mismatch",
        node.start,
        path,
        `${path} is ${wordsOf(kinds)} and ${never} ${found}${quoted ? ": leave out the quotes" : ""}`,
      );
    }
    const values = type === null ? null : valuesOf(type);
    if (values === null) return;
    for (const [index, { literal }] of others.entries()) {
      const odd = typeof literal === "string" && kinds.has("string") && !values.has(literal);
      const at = nodes[index]?.start ?? node.start;
      const known = [...values].map((each) => JSON.stringify(each));
      if (odd) this.#say("never", at, path, `${path} is never ${JSON.stringify(literal)}; there is ${known.slice(0, 10).join(", ")}`);
    }
  }

  #order(node: ASTNode, { kinds, path }: Value, other: Value, op: string): void {
    if (path !== null) this.judged.add(node.start);
    if (kinds === null || path === null) return;
    const ordered = ["number", "string", "bool", "timestamp"] as const;
    if (other.kinds !== null && kinds.isDisjointFrom(other.kinds))
      this.#say("mismatch", node.start, path, `${path} is ${wordsOf(kinds)} and cannot be compared by ${op} with ${wordsOf(other.kinds)}`);
    else if (!ordered.some((kind) => kinds.has(kind)))
      this.#say("mismatch", node.start, path, `${path} is ${wordsOf(kinds)} and cannot be compared by ${op}`);
  }
}
