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
  // Whoever writes null for what is not there has not brought it: taken for the end, it would be all that is ever charged.
  const there = (name: string) => {
    const node = member(body, name);
    return node === undefined || bytes[node.start] === LETTER_N ? null : node;
  };
  const error = there("error");
  if (error !== null) return { node: error, kind: "protocol_error" };
  const result = there("result");
  if (result === null) return null;
  // What comes while it still runs counts as it is, and is not what the task came to.
  return { node: result, kind: UNDER_WAY.has(stringValue(bytes, member(body, "status")) ?? "") ? "task" : kindOf(bytes, result) };
}

const UNDER_WAY = new Set(["submitted", "working", "input_required"]);
/** No JSON value but null begins with it. */
const LETTER_N = 0x6e;

function numberIn(bytes: Buffer, node: JsonNode | undefined): number | null {
  const value: unknown = node === undefined ? null : JSON.parse(bytes.toString("latin1", node.start, node.end));
  return typeof value === "number" && value >= 0 ? value : null;
}
