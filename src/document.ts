/** A YAML file as plain data whose every key and value knows its line; nothing in it can mean more than it shows. */
import { readFileSync, statSync } from "node:fs";
import {
  type AliasEvent,
  boolCoreTag,
  EVENT_ID,
  type Event,
  floatCoreTag,
  getScalarValue,
  intCoreTag,
  type MappingEvent,
  NOT_RESOLVED,
  nullCoreTag,
  parseEvents,
  SCALAR_STYLE,
  type ScalarEvent,
  type SequenceEvent,
  YAMLException,
} from "js-yaml";

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

// A policy of 10,000 rules is about 1 MB; reading one takes about 0.2 s. Larger is a mistake.
const DOCUMENT_BYTES_MAX = 4_194_304;
/** Nothing of ours nests deeper than a dozen levels. */
const DEPTH_MAX = 64;

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
  return compose(file, bytes, text);
}

function compose(file: string, bytes: Buffer, text: string): Document {
  const at = positionsIn(text);
  const problems: Problem[] = [];
  const report = (offset: number, message: string): void => void problems.push({ file, ...at(offset), message });
  let events: Event[];
  try {
    events = parseEvents(text, { maxDepth: DEPTH_MAX });
  } catch (fault) {
    if (!(fault instanceof YAMLException)) throw fault;
    const deep = /maxDepth/.test(fault.reason);
    report(fault.mark?.position ?? 0, deep ? `is nested too deeply: at most ${DEPTH_MAX} levels` : fault.reason);
    return { ...unreadable(file, ""), bytes, problems };
  }
  for (const event of events) findSpecials(event, report);
  // A reader of the file sees no line end there, and takes what follows for the comment before it.
  for (const { index } of text.matchAll(/\r(?!\n)/g)) report(index, "a lone carriage return is not allowed: end lines with \\n or \\r\\n");
  const [second] = events.flatMap((event, index) => (event.type === EVENT_ID.DOCUMENT && index > 0 ? [index] : []));
  if (second !== undefined) report(startOfDocument(events, second, text), "a second document begins here: one file holds one document");
  const isReadable = problems.length === 0;
  const root = treeOf(events, text, report);
  return {
    file,
    bytes,
    data: isReadable ? (root === null ? null : root.value) : undefined,
    problems,
    locate: (path) => at(startOf(find(root, path, "value"))),
    locateKey: (path) => at(startOf(find(root, path, "key"))),
    locateWithin: (path, offset) => at(startWithin(find(root, path, "value"), text, offset)),
  };
}

/** From an offset to its line and column. */
function positionsIn(text: string): (offset: number) => Position {
  const starts = [0];
  for (let i = text.indexOf("\n"); i !== -1; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return (offset) => {
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}

type Report = (offset: number, message: string) => void;

/** Every tag, anchor, alias and directive: each can make a text mean something else than it shows (`when: !args.x` would be an empty text). */
function findSpecials(event: Event, report: Report): void {
  if (event.type === EVENT_ID.POP) return;
  if (event.type === EVENT_ID.DOCUMENT) {
    if (event.directives.length > 0) report(0, "a YAML directive is not allowed: remove the line");
    return;
  }
  if (event.type === EVENT_ID.ALIAS)
    report(event.anchorStart - 1, "a YAML alias is not allowed: put the text in quotes, or write the value out");
  else if (event.anchorStart !== -1)
    report(event.anchorStart - 1, "a YAML anchor is not allowed: put the text in quotes, or write the value out");
  if (event.type !== EVENT_ID.ALIAS && event.tagStart !== -1) report(event.tagStart, "a YAML tag is not allowed: put the text in quotes");
}

/** Where the `---` stands that begins it, or else what follows it. */
function startOfDocument(events: readonly Event[], index: number, text: string): number {
  const next = events[index + 1];
  const start =
    next === undefined || next.type === EVENT_ID.POP || next.type === EVENT_ID.DOCUMENT ? text.length : startOfEvent(next, text);
  const marker = text.lastIndexOf("\n---", start);
  return marker === -1 ? start : marker + 1;
}

/** A value with its place; `key` is that of the entry which holds it, null elsewhere. */
type Placed = {
  readonly start: number;
  readonly key: number | null;
  readonly value: unknown;
  /** Of a map by key, of a list by index. */
  readonly parts: ReadonlyMap<string | number, Placed> | null;
  /** Where the source of a text begins, behind its quote or the line of its block. */
  readonly textStart: number | null;
};

/** Null where the file is empty. What is no plain data is reported and left out. */
function treeOf(events: readonly Event[], text: string, report: Report): Placed | null {
  let next = 1;
  const place = (key: number | null): Placed => {
    const event = events[next++];
    if (event === undefined || event.type === EVENT_ID.POP || event.type === EVENT_ID.DOCUMENT) throw new Error("events out of order");
    const start = startOfEvent(event, text);
    if (event.type === EVENT_ID.SEQUENCE) return { start, key, ...listOf(), textStart: null };
    if (event.type === EVENT_ID.MAPPING) return { start, key, ...mapOf(), textStart: null };
    if (event.type === EVENT_ID.ALIAS) return { start, key, value: null, parts: null, textStart: null };
    return { start: event.valueStart === -1 ? (key ?? 0) : start, key, ...scalarOf(event, text), parts: null };
  };
  const listOf = (): Pick<Placed, "value" | "parts"> => {
    const parts = new Map<number, Placed>();
    while (events[next]?.type !== EVENT_ID.POP) parts.set(parts.size, place(null));
    next += 1;
    return { parts, value: [...parts.values()].map(({ value }) => value) };
  };
  const mapOf = (): Pick<Placed, "value" | "parts"> => {
    const parts = new Map<string, Placed>();
    while (events[next]?.type !== EVENT_ID.POP) {
      const event = events[next];
      const { start } = place(null);
      const name = event?.type === EVENT_ID.SCALAR ? getScalarValue(text, event) : null;
      if (name === null) report(start, "a key is a plain text");
      else if (parts.has(name)) report(start, "this key stands here twice: keep one");
      if (name === "__proto__") report(start, "__proto__ is not allowed as a key");
      if (name === "<<") report(start, "a YAML merge key is not allowed: write the values out");
      const value = place(start);
      if (name !== null && name !== "__proto__") parts.set(name, value);
    }
    next += 1;
    return { parts, value: Object.fromEntries([...parts].map(([name, { value }]) => [name, value])) };
  };
  return events.length === 0 ? null : place(null);
}

/** YAML 1.2, core schema: quotes make a text of anything. */
function scalarOf(event: ScalarEvent, text: string): Pick<Placed, "value" | "textStart"> {
  const written = getScalarValue(text, event);
  const textStart = event.valueStart === -1 ? null : event.valueStart;
  if (event.style !== SCALAR_STYLE.PLAIN) return { value: written, textStart };
  for (const tag of [nullCoreTag, boolCoreTag, intCoreTag, floatCoreTag]) {
    const value: unknown = tag.resolve(written, false, tag.tagName);
    if (value !== NOT_RESOLVED) return { value, textStart: null };
  }
  return { value: written, textStart };
}

/** Where a person would say that it begins: at its quote, or at the sign of a block. */
function startOfEvent(event: ScalarEvent | AliasEvent | SequenceEvent | MappingEvent, text: string): number {
  if (event.type === EVENT_ID.ALIAS) return event.anchorStart - 1;
  if (event.type !== EVENT_ID.SCALAR) return event.start;
  const { style, valueStart } = event;
  if (valueStart === -1 || style === SCALAR_STYLE.PLAIN) return Math.max(0, valueStart);
  if (style === SCALAR_STYLE.SINGLE_QUOTED || style === SCALAR_STYLE.DOUBLE_QUOTED) return valueStart - 1;
  const line = text.lastIndexOf("\n", valueStart - 2) + 1;
  const sign = /[|>][-+0-9]*[ \t]*(#.*)?\r?\n?$/.exec(text.slice(line, valueStart));
  return sign === null ? valueStart : line + sign.index;
}

/** The nearest thing around where there is none. */
function find(root: Placed | null, path: Path, wanted: "key" | "value"): Placed | number | null {
  let node = root;
  for (const [depth, step] of path.entries()) {
    const part: Placed | undefined = node?.parts?.get(typeof step === "number" && !isList(node) ? String(step) : step);
    if (part === undefined) break;
    if (depth === path.length - 1 && wanted === "key" && part.key !== null) return part.key;
    node = part;
  }
  return node;
}

function isList({ value }: Placed): boolean {
  return Array.isArray(value);
}

function startOf(found: Placed | number | null): number {
  return typeof found === "number" ? found : (found?.start ?? 0);
}

function startWithin(found: Placed | number | null, text: string, offset: number): number {
  const { textStart = null, value = null } = typeof found === "number" ? {} : (found ?? {});
  const exact = textStart === null || typeof value !== "string" ? null : sourceOf(value, offset, text, textStart);
  return exact ?? startOf(found);
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
  // Two rules of a schema may find the same fault in the same words.
  const told = new Map(problems.map((problem) => [JSON.stringify([problem.file, problem.line, problem.column, problem.message]), problem]));
  return [...told.values()].toSorted((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column));
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
