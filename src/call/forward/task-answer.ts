/** Pure. What an answer says of a task (SEP-2663; 2025-11-25, Tasks): that a call became one, or what one came to. */
import { type JsonNode, member, splice, stringValue } from "../../json.ts";
import { kindOf, readMessage, type UpstreamMessage } from "./message.ts";
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

/**
 * What a task came to, or a part of it, and what that is: a `task` is under way still. `node`: what rules look at. `bare`: all that it
 * brings, equal where that is the same; `told`: where its texts are.
 */
export type Final = { readonly node: JsonNode; readonly kind: OutcomeKind; readonly bare: Buffer; readonly told: readonly JsonNode[] };

/** What a task came to, inline in the answer to tasks/get or the whole answer to tasks/result. Null: the answer does not bring it. */
export function finalIn(bytes: Buffer, method: string | null, { outcome, body }: Response): Final | null {
  if (outcome === "protocol_error") return null;
  if (method === "tasks/get") return cameTo(bytes, body);
  // Some servers answer with the state of the task instead.
  if (method !== "tasks/result" || body.members.every(({ name }) => TOLD.has(name))) return null;
  return { node: body, kind: isUnderWay(bytes, body) ? "task" : outcome, bare: bareOf(bytes, body), told: [body] };
}

/** The same of a handle that brings it along. */
export function inlineIn(bytes: Buffer, { body }: Response): Final | null {
  const task = stringValue(bytes, member(body, "resultType")) === "task" ? undefined : member(body, "task");
  return (task === undefined ? null : cameTo(bytes, task)) ?? cameTo(bytes, body);
}

/** What is told of a task beside what it came to: it may change from look to look. */
const TOLD = new Set([
  ...["taskId", "task", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttl", "ttlMs", "pollInterval", "pollIntervalMs"],
  ...["resultType", "requestState", "_meta"],
]);

/** The same bytes for the same members, in whatever order. */
function bareOf(bytes: Buffer, node: JsonNode): Buffer {
  if (node.kind !== "object") return bytes.subarray(node.start, node.end);
  const members = node.members.filter(({ name }) => !TOLD.has(name)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return Buffer.concat(members.flatMap(({ name, value }) => [Buffer.from(JSON.stringify(name)), bytes.subarray(value.start, value.end)]));
}

/** Answered about tasks without a charge. What one came to is charged where it is fetched, so these do not bring it. */
const FREE = new Set(["tasks/list", "tasks/update", "tasks/cancel"]);
const CAME_TO = new Set(["result", "error", "content", "structuredContent"]);

/** The same bytes where nothing has to be left out. */
export function withoutFinal(
  bytes: Buffer,
  message: Response,
  method: string | null,
): { readonly bytes: Buffer; readonly message: Response } {
  if (message.outcome === "protocol_error" || !FREE.has(method ?? "")) return { bytes, message };
  const { body } = message;
  if (![body, ...(member(body, "tasks")?.elements ?? [])].some(bringsFinal)) return { bytes, message };
  const rest = splice(bytes, [{ start: body.start, end: body.end, replacement: stripped(bytes, body) }]);
  const again = readMessage(rest);
  if (again.kind !== "response") throw new Error("an answer about a task is one without its result, too");
  return { bytes: rest, message: again };
}

/** Of a task as it is told, in whatever wrapping. */
export function bringsFinal(node: JsonNode): boolean {
  const task = member(node, "task");
  return node.members.some(({ name }) => CAME_TO.has(name)) || task?.members.some(({ name }) => CAME_TO.has(name)) === true;
}

function stripped(bytes: Buffer, node: JsonNode): Buffer {
  if (node.kind === "array")
    return enclosed(
      "[",
      node.elements.map((element) => stripped(bytes, element)),
      "]",
    );
  if (node.kind !== "object") return bytes.subarray(node.start, node.end);
  const kept = node.members.filter(({ name }) => !CAME_TO.has(name));
  const members = kept.map(({ name, start, value }) => {
    const isTask = name === "task" || name === "tasks";
    return isTask ? Buffer.concat([bytes.subarray(start, value.start), stripped(bytes, value)]) : bytes.subarray(start, value.end);
  });
  return enclosed("{", members, "}");
}

function enclosed(open: string, pieces: readonly Buffer[], end: string): Buffer {
  const all = pieces.flatMap((piece, i) => (i === 0 ? [piece] : [Buffer.from(","), piece]));
  return Buffer.concat([Buffer.from(open), ...all, Buffer.from(end)]);
}

/** Whatever members are written for what is not there. A status that nobody knows may be of either kind: what comes with it counts. */
function cameTo(bytes: Buffer, task: JsonNode): Final | null {
  const there = (name: string) => {
    const node = member(task, name);
    const isShort = node !== undefined && node.end - node.start <= EMPTY_BYTES_MAX;
    return node === undefined || (isShort && EMPTY.has(bytes.toString("latin1", node.start, node.end).replace(/\s/g, ""))) ? null : node;
  };
  const flat = there("content") !== null || there("structuredContent") !== null ? task : null;
  const [result, error] = [there("result") ?? flat, there("error")];
  const told = [...new Set([result, flat, error])].filter((node) => node !== null);
  const node = result ?? error;
  if (node === null) return null;
  // One alone is the same as the answer to tasks/result; what stands beside it is delivered, too.
  const brought = { node, told, bare: bareOf(bytes, told.length === 1 ? node : task) };
  if (isUnderWay(bytes, task)) return { ...brought, kind: "task" };
  if (result === null) return { ...brought, kind: "protocol_error" };
  return { ...brought, kind: FAILED.has(statusOf(bytes, task)) ? "tool_error" : kindOf(bytes, result) };
}

function isUnderWay(bytes: Buffer, task: JsonNode): boolean {
  return UNDER_WAY.has(statusOf(bytes, task));
}

function statusOf(bytes: Buffer, task: JsonNode): string {
  return (stringValue(bytes, member(task, "status")) ?? "").trim().toLowerCase();
}

const EMPTY_BYTES_MAX = 16;
const EMPTY = new Set(["null", "{}", "[]", '""', "false"]);
const FAILED = new Set(["failed", "cancelled", "canceled"]);
/** Those of MCP, and what other systems call the same. */
const UNDER_WAY = new Set([
  ...["submitted", "working", "input_required", "pending", "running", "queued", "in_progress", "accepted", "created", "started"],
  ...["processing"],
]);

function numberIn(bytes: Buffer, node: JsonNode | undefined): number | null {
  const value: unknown = node === undefined ? null : JSON.parse(bytes.toString("latin1", node.start, node.end));
  return typeof value === "number" && value >= 0 ? value : null;
}
