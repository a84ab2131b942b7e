/** Pure. `Mcp-Param-*`: the headers in which a tool of 2026-07-28 wants some of its arguments repeated (SEP-2243). */
import { isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import type { McpRequest } from "../accept/request.ts";
import { headerValue } from "./edited-request.ts";

/** `path` leads through the objects of the arguments to the value. */
export type ParameterHeader = { readonly header: string; readonly path: readonly string[] };

/** Deeper ones are no header of anybody's. */
const DEPTH_MAX = 8;
const HEADERS_MAX = 32;
/** RFC 9110 section 5.6.2: a token. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const PRIMITIVES = new Set(["string", "integer", "boolean"]);

/** The `x-mcp-header` annotations of a tool's input schema that are reached through `properties` alone. */
export function parameterHeadersOf(inputSchema: unknown): readonly ParameterHeader[] {
  const found: ParameterHeader[] = [];
  collect(inputSchema, [], found);
  const names = found.map(({ header }) => header.toLowerCase());
  // Two arguments under one name: a client drops such a tool, and nobody guesses which is meant.
  return new Set(names).size === names.length && found.length <= HEADERS_MAX ? found : [];
}

function collect(schema: unknown, path: readonly string[], found: ParameterHeader[]): void {
  const properties = isObject(schema) && isObject(schema.properties) ? schema.properties : null;
  if (properties === null || path.length >= DEPTH_MAX) return;
  for (const [name, property] of Object.entries(properties)) {
    if (!isObject(property)) continue;
    const { type, "x-mcp-header": header } = property;
    const here = [...path, name];
    if (typeof header === "string" && TOKEN.test(header) && typeof type === "string" && PRIMITIVES.has(type))
      found.push({ header, path: here });
    collect(property, here, found);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Header names in lower case to values; an argument that is absent or null has none. */
export function valuesOf({ body, argumentsSpan }: McpRequest, headers: readonly ParameterHeader[]): Record<string, string> {
  const values: Record<string, string> = {};
  if (argumentsSpan === null || headers.length === 0) return values;
  const args = body.subarray(argumentsSpan.start, argumentsSpan.end);
  const root = scanJson(args, { treeDepth: DEPTH_MAX });
  if (isScanFault(root)) return values;
  for (const { header, path } of headers) {
    let node: JsonNode | undefined = root;
    for (const name of path) node = node === undefined ? undefined : member(node, name);
    if (node === undefined || node.kind === "null" || node.kind === "object" || node.kind === "array") continue;
    const text = stringValue(args, node) ?? args.toString("utf8", node.start, node.end);
    values[`mcp-param-${header.toLowerCase()}`] = headerValue(text);
  }
  return values;
}
