/** Pure. How other programs read a JSON body: a lenient parser of its own, and three ways to choose where a name stands twice. */

/** Members in the order of the text, twins included. */
export type Pairs = { readonly pairs: readonly (readonly [string, Read])[] };
export type Read = null | boolean | string | NumberText | readonly Read[] | Pairs;
/** Numbers stay text: what a reader makes of 1e400 or of 2^53 + 1 is its own affair, the same text means the same. */
export type NumberText = { readonly number: string };

export type Reading = {
  readonly method: unknown;
  readonly id: unknown;
  readonly name: unknown;
  readonly uri: unknown;
  readonly arguments: unknown;
};

/** Skips a BOM, replaces broken UTF-8, takes any white space: what forgiving parsers do. Null where even they give up. */
export function lenient(bytes: Uint8Array): Read | null {
  try {
    const text = new TextDecoder("utf-8").decode(bytes);
    const reader = new Reader(text);
    const value = reader.value();
    reader.space();
    return reader.at === text.length ? value : null;
  } catch {
    return null;
  }
}

/** What each kind of reader takes for method, id, name and arguments. */
export function readings(root: Read): Readonly<Record<"lastWins" | "firstWins" | "folded", Reading>> {
  const last = (pairs: Pairs, name: string) => pairs.pairs.findLast(([key]) => key === name)?.[1];
  const first = (pairs: Pairs, name: string) => pairs.pairs.find(([key]) => key === name)?.[1];
  // Go's encoding/json: names of known members match without regard to case, the last one wins.
  const folded = (pairs: Pairs, name: string) => pairs.pairs.findLast(([key]) => fold(key) === name.toLowerCase())?.[1];
  return { lastWins: read(root, last), firstWins: read(root, first), folded: read(root, folded) };
}

type Choose = (pairs: Pairs, name: string) => Read | undefined;

function read(root: Read, choose: Choose): Reading {
  if (!isPairs(root)) return { method: undefined, id: undefined, name: undefined, uri: undefined, arguments: undefined };
  const params = choose(root, "params");
  const inParams = (name: string) => (params !== undefined && isPairs(params) ? choose(params, name) : undefined);
  return {
    method: choose(root, "method"),
    id: choose(root, "id"),
    name: inParams("name"),
    uri: inParams("uri"),
    arguments: plain(inParams("arguments"), choose),
  };
}

/** Arguments as a value: below `params` nobody folds names, but twins are chosen among at every depth. */
function plain(value: Read | undefined, choose: Choose): unknown {
  if (value === undefined || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((each) => plain(each as Read, choose));
  if (!isPairs(value as Read)) return value;
  const pairs = value as Pairs;
  const names = [...new Set(pairs.pairs.map(([name]) => name))].sort();
  const first =
    choose(
      {
        pairs: [
          ["a", "1"],
          ["a", "2"],
        ],
      },
      "a",
    ) === "1";
  return names.map((name) => {
    const found = first ? pairs.pairs.find(([key]) => key === name) : pairs.pairs.findLast(([key]) => key === name);
    return [name, plain(found?.[1], choose)];
  });
}

export function isPairs(value: Read): value is Pairs {
  return typeof value === "object" && value !== null && "pairs" in value;
}

/** Unicode simple folding, as far as it meets ASCII: U+017F is an s, U+212A is a k. */
function fold(name: string): string {
  return name.replaceAll("\u017f", "s").replaceAll("\u212a", "k").toLowerCase();
}

const SPACE = /[\s\0\ufeff]/;

class Reader {
  at = 0;
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }

  space(): void {
    for (;;) {
      if (this.at < this.#text.length && SPACE.test(this.#text[this.at] ?? "")) this.at += 1;
      else if (this.#text.startsWith("/*", this.at)) this.at = this.#after("*/");
      else if (this.#text.startsWith("//", this.at)) this.at = this.#after("\n");
      else return;
    }
  }

  #after(end: string): number {
    const found = this.#text.indexOf(end, this.at + 2);
    if (found < 0) throw new SyntaxError("an open comment");
    return found + end.length;
  }

  value(): Read {
    this.space();
    const char = this.#text[this.at];
    if (char === "{") return this.#object();
    if (char === "[") return this.#array();
    if (char === '"' || char === "'") return this.#string(char);
    const word = /^[-+.\w]+/.exec(this.#text.slice(this.at, this.at + 400))?.[0] ?? "";
    if (word === "") throw new SyntaxError("no value");
    this.at += word.length;
    if (word === "null") return null;
    if (word === "true" || word === "false") return word === "true";
    return { number: word };
  }

  #object(): Pairs {
    const pairs: [string, Read][] = [];
    this.at += 1;
    for (;;) {
      this.space();
      const char = this.#text[this.at];
      if (char === "}") break;
      if (char === ",") this.at += 1;
      else if (char === '"' || char === "'") {
        const name = this.#string(char);
        this.space();
        if (this.#text[this.at] !== ":") throw new SyntaxError("no colon");
        this.at += 1;
        pairs.push([name, this.value()]);
      } else throw new SyntaxError("no member");
    }
    this.at += 1;
    return { pairs };
  }

  #array(): Read[] {
    const elements: Read[] = [];
    this.at += 1;
    for (;;) {
      this.space();
      const char = this.#text[this.at];
      if (char === undefined) throw new SyntaxError("an open array");
      if (char === "]") break;
      if (char === ",") this.at += 1;
      else elements.push(this.value());
    }
    this.at += 1;
    return elements;
  }

  #string(quote: string): string {
    let text = "";
    this.at += 1;
    for (;;) {
      const char = this.#text[this.at];
      if (char === undefined) throw new SyntaxError("an open string");
      this.at += 1;
      if (char === quote) return text;
      text += char === "\\" ? this.#escape() : char;
    }
  }

  #escape(): string {
    const char = this.#text[this.at] ?? "";
    this.at += 1;
    if (char !== "u") return ({ n: "\n", t: "\t", r: "\r", b: "\b", f: "\f" } as Record<string, string>)[char] ?? char;
    const hex = this.#text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw new SyntaxError("a broken escape");
    this.at += 4;
    return String.fromCharCode(Number.parseInt(hex, 16));
  }
}
