/** A task belongs to the principal whose call it is the answer to: anyone else finds nothing there. */
import { LRUCache } from "lru-cache";
import type { CallId, ServerName } from "../../ids.ts";
import type { McpRequest, Target } from "../accept/request.ts";
import { taskIdOf } from "./task-request.ts";

export type Task = {
  readonly principal: string;
  /** What was called: it decides who may go on asking. */
  readonly target: Target;
  /** The arguments of that call, where a rule looks at them when the task has ended; null: none does, or they were too large to be kept. */
  readonly given: Uint8Array | null;
  readonly logicalCallId: CallId;
  readonly bill: Bill;
};

/** What of a task is charged. */
export type Bill = {
  /** Digests of what was delivered of it, the oldest first. */
  readonly texts: Set<string>;
  /** The most of each outcome and each further meter that was counted. */
  readonly amounts: Map<string, number>;
  /** The look that is being charged; others wait until it is over. */
  turn: { readonly callId: CallId; readonly over: Promise<void>; readonly end: () => void; due: Due | null } | null;
};

/** What a look brings: charged with its settlement, or not at all. */
export type Due = { readonly text: string; readonly amounts: Readonly<Record<string, number>> };

export type Tasks = {
  /** The call is answered with a task. `ttlMs` null: without an end. */
  remember(
    principal: string,
    call: Pick<McpRequest, "server" | "target">,
    logicalCallId: CallId,
    handle: { readonly taskId: string; readonly ttlMs: number | null },
    given?: Uint8Array | null,
  ): void;
  /** Null: there is none, or it is another's. */
  find(principal: string, server: ServerName, taskId: string | null): Task | null;
  /** The task that a request is about; null also where it is about none. */
  of(principal: string, request: Pick<McpRequest, "course" | "server" | "body">): Task | null;
};

/** Tasks at once, about 1 kB each, and their arguments where a rule looks at them. The one that was longest not asked for goes first, and is unknown from then on. */
export const TASKS_MAX = 100_000;
/** A task is remembered for its own time to live, and for a day at most. */
export const TASK_AGE_MAX_MS = 86_400_000;
/** Servers mint UUIDs. A longer id is not remembered, or a server could decide how much memory is used. */
export const TASK_ID_CHARACTERS_MAX = 1_024;

export function createTasks(): Tasks {
  const tasks = new LRUCache<string, Task>({ max: TASKS_MAX, ttl: TASK_AGE_MAX_MS });
  const keyOf = (server: ServerName, taskId: string) => `${server} ${taskId}`;
  const self: Tasks = {
    remember(principal, { server, target }, logicalCallId, { taskId, ttlMs }, given = null) {
      if (target === null || taskId.length > TASK_ID_CHARACTERS_MAX) return;
      const key = keyOf(server, taskId);
      // A server that mints one id for two clients must not hand the first client's task to the second. For one client it is one
      // task, the first call's: another tool that hands out its id does not make it cheaper.
      if (tasks.has(key)) return;
      // The cache takes no time of 0 ms: there it would mean for ever.
      const ttl = Math.min(Math.max(1, ttlMs ?? TASK_AGE_MAX_MS), TASK_AGE_MAX_MS);
      const bill: Bill = { texts: new Set(), amounts: new Map(), turn: null };
      tasks.set(key, { principal, target, given, logicalCallId, bill }, { ttl });
    },
    find(principal, server, taskId) {
      const task = taskId === null ? undefined : tasks.get(keyOf(server, taskId));
      return task?.principal === principal ? task : null;
    },
    of: (principal, { course, server, body }) => (course === "task" ? self.find(principal, server, taskIdOf(body)) : null),
  };
  return self;
}
