/** Pure. One JSON-RPC message from an upstream: judged by the strict scan, and known by what it answers. */
import { isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import type { OutcomeKind } from "./outcome.ts";

export type UpstreamMessage =
  | {
      readonly kind: "response";
      readonly root: JsonNode;
      readonly idText: string;
      readonly body: JsonNode;
      readonly outcome: Extract<OutcomeKind, "result" | "input_required" | "tool_error" | "protocol_error">;
      readonly requestState: string | null;
    }
  | { readonly kind: "request" | "notification"; readonly root: JsonNode; readonly method: string }
  | { readonly kind: "invalid"; readonly why: string };

/** A list of a thousand tools with rich schemas is some 100,000 members. */
export const KEYS_MAX = 1_000_000;

export function readMessage(bytes: Buffer): UpstreamMessage {
  // Depth 4 is an element of a list: root, result, tools, tool.
  const root = scanJson(bytes, { treeDepth: 4, keysMax: KEYS_MAX });
  if (isScanFault(root)) return { kind: "invalid", why: root.fault };
  if (root.kind !== "object") return { kind: "invalid", why: "not a JSON-RPC message" };
  const method = stringValue(bytes, member(root, "method"));
  const id = member(root, "id");
  if (method !== undefined) return { kind: id === undefined ? "notification" : "request", root, method };
  const result = member(root, "result");
  const error = member(root, "error");
  const body = result ?? error;
  if (body === undefined || id === undefined || (result !== undefined && error !== undefined))
    return { kind: "invalid", why: "neither a result nor an error" };
  if (body.kind !== "object") return { kind: "invalid", why: "a result or an error is an object" };
  return {
    kind: "response",
    root,
    idText: bytes.toString("utf8", id.start, id.end),
    body,
    outcome: error !== undefined ? "protocol_error" : kindOf(bytes, body),
    requestState: stringValue(bytes, member(body, "requestState")) ?? null,
  };
}

/** What a result is, by itself. */
export function kindOf(bytes: Buffer, result: JsonNode): "result" | "input_required" | "tool_error" {
  if (stringValue(bytes, member(result, "resultType")) === "input_required") return "input_required";
  const isError = member(result, "isError");
  return isError !== undefined && bytes[isError.start] === 0x74 ? "tool_error" : "result";
}

/** Ids are compared as values: `"a"` and `"\u0061"` are one id. */
export function sameId(a: string, b: string): boolean {
  return a === b || (a.startsWith('"') && b.startsWith('"') && JSON.parse(a) === JSON.parse(b));
}
