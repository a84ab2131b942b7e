/** A YAML file as plain data whose every key and value knows its line; nothing in it can mean more than it shows. */
import { readFileSync, statSync } from "node:fs";
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, type ParsedNode, Parser, parseDocument as parseYaml, Scalar } from "yaml";

/** One thing to mend, where it stands. Lines and columns count from 1; a file that cannot be read has 1:1. */
export type Problem = { readonly file: string; readonly line: number; readonly column: number; readonly message: string };

export type Path = readonly (string | number)[];
export type Position = { readonly line: number; readonly column: number };

/** A file with problems has data only where it can still be read, to find more problems in it and for nothing else. */
export type Document = {
  readonly file: string;
  readonly bytes: Buffer;
  readonly data: unknown;
  readonly problems: readonly Problem[];
  /** Where the value stands; the nearest thing around it where there is none. */
  locate(path: Path): Position;
  /** Where the last key of the path stands. */
  locateKey(path: Path): Position;
  /** Where a character of a text stands; the text's start where it is written with escapes other than of quotes. */
  locateWithin(path: Path, offset: number): Position;
};

// A policy of 10,000 rules is about 1 MB; parsing one takes about a second. Larger is a mistake.
const DOCUMENT_BYTES_MAX = 4_194_304;

/** `regular`: a pipe in a folder that is read as a whole would be waited for, for ever. */
export function readDocument(file: string, form: "any" | "regular" = "any"): Document {
  let bytes: Buffer;
  try {
    const stat = statSync(file);
    if (form === "regular" && !stat.isFile() && !stat.isDirectory()) return unreadable(file, "is not a regular file");
    bytes = readFileSync(file);
  } catch (fault) {
    return unreadable(file, `cannot be read: ${codeOf(fault)}${inWords(fault)}`);
  }
  return parseDocument(file, bytes);
}

export function parseDocument(file: string, bytes: Buffer): Document {
  if (bytes.length > DOCUMENT_BYTES_MAX) return unreadable(file, `has ${bytes.length} bytes; at most ${DOCUMENT_BYTES_MAX} are read`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return unreadable(file, "is not UTF-8");
  }
  try {
    return compose(file, bytes, text);
  } catch (fault) {
    if (fault instanceof RangeError) return unreadable(file, "is nested too deeply");
    throw fault;
  }
}

function compose(file: string, bytes: Buffer, text: string): Document {
  const lines = new LineCounter();
  const problems: Problem[] = [];
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const report = (offset: number, message: string): void => {
    const position = at(offset);
    if (!problems.some((known) => known.line === position.line && known.column === position.column)) {
      problems.push({ file, ...position, message });
    }
  };
  for (const token of new Parser(lines.addNewLine).parse(text)) findSpecials(token, report);
  // The parser throws without a position on some aliases; what was found above is then enough.
  if (problems.length > 0) return { ...unreadable(file, ""), bytes, problems };
  const tree = parseYaml(text, { version: "1.2", merge: false, stringKeys: true, prettyErrors: false });
  for (const fault of [...tree.errors, ...tree.warnings]) report(fault.pos[0], MESSAGES.get(fault.code) ?? lowered(fault.message));
  const readable = tree.errors.every((fault) => fault.code === "DUPLICATE_KEY");
  findForbiddenKeys(tree.contents, report);
  const find = (path: Path, wanted: "key" | "value"): Node | null => nodeAt(tree.contents, path, wanted);
  return {
    file,
    bytes,
    data: readable ? tree.toJS() : undefined,
    problems,
    locate: (path) => at(startOf(find(path, "value"))),
    locateKey: (path) => at(startOf(find(path, "key"))),
    locateWithin: (path, offset) => at(startWithin(find(path, "value"), text, offset)),
  };
}

const MESSAGES = new Map<string, string>([
  ["DUPLICATE_KEY", "this key stands here twice: keep one"],
  ["MULTIPLE_DOCS", "a second document begins here: one file holds one document"],
  ["NON_STRING_KEY", "a key is a plain text"],
]);

const lowered = (message: string): string => message.charAt(0).toLowerCase() + message.slice(1);

const SPECIALS = new Map([
  ["tag", "a YAML tag is not allowed: put the text in quotes"],
  ["anchor", "a YAML anchor is not allowed: put the text in quotes, or write the value out"],
  ["alias", "a YAML alias is not allowed: put the text in quotes, or write the value out"],
  ["directive", "a YAML directive is not allowed: remove the line"],
]);

/** Every tag, anchor, alias and directive of the source, before any of them can act (`when: !args.x` would be an empty text). */
function findSpecials(token: unknown, report: (offset: number, message: string) => void): void {
  if (typeof token !== "object" || token === null) return;
  if ("type" in token && "offset" in token && typeof token.type === "string" && typeof token.offset === "number") {
    const message = SPECIALS.get(token.type);
    if (message !== undefined) report(token.offset, message);
  }
  for (const part of Object.values(token)) findSpecials(part, report);
}

function findForbiddenKeys(node: unknown, report: (offset: number, message: string) => void): void {
  if (isMap(node)) {
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? pair.key.value : null;
      if (key === "__proto__") report(startOf(pair.key as Node), "__proto__ is not allowed as a key");
      if (key === "<<") report(startOf(pair.key as Node), "a YAML merge key is not allowed: write the values out");
      findForbiddenKeys(pair.value, report);
    }
  }
  if (isSeq(node)) for (const item of node.items) findForbiddenKeys(item, report);
}

function nodeAt(root: ParsedNode | null, path: Path, wanted: "key" | "value"): Node | null {
  let node: unknown = root;
  for (const [depth, step] of path.entries()) {
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === String(step));
      if (pair === undefined) break;
      const empty = pair.value === null || (isScalar(pair.value) && pair.value.range?.[0] === pair.value.range?.[1]);
      if (last && (wanted === "key" || empty)) return pair.key as Node;
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number" && node.items[step] !== undefined) {
      node = node.items[step];
    } else break;
  }
  return node as Node | null;
}

function startOf(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}

function startWithin(node: Node | null, text: string, offset: number): number {
  const start = startOf(node);
  if (!isScalar(node) || typeof node.value !== "string") return start;
  const isBlock = node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL;
  const first = isBlock ? text.indexOf("\n", start) + 1 : node.type === Scalar.PLAIN ? start : start + 1;
  return sourceOf(node.value, offset, text, first) ?? start;
}

/** Where a character of a value stands in the text that it was read from: white space may differ, an escaped quote takes two. */
function sourceOf(value: string, offset: number, text: string, first: number): number | null {
  let at = first;
  for (let i = 0; i <= offset; i++) {
    const wanted = value[i];
    if (wanted === undefined) return i === offset ? at : null;
    if (/\s/.test(wanted)) continue;
    while (/\s/.test(text[at] ?? "")) at += 1;
    if (text[at + 1] === wanted && (text[at] === "\\" || (wanted === "'" && text[at] === "'"))) at += 1;
    if (text[at] !== wanted) return null;
    if (i === offset) return at;
    at += 1;
  }
  return at;
}

function unreadable(file: string, message: string): Document {
  const start = { line: 1, column: 1 };
  return {
    file,
    bytes: Buffer.alloc(0),
    data: undefined,
    problems: [{ file, ...start, message }],
    locate: () => start,
    locateKey: () => start,
    locateWithin: () => start,
  };
}

/** By file, line and column, the order in which somebody mends them. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  return problems.toSorted((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column));
}

/** The system's own word (ENOENT, EACCES): its message would repeat the path. */
export function codeOf(fault: unknown): string {
  return fault instanceof Error && "code" in fault && typeof fault.code === "string" ? fault.code : "unknown";
}

const CODES = new Map([
  ["EISDIR", ": it is a folder"],
  ["ENOTDIR", ": it is not a folder"],
  ["ELOOP", ": its links lead round in a circle"],
  ["EACCES", ": it belongs to somebody else"],
]);

export function inWords(fault: unknown): string {
  return CODES.get(codeOf(fault)) ?? "";
}
