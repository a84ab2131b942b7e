/** Pure. A message of another era, or under an id of the gateway's own, as the client that asked expects it. */
import { type Edit, type JsonNode, member, splice } from "../../json.ts";
import type { Era, McpRequest } from "../accept/request.ts";
import type { UpstreamMessage } from "./message.ts";

/** The client's id in place of ours, and what its revision requires. */
export function forClient(
  bytes: Buffer,
  message: Extract<UpstreamMessage, { kind: "response" }>,
  { idText, method, era }: Pick<McpRequest, "idText" | "method" | "era">,
): Buffer {
  const id = member(message.root, "id") ?? message.root;
  const edits = message.outcome === "protocol_error" ? [] : eraEdits(message.body, method ?? "", era);
  edits.push({ start: id.start, end: id.end, replacement: Buffer.from(idText ?? "null") });
  return splice(
    bytes,
    edits.toSorted((a, b) => a.start - b.start),
  );
}

const CACHEABLE = new Set(["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]);

/** The members that 2026-07-28 requires of a result, where the server does not give them itself. */
function eraEdits(result: JsonNode, method: string, era: Era): Edit[] {
  if (era === "legacy") return [];
  const wanted = CACHEABLE.has(method) ? CACHEABLE_MEMBERS : COMPLETE;
  const missing = wanted.filter(([name]) => member(result, name) === undefined).map(([name, value]) => `"${name}":${value}`);
  if (missing.length === 0) return [];
  const at = result.start + 1;
  return [{ start: at, end: at, replacement: Buffer.from(missing.join(",") + (result.members.length === 0 ? "" : ",")) }];
}

const COMPLETE = [["resultType", '"complete"']] as const;
// Stale at once: policies change without a word to the client.
const CACHEABLE_MEMBERS = [...COMPLETE, ["ttlMs", "0"], ["cacheScope", '"private"']] as const;
