/** A call that its server answers with `input_required` goes on in further requests (SEP-2322): all of them are one call. */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { CallId } from "../../ids.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Task } from "../authorize/tasks.ts";

export type Round = {
  /** The id of the first request's call. */
  readonly logicalCallId: CallId;
  /** From 1. */
  readonly number: number;
  /** What this request counts on the meter `calls`: 1 in the first round, 0 in those that follow. */
  readonly calls: 0 | 1;
  /** Under which a further round was remembered; null in the first. */
  readonly key: string | null;
  /** Set where the request follows the task that the call was answered with. */
  readonly task: TaskBill | null;
};

/** What a task comes to is charged once, however often it is fetched. */
export type TaskBill = Pick<Task, "target" | "given" | "bill">;

export type Rounds = {
  /**
   * Which round this request is. What answers nothing that is remembered is a call of its own, and so is a second answer to one
   * question: a state that could be used twice would be a call for nothing.
   */
  roundOf(principal: string, request: McpRequest): Round;
  /** The request was refused before anything was held: it may come again. */
  putBack(round: Round): void;
  /** The server wants more: the next request with this state belongs to the same call. */
  remember(principal: string, request: McpRequest, round: Round, requestState: string | null): void;
};

/** How long a person may take to answer. */
const REMEMBERED_MS = 900_000;
/** Calls that wait for input at once, about 300 bytes each. A forgotten one counts as a new call: never too little is counted. */
const WAITING_MAX = 100_000;
/** A server that asks without end is charged for a new call after this many. */
const ROUNDS_MAX = 10;

export function createRounds(): Rounds {
  const waiting = new LRUCache<string, Round>({ max: WAITING_MAX, ttl: REMEMBERED_MS });
  return {
    roundOf(principal, request) {
      const fresh: Round = { logicalCallId: request.callId, number: 1, calls: 1, key: null, task: null };
      if (request.followUp === null) return fresh;
      const key = keyOf(principal, request, request.followUp.requestState);
      const round = waiting.get(key);
      waiting.delete(key);
      return round ?? fresh;
    },
    putBack(round) {
      if (round.key !== null) waiting.set(round.key, round);
    },
    remember(principal, request, round, requestState) {
      if (round.number >= ROUNDS_MAX) return;
      const { logicalCallId, number } = round;
      const key = keyOf(principal, request, requestState);
      waiting.set(key, { logicalCallId, number: number + 1, calls: 0, key, task: null });
    },
  };
}

/** Same principal, same target, same arguments, and the state that the server gave. */
function keyOf(principal: string, { server, method, target, argumentsSpan, body }: McpRequest, requestState: string | null): string {
  const digest = createHash("sha256").update(JSON.stringify([principal, server, method, target?.kind, target?.name, requestState]));
  if (argumentsSpan !== null) digest.update(body.subarray(argumentsSpan.start, argumentsSpan.end));
  return digest.digest("base64");
}
