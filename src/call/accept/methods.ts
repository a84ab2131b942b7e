/** Pure. What each method of MCP is about, and which course its life takes. */
import { type JsonNode, member, stringValue } from "../../json.ts";
import type { Course, Era, Target } from "./request.ts";

export const MODERN_REVISION = "2026-07-28";
export const LEGACY_REVISIONS: readonly string[] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"];
/** What a request may claim of itself. The older revisions are no answer to a claim: `initialize` agrees on them. */
export const CLAIMABLE_REVISIONS: readonly string[] = [MODERN_REVISION];

/** What 2026-07-28 took away: unknown there, whatever stands behind, with or without the params that they once had. */
const REMOVED = new Set([
  "initialize",
  "ping",
  "logging/setLevel",
  "resources/subscribe",
  "resources/unsubscribe",
  "tasks/list",
  "tasks/result",
]);

const COURSES: ReadonlyMap<string, Course> = new Map([
  ["tools/call", "metered"],
  ["resources/read", "metered"],
  ["prompts/get", "metered"],
  ["completion/complete", "metered"],
  ["tools/list", "list"],
  ["prompts/list", "list"],
  ["resources/list", "list"],
  ["resources/templates/list", "list"],
  ["tasks/list", "list"],
  ["tasks/get", "task"],
  ["tasks/result", "task"],
  ["tasks/update", "task"],
  ["tasks/cancel", "task"],
  ["initialize", "handshake"],
  ["server/discover", "handshake"],
  ["ping", "handshake"],
]);

export function isKnownIn(era: Era, method: string): boolean {
  return era === "legacy" || !REMOVED.has(method);
}

export function courseOf(method: string): Course {
  return COURSES.get(method) ?? "other";
}

export type Aim = { readonly target: Target; readonly node: JsonNode | null };

/** What a request is about and where its name stands, or what its params lack. */
export function aimOf(method: string, params: JsonNode | undefined, body: Buffer): Aim | { lacks: string } {
  switch (method) {
    case "tools/call":
      return named("tool", params, "name", body);
    case "prompts/get":
      return named("prompt", params, "name", body);
    case "resources/read":
    case "resources/subscribe":
    case "resources/unsubscribe":
      return named("resource", params, "uri", body);
    case "completion/complete":
      return completion(params, body);
    default:
      return { target: { kind: "method", name: method }, node: null };
  }
}

/** Which member of params the Mcp-Name header repeats (SEP-2243; tasks by the tasks extension); null: none. */
export function nameMember(method: string): "name" | "uri" | "taskId" | null {
  if (method === "tools/call" || method === "prompts/get") return "name";
  if (method === "resources/read") return "uri";
  return method === "tasks/get" || method === "tasks/update" || method === "tasks/cancel" ? "taskId" : null;
}

export function takesArguments(method: string): boolean {
  return method === "tools/call" || method === "prompts/get";
}

function named(kind: "tool" | "prompt" | "resource", params: JsonNode | undefined, key: string, body: Buffer): Aim | { lacks: string } {
  const node = params === undefined ? undefined : member(params, key);
  const name = stringValue(body, node);
  if (node === undefined || name === undefined) return { lacks: `params.${key} must be a string` };
  if (node.end - node.start > NAME_BYTES_MAX) return { lacks: `params.${key} is too long` };
  return { target: { kind, name }, node };
}

/** Completion is as permitted as what it completes. */
function completion(params: JsonNode | undefined, body: Buffer): Aim | { lacks: string } {
  const ref = params === undefined ? undefined : member(params, "ref");
  const type = ref === undefined ? undefined : stringValue(body, member(ref, "type"));
  if (type === "ref/prompt") return named("prompt", ref, "name", body);
  if (type === "ref/resource") return named("resource", ref, "uri", body);
  return { lacks: "params.ref must be a ref/prompt or a ref/resource" };
}

/** Tool names have 128 characters at most; URIs are longer. Beyond this nothing is a name. */
const NAME_BYTES_MAX = 8_192;
