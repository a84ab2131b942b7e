/** Pure. A list with only what the agent may use: elements are cut out by their bytes, all else stays as received. */
import { type Edit, type JsonNode, member, splice, stringValue } from "../../json.ts";
import type { Era, Listed } from "../accept/request.ts";
import type { IsVisible } from "./upstream.ts";

export type Shape = { readonly list: string; readonly kind: Listed["kind"]; readonly key: string };

/** By list method: the member of the result, what its elements are, and which of their members a policy names. */
export const SHAPES: ReadonlyMap<string, Shape> = new Map([
  ["tools/list", { list: "tools", kind: "tool", key: "name" }],
  ["prompts/list", { list: "prompts", kind: "prompt", key: "name" }],
  ["resources/list", { list: "resources", kind: "resource", key: "uri" }],
  ["resources/templates/list", { list: "resourceTemplates", kind: "resource", key: "uriTemplate" }],
  ["tasks/list", { list: "tasks", kind: "task", key: "taskId" }],
]);

const TOOL_NAME = /^[A-Za-z0-9_./-]{1,128}$/;

/** The tool names that MCP allows; others could not be told apart in a policy. */
export function isToolName(name: string): boolean {
  return TOOL_NAME.test(name);
}

/** `result` is the result node of a message that passed the strict scan. Null: not the list that was asked for. */
export function filterList(bytes: Buffer, result: JsonNode, method: string, era: Era, visible: IsVisible): Buffer | null {
  const shape = SHAPES.get(method);
  const list = shape === undefined ? undefined : member(result, shape.list);
  if (shape === undefined || list === undefined || list.kind !== "array") return null;
  const kept = list.elements.filter((element) => {
    const name = stringValue(bytes, member(element, shape.key));
    if (name === undefined || (shape.kind === "tool" && !isToolName(name))) return false;
    return visible({ kind: shape.kind, name }, bytes.subarray(element.start, element.end));
  });
  const edits: Edit[] = [];
  if (kept.length < list.elements.length) edits.push({ start: list.start, end: list.end, replacement: arrayOf(bytes, kept) });
  if (era === "modern") edits.push(privateScope(result));
  return splice(
    bytes,
    edits.toSorted((a, b) => a.start - b.start),
  );
}

/** The list method that a result answers, known by the list in it; null where it is none. */
export function listMethodOf(result: JsonNode): string | null {
  for (const [method, { list }] of SHAPES) if (member(result, list)?.kind === "array") return method;
  return null;
}

function arrayOf(bytes: Buffer, kept: readonly JsonNode[]): Buffer {
  const pieces: Uint8Array[] = [OPEN];
  for (const [i, element] of kept.entries()) pieces.push(...(i === 0 ? [] : [COMMA]), bytes.subarray(element.start, element.end));
  return Buffer.concat([...pieces, CLOSE]);
}

/** A filtered list belongs to one principal, whatever the upstream says of its own. */
export function privateScope(result: JsonNode): Edit {
  const scope = member(result, "cacheScope");
  if (scope !== undefined) return { start: scope.start, end: scope.end, replacement: PRIVATE };
  const comma = result.members.length === 0 ? "" : ",";
  return { start: result.start + 1, end: result.start + 1, replacement: Buffer.from(`"cacheScope":"private"${comma}`) };
}

const OPEN = Buffer.from("[");
const CLOSE = Buffer.from("]");
const COMMA = Buffer.from(",");
const PRIVATE = Buffer.from('"private"');
