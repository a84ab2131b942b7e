/** Pure. One pass over bytes that have to be JSON with a single meaning; what it throws, `scanJson` turns into a fault. */
import type { JsonKind, JsonMember, JsonNode, ScanLimits } from "./json.ts";
import { MemberNames } from "./json-names.ts";

/** Nesting that real schemas never reach; JSON.stringify of depth 10,000 throws. */
export const DEPTH_MAX = 64;
/** A request of 4 MiB could hold a million members, and each costs a comparison. */
export const KEYS_MAX = 10_000;
/** Longer ones are not numbers anybody sends, and each costs a conversion over its length. */
const NUMBER_BYTES_MAX = 400;
/** Fewer digits than these stay below 1.8e308 as long as there is no exponent. */
const SAFE_DIGITS = 300;

/** Thrown inside one scan only: unwinding sixty levels by return values would cost every valid message. */
export class Fault extends Error {
  readonly at: number;
  constructor(what: string, at: number) {
    super(what);
    this.at = at;
  }
}

const NONE: readonly never[] = Object.freeze([]);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;

/** 100,000 elements in a request take 5 ms; 4 MiB of them took 80. */
const VALUES_PER_KEY = 10;

/** Values return where they end. Nodes are made only where a tree was asked for, and left in `#made`. */
export class Scanner {
  readonly #bytes: Buffer;
  readonly #treeDepth: number;
  readonly #depthMax: number;
  readonly #keysMax: number;
  readonly #anyValue: boolean;
  #keys = 0;
  #values = 0;
  #made: JsonNode = { kind: "null", start: 0, end: 0, members: NONE, elements: NONE };

  constructor(bytes: Buffer, { treeDepth, depthMax = DEPTH_MAX, keysMax = KEYS_MAX, anyValue = false }: ScanLimits) {
    this.#bytes = bytes;
    this.#treeDepth = treeDepth;
    this.#depthMax = depthMax;
    this.#keysMax = keysMax;
    this.#anyValue = anyValue;
  }

  document(): JsonNode {
    const end = this.#space(this.#value(0, 0, true));
    if (end < this.#bytes.length) throw new Fault("bytes after the value", end);
    return this.#made;
  }

  #space(at: number): number {
    const bytes = this.#bytes;
    let i = at;
    for (let c = bytes[i]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = bytes[i]) i++;
    return i;
  }

  #value(from: number, depth: number, wanted: boolean): number {
    const at = this.#space(from);
    switch (this.#bytes[at]) {
      case 0x7b:
        return this.#object(at, depth + 1, wanted);
      case 0x5b:
        return this.#array(at, depth + 1, wanted);
      case QUOTE:
        return this.#leaf("string", at, this.#string(at), wanted);
      case 0x74:
        return this.#leaf("boolean", at, this.#word(at, TRUE), wanted);
      case 0x66:
        return this.#leaf("boolean", at, this.#word(at, FALSE), wanted);
      case 0x6e:
        return this.#leaf("null", at, this.#word(at, NULL), wanted);
      default:
        return this.#leaf("number", at, this.#number(at), wanted);
    }
  }

  #leaf(kind: JsonKind, start: number, end: number, wanted: boolean): number {
    if (wanted) this.#made = { kind, start, end, members: NONE, elements: NONE };
    return end;
  }

  #object(start: number, depth: number, wanted: boolean): number {
    if (depth > this.#depthMax) throw new Fault(`more than ${this.#depthMax} levels`, start);
    const bytes = this.#bytes;
    const members: JsonMember[] | null = depth <= this.#treeDepth ? [] : null;
    const names = new MemberNames(bytes);
    let at = this.#space(start + 1);
    for (let first = true; bytes[at] !== 0x7d || !first; first = false) {
      if (bytes[at] !== QUOTE) throw new Fault("a member name is expected", at);
      const nameEnd = this.#string(at);
      if (++this.#keys > this.#keysMax) throw new Fault(`more than ${this.#keysMax} members`, at);
      const wrong = names.add(at + 1, nameEnd - 1);
      if (wrong !== null) throw new Fault(wrong, at);
      const colon = this.#space(nameEnd);
      if (bytes[colon] !== 0x3a) throw new Fault("a colon is expected", colon);
      const end = this.#value(colon + 1, depth, members !== null);
      if (members !== null) members.push({ name: decodeString(bytes, at, nameEnd), start: at, value: this.#made });
      at = this.#space(end);
      if (bytes[at] === 0x7d) break;
      if (bytes[at] !== COMMA) throw new Fault("a comma or the end of the object is expected", at);
      at = this.#space(at + 1);
    }
    if (wanted) this.#made = { kind: "object", start, end: at + 1, members: members ?? NONE, elements: NONE };
    return at + 1;
  }

  #array(start: number, depth: number, wanted: boolean): number {
    if (depth > this.#depthMax) throw new Fault(`more than ${this.#depthMax} levels`, start);
    const bytes = this.#bytes;
    const elements: JsonNode[] | null = depth <= this.#treeDepth ? [] : null;
    let at = this.#space(start + 1);
    for (let first = true; bytes[at] !== 0x5d || !first; first = false) {
      const end = this.#value(at, depth, elements !== null);
      if (++this.#values > this.#keysMax * VALUES_PER_KEY) throw new Fault(`more than ${this.#keysMax * VALUES_PER_KEY} elements`, at);
      // Elements that become nodes cost memory; the others are read and forgotten.
      if (elements !== null && elements.push(this.#made) + this.#keys > this.#keysMax)
        throw new Fault(`more than ${this.#keysMax} elements`, at);
      at = this.#space(end);
      if (bytes[at] === 0x5d) break;
      if (bytes[at] !== COMMA) throw new Fault("a comma or the end of the array is expected", at);
      at += 1;
    }
    if (wanted) this.#made = { kind: "array", start, end: at + 1, members: NONE, elements: elements ?? NONE };
    return at + 1;
  }

  /** From the opening quote to just behind the closing one. */
  #string(start: number): number {
    const bytes = this.#bytes;
    for (let i = start + 1; i < bytes.length; ) {
      const c = bytes[i] ?? 0;
      if (c === QUOTE) return i + 1;
      if (c < 0x20) throw new Fault("a control character in a string", i);
      i = c === BACKSLASH ? this.#escape(i) : i + 1;
    }
    throw new Fault("a string without an end", start);
  }

  #escape(at: number): number {
    const c = this.#bytes[at + 1] ?? 0;
    if (c !== 0x75) {
      if (!SIMPLE_ESCAPES.has(c)) throw new Fault("an unknown escape", at);
      return at + 2;
    }
    const unit = this.#hex4(at + 2);
    if (this.#anyValue) return at + 6;
    if (unit >= 0xdc00 && unit <= 0xdfff) throw new Fault("a lone surrogate", at);
    if (unit < 0xd800 || unit > 0xdbff) return at + 6;
    const low = this.#bytes[at + 6] === BACKSLASH && this.#bytes[at + 7] === 0x75 ? this.#hex4(at + 8) : 0;
    if (low < 0xdc00 || low > 0xdfff) throw new Fault("a lone surrogate", at);
    return at + 12;
  }

  #hex4(at: number): number {
    let value = 0;
    for (let i = at; i < at + 4; i++) {
      const c = this.#bytes[i] ?? 0;
      const digit = isDigit(c) ? c - ZERO : (c | 0x20) >= 0x61 && (c | 0x20) <= 0x66 ? (c | 0x20) - 0x57 : -1;
      if (digit < 0) throw new Fault("a \\u escape without four hex digits", at);
      value = value * 16 + digit;
    }
    return value;
  }

  #word(at: number, word: Buffer): number {
    for (let i = 0; i < word.length; i++) if (this.#bytes[at + i] !== word[i]) throw new Fault("not a JSON value", at);
    return at + word.length;
  }

  #number(start: number): number {
    const bytes = this.#bytes;
    const first = bytes[start] === MINUS ? start + 1 : start;
    let end = bytes[first] === ZERO ? first + 1 : this.#digits(first);
    if (bytes[end] === 0x2e) end = this.#digits(end + 1);
    const exponent = bytes[end] === 0x65 || bytes[end] === 0x45;
    if (exponent) end = this.#digits(bytes[end + 1] === 0x2b || bytes[end + 1] === MINUS ? end + 2 : end + 1);
    if (this.#anyValue) return end;
    if (end - start > NUMBER_BYTES_MAX) throw new Fault(`a number of over ${NUMBER_BYTES_MAX} characters`, start);
    if ((exponent || end - start > SAFE_DIGITS) && !Number.isFinite(Number(bytes.toString("latin1", start, end))))
      throw new Fault("a number out of range", start);
    return end;
  }

  /** At least one digit, as many as there are. */
  #digits(start: number): number {
    let end = start;
    while (isDigit(this.#bytes[end])) end++;
    if (end === start) throw new Fault("not a JSON value", start);
    return end;
  }
}

const TRUE = Buffer.from("true");
const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");
const SIMPLE_ESCAPES = new Set([...'"\\/bfnrt'].map((c) => c.charCodeAt(0)));

function isDigit(c: number | undefined): boolean {
  return c !== undefined && c >= ZERO && c <= 0x39;
}

/** `start` and `end` include the quotes; the string has been scanned. */
export function decodeString(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start + 1, end - 1);
  return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
}
