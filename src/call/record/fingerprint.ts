/** Pure. What makes two requests the same call: method, server, target and arguments, however the arguments are written down. */
import { isScanFault, member, scanJson } from "../../json.ts";
import type { McpRequest } from "../accept/request.ts";

/** Not the id, not `_meta`, not what answers a server's question: those differ between a call and its retry. */
export function fingerprintText(request: McpRequest): string {
  const { method, server, target, argumentsSpan, body } = request;
  const written = argumentsSpan === null ? "{}" : body.toString("utf8", argumentsSpan.start, argumentsSpan.end);
  const compared = [canonicalArguments(written), ...(method === "completion/complete" ? completed(body) : [])];
  return JSON.stringify([method, server, target?.kind ?? null, target?.name ?? null, ...compared]);
}

/** A completion has no arguments: what is to be completed, and beside what. */
function completed(body: Buffer): string[] {
  const root = scanJson(body, { treeDepth: 2 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  return ["argument", "context"].map((name) => {
    const node = params === undefined ? undefined : member(params, name);
    return node === undefined ? "" : canonicalArguments(body.toString("utf8", node.start, node.end));
  });
}

/** A number as it is compared: no text that a caller writes is one. */
class Numeral {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | boolean | null | Numeral | readonly Value[] | { readonly [name: string]: Value };
/** ECMAScript proposal json-parse-with-source, in V8 since 11.4. */
type Reviver = (key: string, part: unknown, context: { readonly source?: string }) => unknown;
const parseJson = JSON.parse as (text: string, reviver: Reviver) => Value;

/** RFC 8785, but for whole numbers, which keep every digit: 9007199254740993 and 9007199254740992 are two calls. */
export function canonicalArguments(text: string): string {
  return textOf(parseJson(text, (_key, part, { source }) => (typeof part === "number" ? new Numeral(numeralOf(source ?? "")) : part)));
}

/** Beyond this many digits a whole number is compared by its text: making an integer of it would take long. */
const DIGITS_MAX = 40;

function numeralOf(source: string): string {
  if (/^-?[0-9]+$/.test(source)) return source.length > DIGITS_MAX ? source : BigInt(source).toString();
  const value = Number(source);
  return Number.isFinite(value) ? String(value) : source;
}

function textOf(value: Value): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (value instanceof Numeral) return value.text;
  if (isList(value)) return `[${value.map(textOf).join(",")}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, part]) => `${JSON.stringify(name)}:${textOf(part)}`).join(",")}}`;
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}
