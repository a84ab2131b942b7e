/** Pure. What a request says of tasks: which one it is about, and whether its client knows what a task is. */
import { isScanFault, scanJson, stringValue } from "../../json.ts";
import { inside } from "./subscriptions.ts";

export const TASKS_EXTENSION = "io.modelcontextprotocol/tasks";

/** `params.taskId`; null where it is no string. */
export function taskIdOf(body: Buffer): string | null {
  const root = scanJson(body, { treeDepth: 2 });
  if (isScanFault(root)) return null;
  return stringValue(body, inside(root, ["params", "taskId"])) ?? null;
}

/** 2026-07-28: each request declares the extensions that its client speaks. */
export function declaresTasks(body: Buffer): boolean {
  const root = scanJson(body, { treeDepth: 5 });
  if (isScanFault(root)) return false;
  return inside(root, ["params", "_meta", "io.modelcontextprotocol/clientCapabilities", "extensions", TASKS_EXTENSION]) !== undefined;
}
