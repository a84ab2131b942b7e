/** Pure. What an answer says of a task (SEP-2663; 2025-11-25, Tasks): that a call became one, or what one came to. */
import { type JsonNode, member, stringValue } from "../../json.ts";
import { kindOf, type UpstreamMessage } from "./message.ts";
import type { OutcomeKind } from "./outcome.ts";

/** `ttlMs` from now on; null: without an end. */
export type TaskHandle = { readonly taskId: string; readonly ttlMs: number | null };

type Response = Extract<UpstreamMessage, { kind: "response" }>;

/** The task that a call is answered with in place of its result: flat in 2026-07-28, under `task` before. Null: none. */
export function handleIn(bytes: Buffer, { outcome, body }: Response): TaskHandle | null {
  if (outcome !== "result") return null;
  const resultType = stringValue(bytes, member(body, "resultType"));
  const task = resultType === "task" ? body : resultType === undefined ? member(body, "task") : undefined;
  const taskId = task === undefined ? undefined : stringValue(bytes, member(task, "taskId"));
  if (task === undefined || taskId === undefined) return null;
  return { taskId, ttlMs: numberIn(bytes, member(task, resultType === "task" ? "ttlMs" : "ttl")) };
}

/** A task's own result or error, and what that is. */
export type Final = { readonly node: JsonNode; readonly kind: OutcomeKind };

/** What a task came to, inline in the answer to tasks/get or the whole answer to tasks/result. Null: the answer does not bring it. */
export function finalIn(bytes: Buffer, method: string | null, { outcome, body }: Response): Final | null {
  if (outcome === "protocol_error") return null;
  if (method === "tasks/result") return { node: body, kind: outcome };
  if (method !== "tasks/get") return null;
  return cameTo(bytes, body);
}

/** The same of a handle that brings it along. */
export function inlineIn(bytes: Buffer, { body }: Response): Final | null {
  const isFlat = stringValue(bytes, member(body, "resultType")) === "task";
  const final = cameTo(bytes, isFlat ? body : (member(body, "task") ?? body));
  return final === null || final.kind === "task" ? null : final;
}

/** By its status, whatever members are written for what is not there: one taken for the end would be all that is ever charged. */
function cameTo(bytes: Buffer, task: JsonNode): Final | null {
  const there = (name: string) => {
    const node = member(task, name);
    const isShort = node !== undefined && node.end - node.start <= EMPTY_BYTES_MAX;
    return node === undefined || (isShort && EMPTY.has(bytes.toString("latin1", node.start, node.end).replace(/\s/g, ""))) ? null : node;
  };
  const [result, error] = [there("result"), there("error")];
  const node = result ?? error;
  if (node === null) return null;
  const status = (stringValue(bytes, member(task, "status")) ?? "").toLowerCase();
  // What comes while it still runs counts as it is, and is not what the task came to.
  if (UNDER_WAY.has(status)) return { node, kind: "task" };
  if (result === null) return { node, kind: "protocol_error" };
  return { node, kind: FAILED.has(status) ? "tool_error" : kindOf(bytes, result) };
}

const EMPTY_BYTES_MAX = 16;
const EMPTY = new Set(["null", "{}", "[]", '""', "false"]);
const FAILED = new Set(["failed", "cancelled", "canceled"]);
/** Those of MCP, and what other systems call the same. */
const UNDER_WAY = new Set([
  "submitted",
  "working",
  "input_required",
  "pending",
  "running",
  "queued",
  "in_progress",
  "accepted",
  "created",
  "started",
  "processing",
]);

function numberIn(bytes: Buffer, node: JsonNode | undefined): number | null {
  const value: unknown = node === undefined ? null : JSON.parse(bytes.toString("latin1", node.start, node.end));
  return typeof value === "number" && value >= 0 ? value : null;
}
