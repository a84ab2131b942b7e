/** Pure. Strict JSON: one meaning for every reader, or a fault. Nodes know where they stand, so bytes can be spliced instead of written anew. */
import { isUtf8 } from "node:buffer";

export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** `start` and `end` are byte offsets, half-open. Members and elements are built down to `treeDepth` only; below they are validated. */
export type JsonNode = {
  readonly kind: JsonKind;
  readonly start: number;
  readonly end: number;
  readonly members: readonly JsonMember[];
  readonly elements: readonly JsonNode[];
};
export type JsonMember = { readonly name: string; readonly start: number; readonly value: JsonNode };
export type ScanFault = { readonly fault: string; readonly at: number };

export type ScanLimits = { readonly treeDepth: number; readonly depthMax?: number; readonly keysMax?: number };

/** Nesting that real schemas never reach; JSON.stringify of depth 10,000 throws. */
export const DEPTH_MAX = 64;
export const KEYS_MAX = 10_000;

/** Refuses what two parsers could read differently: RFC 8259 loosely, RFC 7493 (I-JSON) strictly. */
export function scanJson(bytes: Buffer, limits: ScanLimits): JsonNode | ScanFault {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return { fault: "a byte order mark", at: 0 };
  if (!isUtf8(bytes)) return { fault: "invalid UTF-8", at: 0 };
  const scanner = new Scanner(bytes, limits);
  try {
    const node = scanner.value(0, 0);
    const end = scanner.space(node.end);
    if (end < bytes.length) return { fault: "bytes after the value", at: end };
    return node;
  } catch (thrown) {
    // Thrown inside one scan only: unwinding sixty levels by return values would cost every valid message.
    if (thrown instanceof Fault) return { fault: thrown.message, at: thrown.at };
    throw thrown;
  }
}

export function isScanFault(result: JsonNode | ScanFault): result is ScanFault {
  return "fault" in result;
}

export function member(node: JsonNode, name: string): JsonNode | undefined {
  for (const each of node.members) if (each.name === name) return each.value;
  return undefined;
}

/** The decoded text of a string node; undefined for any other kind. */
export function stringValue(bytes: Buffer, node: JsonNode | undefined): string | undefined {
  return node?.kind === "string" ? decodeString(bytes, node.start, node.end) : undefined;
}

export type Edit = { readonly start: number; readonly end: number; readonly replacement: Uint8Array };

/** Replaces byte ranges; edits are in order and do not overlap. Everything else stays as it was received. */
export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const { start, end, replacement } of edits) {
    pieces.push(bytes.subarray(from, start), replacement);
    from = end;
  }
  pieces.push(bytes.subarray(from));
  return Buffer.concat(pieces);
}

/** Case folding as lenient parsers do it: `ſ` becomes `s`, the Kelvin sign `k`. A name that only folds onto a known one is a trick. */
export function foldsOnto(name: string, known: ReadonlySet<string>): boolean {
  return !known.has(name) && known.has(name.toUpperCase().toLowerCase());
}

class Fault extends Error {
  readonly at: number;
  constructor(what: string, at: number) {
    super(what);
    this.at = at;
  }
}

const NONE: readonly never[] = Object.freeze([]);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

class Scanner {
  readonly #bytes: Buffer;
  readonly #treeDepth: number;
  readonly #depthMax: number;
  readonly #keysMax: number;
  #keys = 0;

  constructor(bytes: Buffer, limits: ScanLimits) {
    this.#bytes = bytes;
    this.#treeDepth = limits.treeDepth;
    this.#depthMax = limits.depthMax ?? DEPTH_MAX;
    this.#keysMax = limits.keysMax ?? KEYS_MAX;
  }

  space(at: number): number {
    const bytes = this.#bytes;
    let i = at;
    for (let c = bytes[i]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = bytes[i]) i++;
    return i;
  }

  value(from: number, depth: number): JsonNode {
    const at = this.space(from);
    switch (this.#bytes[at]) {
      case 0x7b:
        return this.#object(at, depth + 1);
      case 0x5b:
        return this.#array(at, depth + 1);
      case QUOTE:
        return leaf("string", at, this.#string(at));
      case 0x74:
        return leaf("boolean", at, this.#word(at, "true"));
      case 0x66:
        return leaf("boolean", at, this.#word(at, "false"));
      case 0x6e:
        return leaf("null", at, this.#word(at, "null"));
      default:
        return leaf("number", at, this.#number(at));
    }
  }

  #object(start: number, depth: number): JsonNode {
    if (depth > this.#depthMax) throw new Fault(`more than ${this.#depthMax} levels`, start);
    const bytes = this.#bytes;
    const members: JsonMember[] = [];
    const names = new Set<string>();
    let at = this.space(start + 1);
    if (bytes[at] === 0x7d) return { kind: "object", start, end: at + 1, members: NONE, elements: NONE };
    for (;;) {
      if (bytes[at] !== QUOTE) throw new Fault("a member name is expected", at);
      const nameEnd = this.#string(at);
      const name = decodeString(bytes, at, nameEnd);
      if (names.has(name)) throw new Fault("a member stands twice", at);
      if (name.includes("\u0000")) throw new Fault("NUL in a member name", at);
      names.add(name);
      if (++this.#keys > this.#keysMax) throw new Fault(`more than ${this.#keysMax} members`, at);
      const colon = this.space(nameEnd);
      if (bytes[colon] !== 0x3a) throw new Fault("a colon is expected", colon);
      const value = this.value(colon + 1, depth);
      if (depth <= this.#treeDepth) members.push({ name, start: at, value });
      at = this.space(value.end);
      if (bytes[at] === 0x7d) return { kind: "object", start, end: at + 1, members, elements: NONE };
      if (bytes[at] !== 0x2c) throw new Fault("a comma or the end of the object is expected", at);
      at = this.space(at + 1);
    }
  }

  #array(start: number, depth: number): JsonNode {
    if (depth > this.#depthMax) throw new Fault(`more than ${this.#depthMax} levels`, start);
    const bytes = this.#bytes;
    const elements: JsonNode[] = [];
    let at = this.space(start + 1);
    if (bytes[at] === 0x5d) return { kind: "array", start, end: at + 1, members: NONE, elements: NONE };
    for (;;) {
      const value = this.value(at, depth);
      if (depth <= this.#treeDepth) elements.push(value);
      at = this.space(value.end);
      if (bytes[at] === 0x5d) return { kind: "array", start, end: at + 1, members: NONE, elements };
      if (bytes[at] !== 0x2c) throw new Fault("a comma or the end of the array is expected", at);
      at += 1;
    }
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
      const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : (c | 0x20) >= 0x61 && (c | 0x20) <= 0x66 ? (c | 0x20) - 0x57 : -1;
      if (digit < 0) throw new Fault("a \\u escape without four hex digits", at);
      value = value * 16 + digit;
    }
    return value;
  }

  #word(at: number, word: string): number {
    const end = at + word.length;
    if (this.#bytes.toString("latin1", at, Math.min(end, this.#bytes.length)) !== word) throw new Fault("not a JSON value", at);
    return end;
  }

  #number(at: number): number {
    let end = at;
    for (let c = this.#bytes[end]; c !== undefined && NUMBER_BYTES.has(c); c = this.#bytes[end]) end++;
    // Longer ones are not numbers anybody sends, and each costs a regular expression over its length.
    if (end - at > 400) throw new Fault("a number of over 400 characters", at);
    const text = this.#bytes.toString("latin1", at, end);
    if (!NUMBER.test(text)) throw new Fault("not a JSON value", at);
    if (!Number.isFinite(Number(text))) throw new Fault("a number out of range", at);
    return end;
  }
}

const SIMPLE_ESCAPES = new Set([...'"\\/bfnrt'].map((c) => c.charCodeAt(0)));
const NUMBER_BYTES = new Set([..."+-.0123456789eE"].map((c) => c.charCodeAt(0)));
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

function leaf(kind: JsonKind, start: number, end: number): JsonNode {
  return { kind, start, end, members: NONE, elements: NONE };
}

/** `start` and `end` include the quotes; the string has been scanned. */
function decodeString(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start + 1, end - 1);
  return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
}
